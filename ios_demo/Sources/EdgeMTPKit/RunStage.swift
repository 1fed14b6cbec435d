/// What a run is doing.
enum RunStage: Sendable {
  case idle
  case waiting(untilMs: Int64, isBaseline: Bool)
  case gate(sinceMs: Int64)
  case loading(Arm, speculative: Bool, bytesBefore: Int64?)
  case unloading(thenEnd: EndWords?)
  case trial(RunningTrial)
  /// In the background, between trials.
  case paused
  case over

  /// The word of the log's samples.
  var phase: String {
    switch self {
    case .waiting(_, let isBaseline): isBaseline ? "baseline" : "cooldown"
    case .gate: "cooldown"
    case .loading, .unloading: "load"
    case .trial(let trial): trial.answers ? "decode" : "prefill"
    case .idle, .paused, .over: "idle"
    }
  }

  var isOver: Bool { if case .over = self { true } else { false } }
}

/// How a run ended.
struct EndWords: Sendable, Equatable {
  let reason: String
  let problem: String?
}

/// A trial that is under way.
struct RunningTrial: Sendable {
  let place: TrialPlace
  var watch: TrialWatch
  var answers = false

  func answering() -> RunningTrial {
    var trial = self
    trial.answers = true
    return trial
  }
}

/// An engine from load to unload.
struct EngineLife: Sendable {
  let index: Int
  let arm: Arm
  let speculative: Bool
  let loadMs: Double
  let loadBytes: Int64?
  var trials: [Int] = []
  var drafting = DraftingCount()

  /// The record when it ends; `said` is what the runtime said of its drafts.
  func record(_ said: Acceptance, tMs: Int64) -> LogRecord {
    LogRecord(
      .engine, tMs: tMs,
      [
        "index": .whole(index), "speculative": .bool(arm == .on), "trials": .list(trials.map { .whole($0) }),
        "load_ms": .number(Rounded.ms(loadMs)), "load_mem_bytes": .optional(loadBytes),
        "acceptance_rate": .optional(said.rate), "acceptance_source": .text(said.source),
        "drafting": .text(draftingWord(said)),
      ])
  }

  private func draftingWord(_ said: Acceptance) -> String {
    guard arm == .on else { return "off" }
    let seen = said.rate != nil || (drafting.tokensPerPiece != nil && !drafting.looksUndrafted)
    return speculative && seen ? "active" : "inactive"
  }
}

/// How the wait in front of a block went.
struct GateResult: Sendable {
  var waitMs: Int64 = 0
  var passed = true
}

/// A block that is under way.
struct BlockRun: Sendable {
  let place: BlockPlace
  let prompts: [Prompt]
  let startMs: Int64
  var repeatIndex = 0
  var drafting = DraftingCount()

  /// Prompts take turns.
  var prompt: Prompt { prompts[repeatIndex % prompts.count] }
}
