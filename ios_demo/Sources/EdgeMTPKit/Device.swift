/// What the phone says of itself at one moment. What it does not tell is nil, and never counts as bad.
public struct DeviceReading: Sendable, Equatable {
  /// 0 to 1; an iPhone moves it in steps of 5 %.
  public var batteryLevel: Double?
  /// A charger is connected.
  public var charging: Bool?
  /// 0 nominal, 1 fair, 2 serious, 3 critical.
  public var thermal: Int?
  /// The phone's own word.
  public var thermalRaw: String?
  /// Low Power Mode.
  public var lowPowerMode: Bool?
  /// What the system counts against the app's limit.
  public var memFootprintBytes: Int64?
  /// What it would still give.
  public var memAvailableBytes: Int64?

  /// Nothing known.
  public init() {}

  var logFields: Fields {
    [
      "battery_level": .optional(batteryLevel), "charging": .optional(charging), "thermal": .optional(thermal),
      "thermal_raw": .optional(thermalRaw), "low_power_mode": .optional(lowPowerMode),
      "mem_footprint_bytes": .optional(memFootprintBytes), "mem_available_bytes": .optional(memAvailableBytes),
    ]
  }
}

/// Reads the phone's sensors.
public protocol DeviceProbe: Sendable {
  /// The phone as it is now.
  func read() async -> DeviceReading
}

/// The machine that runs, for the log's first record.
public struct DeviceFacts: Sendable {
  /// `ios` or `linux`.
  public var platform: String
  /// The system's version.
  public var osVersion: String
  /// The maker's name of the model, `iPhone17,1`.
  public var deviceModel: String
  /// Bytes.
  public var ramBytes: Int64
  /// Of the CPU.
  public var cores: Int
  /// The app's version.
  public var appVersion: String

  /// All facts.
  public init(
    platform: String, osVersion: String, deviceModel: String, ramBytes: Int64, cores: Int, appVersion: String
  ) {
    self.platform = platform
    self.osVersion = osVersion
    self.deviceModel = deviceModel
    self.ramBytes = ramBytes
    self.cores = cores
    self.appVersion = appVersion
  }

  var logFields: Fields {
    [
      "app_version": .text(appVersion), "platform": .text(platform), "os_version": .text(osVersion),
      "device_model": .text(deviceModel), "ram_bytes": .integer(ramBytes), "cores": .whole(cores),
    ]
  }
}

extension GateRule {
  /// What keeps a block from starting, in words; empty where nothing does. Unknown is not hot.
  public func obstacles(_ reading: DeviceReading) -> [String] {
    var found: [String] = []
    if let thermal = reading.thermal, thermal > maxThermal {
      found.append("the phone is warm (state \(thermal), needed \(maxThermal) or less)")
    }
    if unplugged, reading.charging == true { found.append("a charger is connected") }
    if lowPowerOff, reading.lowPowerMode == true { found.append("Low Power Mode is on") }
    if let level = reading.batteryLevel, level < minBatteryLevel {
      found.append("the battery is at \(Int((level * 100).rounded())) % (needed \(Int(minBatteryLevel * 100)) %)")
    }
    return found
  }
}
