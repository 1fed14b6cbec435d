/// Something that happened to a run.
public enum RunInput: Sendable {
  /// The run begins.
  case start
  /// A second has passed.
  case tick
  /// The engine is there, after so many milliseconds.
  case loaded(loadMs: Double)
  /// It did not start, in its own words.
  case loadFailed(String)
  /// The reply's first piece came.
  case firstPiece
  /// The reply has ended.
  case generated(Generation)
  /// The engine is gone.
  case unloaded(Acceptance)
  /// The app left the screen.
  case background
  /// It came back.
  case foreground
  /// The system wants memory back.
  case memoryWarning
  /// The user ends the run.
  case stop
}

/// Something that a run wants done.
public enum RunCommand: Sendable, Equatable {
  /// Write a line.
  case record(LogRecord)
  /// Start an engine.
  case load(speculative: Bool)
  /// Have a reply written.
  case generate(GenerationRequest)
  /// End the reply.
  case cancel
  /// End the engine.
  case unload
  /// Nothing more will come; nil where all went well.
  case finished(problem: String?)
}

/// A run as a state machine: what happened goes in, what to do comes out. It waits for nothing and reads no clock, so
/// tests play hours of a phone's life in milliseconds.
public struct RunMachine: Sendable {
  let plan: Plan
  let identity: RunIdentity
  let steps: [RunStep]
  var nextStep = 0
  var stage = RunStage.idle
  var life: EngineLife?
  var enginesMade = 0
  var trialsMade = 0
  var fallback: String?
  var gate = GateResult()
  var block: BlockRun?
  var firstBlockTexts: [Int: WrittenText] = [:]
  var outcomes: [TrialOutcome] = []
  var acceptance: [Double] = []
  var errorsInARow = 0
  var inBackground = false
  var stopping = false
  var nowMs: Int64 = 0
  var reading = DeviceReading()
  var battery = BatterySteps()
  var out: [RunCommand] = []

  /// A run that has not started.
  public init(plan: Plan, identity: RunIdentity) {
    self.plan = plan
    self.identity = identity
    steps = RunStep.all(plan)
  }

  /// Takes in what happened at `tMs`, with the phone as it is then; returns what to do, in order.
  public mutating func handle(_ input: RunInput, at tMs: Int64, reading: DeviceReading) -> [RunCommand] {
    out = []
    // A second may pass while the end is written; nothing comes behind it.
    guard !stage.isOver else { return [] }
    nowMs = max(nowMs, tMs)
    noteChanges(reading)
    take(input)
    return out
  }

  private mutating func take(_ input: RunInput) {
    switch input {
    case .start:
      out.append(.record(identity.record(plan)))
      advance()
    case .tick: tick()
    case .loaded(let loadMs): engineLoaded(loadMs)
    case .loadFailed(let words): engineFailed(words)
    case .firstPiece: if case .trial(let trial) = stage { stage = .trial(trial.answering()) }
    case .generated(let generation): trialEnded(generation)
    case .unloaded(let said): engineGone(said)
    case .background, .foreground: screenChanged(away: isBackground(input))
    case .memoryWarning: event("memory_warning")
    case .stop: stop()
    }
  }

  private func isBackground(_ input: RunInput) -> Bool { if case .background = input { true } else { false } }

  private mutating func noteChanges(_ now: DeviceReading) {
    let before = reading
    reading = now
    if case .trial(var trial) = stage {
      trial.watch.update(now, at: nowMs)
      stage = .trial(trial)
    }
    if let thermal = now.thermal, let old = before.thermal, thermal != old {
      event("thermal_change", .whole(thermal))
    }
    if let level = battery.note(now.batteryLevel) { event("battery_step", .number(level)) }
    if let low = now.lowPowerMode, let old = before.lowPowerMode, low != old { event("low_power_change", .bool(low)) }
    if let charging = now.charging, let old = before.charging, charging != old {
      event("charging_change", .bool(charging))
    }
  }

  private mutating func tick() {
    sample()
    switch stage {
    case .waiting(let untilMs, _) where nowMs >= untilMs: advance()
    case .gate: lookAtGate()
    default: break
    }
  }

  private mutating func sample() {
    var head: Fields = ["phase": .text(stage.phase)]
    if case .trial(let trial) = stage { head["trial"] = .whole(trial.place.index) }
    out.append(.record(LogRecord(.sample, tMs: nowMs, head.followed(by: reading.logFields))))
  }

  private mutating func screenChanged(away: Bool) {
    guard away != inBackground else { return }
    inBackground = away
    event(away ? "background" : "foreground")
    if away, case .trial(var trial) = stage {
      // A phone takes the GPU away from an app in the background; the trial is void either way.
      trial.watch.wentToBackground = true
      stage = .trial(trial)
      out.append(.cancel)
    } else if !away, case .paused = stage {
      advance()
    }
  }

  private mutating func stop() {
    guard !stopping else { return }
    stopping = true
    event("cancel")
    switch stage {
    case .trial: out.append(.cancel)
    case .loading, .unloading: break
    default: finish("stopped")
    }
  }

  mutating func event(_ name: String, _ value: JSON? = nil) {
    out.append(.record(.event(name, value, tMs: nowMs)))
  }
}
