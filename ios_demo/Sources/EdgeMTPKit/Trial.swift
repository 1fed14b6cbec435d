/// Where a trial stands in the plan.
struct TrialPlace: Sendable, Equatable {
  let index: Int
  let arm: Arm
  let prompt: Prompt
  /// Nil for a warm-up.
  let block: BlockPlace?
  let repeatIndex: Int
}

/// One arm's half of a pair.
struct BlockPlace: Sendable, Equatable {
  let pair: Int
  let order: Int
  let arm: Arm
}

/// What was seen of the phone and the app while a trial ran.
struct TrialWatch: Sendable {
  let startMs: Int64
  let first: DeviceReading
  private(set) var last: DeviceReading
  private var lastMs: Int64
  private var hotMs: Int64 = 0
  private(set) var memPeakBytes: Int64?
  private(set) var charging = false
  private(set) var lowPower = false
  private(set) var lowestLevel: Double?
  var wentToBackground = false

  init(startMs: Int64, reading: DeviceReading) {
    self.startMs = startMs
    first = reading
    last = reading
    lastMs = startMs
    note(reading)
  }

  /// Takes in the phone as it is at `tMs`; until then it was as it was before.
  mutating func update(_ reading: DeviceReading, at tMs: Int64) {
    if (last.thermal ?? 0) > 0 { hotMs += tMs - lastMs }
    lastMs = tMs
    last = reading
    note(reading)
  }

  /// The share of the trial at a thermal state above nominal; nil where the phone tells none.
  var nonNominalFraction: Double? {
    guard first.thermal != nil else { return nil }
    return lastMs == startMs ? ((first.thermal ?? 0) > 0 ? 1 : 0) : Double(hotMs) / Double(lastMs - startMs)
  }

  private mutating func note(_ reading: DeviceReading) {
    charging = charging || reading.charging == true
    lowPower = lowPower || reading.lowPowerMode == true
    lowestLevel = [lowestLevel, reading.batteryLevel].compactMap { $0 }.min()
    memPeakBytes = [memPeakBytes, reading.memFootprintBytes].compactMap { $0 }.max()
  }
}

/// Why a trial does not count, in the order of docs/device-log.md.
public enum InvalidReason: String, Sendable, CaseIterable {
  /// The engine failed.
  case error
  /// Somebody stopped it.
  case cancelled
  /// The app left the screen.
  case background
  /// Drafting was asked for and not seen.
  case notDrafting = "not_drafting"
  /// Drafting was asked for and the engine did not start with it.
  case fallback
  /// A charger was connected.
  case charging
  /// Low Power Mode was on.
  case lowPower = "low_power"
  /// Warm for more than half of the trial.
  case thermal
  /// Below the gate's level.
  case batteryLow = "battery_low"
  /// The gate did not open in time.
  case gateTimeout = "gate_timeout"
}

/// Tokens and pieces of an arm's block, which tell whether the engine drafts.
struct DraftingCount: Sendable, Equatable {
  var tokens = 0
  var pieces = 0

  mutating func add(_ generation: Generation) {
    guard let output = generation.outputTokens else { return }
    tokens += output
    pieces += generation.pieceTimesMs.count
  }

  /// Tokens a piece; nil of no piece.
  var tokensPerPiece: Double? { pieces > 0 ? Double(tokens) / Double(pieces) : nil }
  /// One piece is one draft-and-verify cycle, so without drafting it is one token.
  var looksUndrafted: Bool { tokensPerPiece.map { $0 < 1.05 } ?? false }
}

/// What judging a trial takes.
struct TrialCircumstances {
  let rule: GateRule
  let isSustained: Bool
  let fallback: Bool
  let gatePassed: Bool
  let drafting: DraftingCount

  /// Reasons in the document's order; empty where the trial counts.
  func reasons(_ place: TrialPlace, _ generation: Generation, _ watch: TrialWatch) -> [InvalidReason] {
    let asked = place.arm == .on
    let hot = (watch.nonNominalFraction ?? 0) > 0.5
    let holds: [InvalidReason: Bool] = [
      .error: generation.finishReason == .error,
      .cancelled: generation.finishReason == .cancelled,
      .background: watch.wentToBackground,
      .notDrafting: asked && drafting.looksUndrafted,
      .fallback: asked && fallback,
      .charging: watch.charging,
      .lowPower: watch.lowPower,
      .thermal: hot && !isSustained,
      .batteryLow: watch.lowestLevel.map { $0 < rule.minBatteryLevel } ?? false,
      .gateTimeout: !gatePassed,
    ]
    return InvalidReason.allCases.filter { holds[$0] == true }
  }
}
