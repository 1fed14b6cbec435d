/// What the user said of the surroundings.
public struct RunSetting: Sendable, Equatable {
  /// Degrees Celsius.
  public var ambientC: Double?
  /// 0 to 1, from the screen.
  public var brightness: Double?
  /// Airplane mode, as the user said.
  public var airplane: Bool?
  /// Whether a charger was connected at the start.
  public var pluggedIn: Bool?
  /// Anything.
  public var note: String?

  /// Nothing said.
  public init() {}

  /// For a switch, which knows no "not said".
  public var airplaneIsOn: Bool {
    get { airplane ?? false }
    set { airplane = newValue }
  }

  /// For a text field; empty is no note.
  public var noteText: String {
    get { note ?? "" }
    set { note = newValue.isEmpty ? nil : newValue }
  }

  var json: JSON {
    .object([
      "ambient_c": .optional(ambientC), "brightness": .optional(brightness), "airplane": .optional(airplane),
      "charger": .optional(pluggedIn.map { $0 ? "plugged" : "unplugged" }), "note": .optional(note),
    ])
  }
}

/// What the log's first record says.
public struct RunIdentity: Sendable {
  /// RFC 3339 with offset, at `t_ms` 0.
  public var wallTime: String
  /// The machine.
  public var device: DeviceFacts
  /// How engines are started.
  public var setup: EngineSetup
  /// `LiteRT-LM`, or `scripted` for an engine that plays a script.
  public var runtimeName: String
  /// The runtime's version.
  public var runtimeVersion: String
  /// No weights will be repacked.
  public var cacheIsWarm: Bool
  /// The bundle.
  public var bundle: BundleFacts
  /// The surroundings.
  public var setting: RunSetting

  /// All of it.
  public init(
    wallTime: String, device: DeviceFacts, setup: EngineSetup, runtimeName: String, runtimeVersion: String,
    cacheIsWarm: Bool, bundle: BundleFacts, setting: RunSetting
  ) {
    self.wallTime = wallTime
    self.device = device
    self.setup = setup
    self.runtimeName = runtimeName
    self.runtimeVersion = runtimeVersion
    self.cacheIsWarm = cacheIsWarm
    self.bundle = bundle
    self.setting = setting
  }

  func record(_ plan: Plan) -> LogRecord {
    let runtime: Fields = [
      "name": .text(runtimeName), "version": .text(runtimeVersion), "backend": .text(setup.backend),
      "activation": .text(setup.activation), "threads": .whole(setup.threads),
      "max_context_tokens": .whole(setup.maxContextTokens), "cache": .text(cacheIsWarm ? "warm" : "cold"),
      "switch": .text("engine"),
    ]
    let rest: Fields = [
      "runtime": .object(runtime), "bundle": bundle.json, "plan": .object(plan.logFields), "setting": setting.json,
    ]
    let head: Fields = ["wall_time": .text(wallTime)]
    return LogRecord(.run, tMs: 0, head.followed(by: device.logFields).followed(by: rest))
  }
}
