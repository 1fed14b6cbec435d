/// Watches a battery that moves in steps: the moments of its steps are known well, its level between them is not.
struct BatterySteps: Sendable, Equatable {
  private(set) var count = 0
  private var level: Double?

  /// The new level where it has moved since the last reading.
  mutating func note(_ reading: Double?) -> Double? {
    guard let reading else { return nil }
    defer { level = reading }
    guard let before = level, before != reading else { return nil }
    count += 1
    return reading
  }
}

/// The log's last record, for a look without tools; `edge-mtp device` computes its own.
enum Summary {
  static func fields(
    _ trials: [TrialOutcome], acceptance: [Double], batterySteps: Int, seed: Int64
  ) -> Fields {
    let counted = trials.filter { $0.valid && $0.place.block != nil }
    return [
      "spec_off": arm(counted, .off), "spec_on": arm(counted, .on), "speed_up": speedUp(counted, seed: seed),
      "acceptance_rate": .optional(acceptance.last.map { _ in acceptance.reduce(0, +) / Double(acceptance.count) }),
      // An iPhone tells neither current nor voltage: what can be known here is the time between three or more steps
      // of the level. Joules come from a host's log and are not this app's to state.
      "energy_source": .text(batterySteps >= 3 ? "battery_steps" : "none"),
    ]
  }

  private static func arm(_ trials: [TrialOutcome], _ arm: Arm) -> JSON {
    let mine = trials.filter { $0.place.arm == arm }
    return .object([
      "trials": .whole(mine.count), "decode_tps": .optional(Statistics.median(mine.compactMap(\.decodeTps))),
    ])
  }

  private static func speedUp(_ trials: [TrialOutcome], seed: Int64) -> JSON? {
    let ratios = pairRatios(trials)
    guard let value = Statistics.geometricMean(ratios) else { return nil }
    let interval = Statistics.bootstrapInterval(ratios, seed: UInt64(seed))
    return .object([
      "value": .number(value), "low": .optional(interval?.low), "high": .optional(interval?.high),
      "pairs": .whole(ratios.count),
    ])
  }

  /// Median rate with MTP on ÷ off, of each pair that has both.
  static func pairRatios(_ trials: [TrialOutcome]) -> [Double] {
    let pairs = Dictionary(grouping: trials) { $0.place.block?.pair ?? -1 }
    return pairs.keys.sorted().compactMap { pair in
      let rates = { (arm: Arm) in
        Statistics.median((pairs[pair] ?? []).filter { $0.place.arm == arm }.compactMap(\.decodeTps))
      }
      guard let off = rates(.off), let on = rates(.on), off > 0 else { return nil }
      return on / off
    }
  }
}
