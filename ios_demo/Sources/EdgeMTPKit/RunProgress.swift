/// A run for the screen.
public struct RunProgress: Sendable, Equatable {
  /// What is being done, in words.
  public var activity: String
  /// Blocks begun and blocks of the plan.
  public var blocksBegun: Int
  /// Blocks of the plan.
  public var blocks: Int
  /// Trials that have ended.
  public var trials: Int
  /// Of them those that do not count.
  public var invalidTrials: Int
  /// Median tokens a second so far, MTP off and on.
  public var decodeTpsOff: Double?
  /// Median tokens a second so far, MTP on.
  public var decodeTpsOn: Double?
  /// Pairs of equal texts, and pairs compared.
  public var equalTexts: Int
  /// Pairs of texts compared.
  public var comparedTexts: Int
  /// The engine did not start with drafting, and why.
  public var fallback: String?
  /// The phone.
  public var reading: DeviceReading
}

extension RunMachine {
  /// The run as it stands.
  public var progress: RunProgress {
    let counted = outcomes.filter { $0.valid && $0.place.block != nil }
    let rate = { (arm: Arm) in Statistics.median(counted.filter { $0.place.arm == arm }.compactMap(\.decodeTps)) }
    let texts = outcomes.compactMap(\.equalsPair)
    return RunProgress(
      activity: activity, blocksBegun: blocksBegun, blocks: plan.pairs.count * 2, trials: outcomes.count,
      invalidTrials: outcomes.count { !$0.valid }, decodeTpsOff: rate(.off), decodeTpsOn: rate(.on),
      equalTexts: texts.count { $0 }, comparedTexts: texts.count, fallback: fallback, reading: reading)
  }

  private var blocksBegun: Int {
    steps[..<nextStep].count { if case .block = $0 { true } else { false } }
  }

  private var activity: String {
    switch stage {
    case .idle: "starting"
    case .waiting(let untilMs, let isBaseline):
      "\(isBaseline ? "measuring idle" : "cooling down"), \(max(0, (untilMs - nowMs) / 1000)) s left"
    case .gate: "waiting: " + plan.gate.obstacles(reading).joined(separator: ", ")
    case .loading(let arm, _, _): "loading the engine, MTP \(arm == .on ? "on" : "off")"
    case .unloading: "unloading the engine"
    case .trial(let trial):
      "\(trial.place.block == nil ? "warming up" : "writing"), MTP \(trial.place.arm == .on ? "on" : "off")"
    case .paused: "paused: the app is not on the screen"
    case .over: "ended"
    }
  }
}
