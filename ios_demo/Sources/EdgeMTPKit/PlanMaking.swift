/// SplitMix64 (Steele, Lea, Flood 2014): the same seed gives the same plan in Python, Kotlin and Swift.
public struct SplitMix64: Sendable {
  private var state: UInt64

  /// Starts at `seed`; 1234567 gives 6457827717110365317 first.
  public init(seed: UInt64) { state = seed }

  /// The next 64 bits.
  public mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
    return mixed ^ mixed >> 31
  }

  /// A whole number from 0 to `bound` − 1, by the upper half of one draw; `bound` below 2^32.
  public mutating func below(_ bound: Int) -> Int { Int(((next() >> 32) * UInt64(bound)) >> 32) }
}

extension Plan {
  /// Pairs of blocks over `prompts` in the order that `seed` gives; the first arm flips from pair to pair, and
  /// once more from round to round, so that no prompt always starts with the same arm.
  public static func abba(
    prompts: [Prompt], promptSet: String, pairCount: Int, seed: Int64, lengths: PlanLengths = PlanLengths(),
    sampler: Sampler = Sampler(), gate: GateRule = GateRule()
  ) -> Plan {
    var draws = SplitMix64(seed: UInt64(seed))
    let firstArm: Arm = draws.below(2) == 0 ? .off : .on
    var order = prompts.map(\.id)
    for place in stride(from: order.count - 1, to: 0, by: -1) { order.swapAt(place, draws.below(place + 1)) }
    let pairs = (0..<pairCount).map { index in
      let start = index % order.count
      let turned = Array(order[start...] + order[..<start])
      let flips = lengths.isSustained ? index : start + index / order.count
      return Pair(
        index: index, first: flips % 2 == 0 ? firstArm : firstArm.other,
        prompts: lengths.isSustained ? turned : [turned[0]])
    }
    return Plan(
      seed: seed, lengths: lengths, sampler: sampler, gate: gate, promptSet: promptSet, prompts: prompts, pairs: pairs)
  }
}
