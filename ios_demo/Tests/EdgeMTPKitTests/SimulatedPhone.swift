import Foundation

@testable import EdgeMTPKit

/// A phone in virtual time: plays the engine and the sensors for a run machine and keeps what it writes.
struct SimulatedPhone {
  var machine: RunMachine
  private(set) var nowMs: Int64 = 0
  private(set) var records: [LogRecord] = []
  private(set) var problem: String?
  private(set) var isOver = false
  private var pending: [RunCommand] = []
  private var speculative = false
  private var trialsRun = 0

  /// The phone at a time.
  var reading: @Sendable (Int64) -> DeviceReading = { _ in .fit }
  /// Extra inputs, each once its time has come.
  var schedule: [(atMs: Int64, input: RunInput)] = []
  /// Why an engine with drafting does not start.
  var refusesDrafting: String?
  /// Why no engine starts.
  var refusesAll: String?
  /// Pieces that a reply of 60 tokens comes in, MTP on.
  var piecesWhenDrafting = 30
  /// Milliseconds a reply takes, by arm and time.
  var replyMs: @Sendable (Bool, Int64) -> Int64 = { drafting, _ in drafting ? 2000 : 3000 }
  /// Text by number of the trial, and arm.
  var text: @Sendable (Int, Bool) -> String = { _, _ in "the reply" }
  /// The trial, by number, that fails, and with what.
  var failure: @Sendable (Int) -> String? = { _ in nil }
  /// Accepted ÷ drafted, as the engine says when it ends.
  var rate: Double? = 0.5

  init(_ plan: Plan) { machine = RunMachine(plan: plan, identity: .example) }

  /// Plays until the run is over, at most `limitMs` of virtual time.
  mutating func play(limitMs: Int64 = 20_000_000) {
    give(.start)
    while !isOver, nowMs < limitMs {
      if pending.isEmpty { wait(1000) } else { perform(pending.removeFirst()) }
    }
  }

  private mutating func give(_ input: RunInput) {
    for command in machine.handle(input, at: nowMs, reading: reading(nowMs)) {
      switch command {
      case .record(let record): records.append(record)
      case .finished(let words): (isOver, problem) = (true, words)
      default: pending.append(command)
      }
    }
  }

  /// Lets time pass, with a tick at every full second and scheduled inputs in between. True where one of them asked
  /// for a cancel.
  @discardableResult
  private mutating func wait(_ milliseconds: Int64) -> Bool {
    let end = nowMs + milliseconds
    while nowMs < end {
      let nextTick = (nowMs / 1000 + 1) * 1000
      let nextInput = schedule.first?.atMs ?? .max
      nowMs = min(end, nextTick, max(nowMs, nextInput))
      if let due = schedule.first, due.atMs <= nowMs {
        schedule.removeFirst()
        give(due.input)
      } else if nowMs == nextTick {
        give(.tick)
      }
      if let place = pending.firstIndex(of: .cancel) {
        pending.remove(at: place)
        return true
      }
    }
    return false
  }

  private mutating func perform(_ command: RunCommand) {
    switch command {
    case .load(let wanted): load(wanted)
    case .generate(let request): reply(to: request)
    case .unload:
      wait(200)
      give(.unloaded(Acceptance(rate: speculative ? rate : nil)))
    default: break
    }
  }

  private mutating func load(_ wanted: Bool) {
    wait(1500)
    speculative = wanted
    if let words = refusesAll ?? (wanted ? refusesDrafting : nil) { return give(.loadFailed(words)) }
    give(.loaded(loadMs: 1500))
  }

  private mutating func reply(to request: GenerationRequest) {
    let total = replyMs(speculative, nowMs)
    let number = trialsRun
    trialsRun += 1
    var cancelled = wait(500)
    if !cancelled {
      give(.firstPiece)
      cancelled = wait(total - 500)
    }
    give(.generated(generation(number, request, totalMs: Double(total), cancelled: cancelled)))
  }

  private func generation(_ number: Int, _ request: GenerationRequest, totalMs: Double, cancelled: Bool) -> Generation {
    if let words = failure(number) {
      var failed = Generation()
      failed.finishReason = .error
      failed.error = words
      return failed
    }
    let pieces = speculative ? piecesWhenDrafting : 60
    var generation = Generation()
    generation.text = text(number, speculative)
    generation.pieceTimesMs = (0..<pieces).map { 500 + (totalMs - 500) * Double($0) / Double(pieces - 1) }
    generation.wallMs = totalMs
    generation.finishReason = cancelled ? .cancelled : .length
    generation.inputTokens = 25
    generation.outputTokens = 60
    generation.decodeTps = 60 / (totalMs - 500) * 1000
    generation.prefillTps = 100
    return generation
  }
}

extension SimulatedPhone {
  func of(_ kind: LogRecord.Kind) -> [JSON] { records.filter { $0.kind == kind }.map { .object($0.fields) } }
  func events(_ name: String) -> [JSON] { of(.event).filter { $0["name"]?.text == name } }
  /// Trials that are no warm-ups.
  var trials: [JSON] { of(.trial).filter { $0["warmup"]?.bool == false } }
  func reasons(_ trial: JSON) -> [String] { trial["invalid_reasons"]?.list?.compactMap(\.text) ?? [] }
}

extension DeviceReading {
  /// A phone that every gate lets pass.
  static var fit: DeviceReading {
    var reading = DeviceReading()
    reading.batteryLevel = 0.8
    reading.charging = false
    reading.thermal = 0
    reading.thermalRaw = "nominal"
    reading.lowPowerMode = false
    reading.memFootprintBytes = 500_000_000
    reading.memAvailableBytes = 2_500_000_000
    return reading
  }

  func with(_ change: (inout DeviceReading) -> Void) -> DeviceReading {
    var reading = self
    change(&reading)
    return reading
  }
}

extension RunIdentity {
  static var example: RunIdentity {
    RunIdentity(
      wallTime: "2026-03-01T12:00:00.000+01:00",
      device: DeviceFacts(
        platform: "ios", osVersion: "26.1", deviceModel: "iPhone0,0", ramBytes: 8_000_000_000, cores: 6,
        appVersion: "0.1.0"),
      setup: EngineSetup(bundlePath: "/bundles/example.litertlm", cacheDirectory: "/cache"), runtimeName: "scripted",
      runtimeVersion: "0", cacheIsWarm: true, bundle: .example, setting: RunSetting())
  }
}

extension Plan {
  /// Pairs of single trials on three prompts.
  static func example(pairs: Int = 2, _ change: (inout PlanLengths, inout GateRule) -> Void = { _, _ in }) -> Plan {
    let prompts = ["a", "b", "c"].map { Prompt(id: $0, promptClass: "chat", text: "Say \($0).") }
    var lengths = PlanLengths()
    var gate = GateRule()
    change(&lengths, &gate)
    return Plan.abba(
      prompts: prompts, promptSet: "example", pairCount: pairs, seed: 1_234_567, lengths: lengths, gate: gate)
  }
}
