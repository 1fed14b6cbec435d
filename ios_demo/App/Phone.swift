import CPhone
import EdgeMTPKit
import Foundation
import UIKit
import os

/// The phone that runs.
@MainActor
enum Phone {
  static func facts() -> DeviceFacts {
    DeviceFacts(
      platform: "ios", osVersion: UIDevice.current.systemVersion, deviceModel: machine,
      ramBytes: Int64(ProcessInfo.processInfo.physicalMemory), cores: ProcessInfo.processInfo.activeProcessorCount,
      appVersion: AppVersion.text)
  }

  /// `iPhone17,1`.
  private static var machine: String {
    var name = utsname()
    uname(&name)
    return withUnsafeBytes(of: name.machine) { bytes in
      String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
  }
}

/// What an iPhone tells: battery in steps of 5 %, thermal state, Low Power Mode, memory. No current, no temperature.
struct PhoneProbe: DeviceProbe {
  func read() async -> DeviceReading {
    var reading = await Self.battery()
    let process = ProcessInfo.processInfo
    (reading.thermal, reading.thermalRaw) = Self.thermal(process.thermalState)
    reading.lowPowerMode = process.isLowPowerModeEnabled
    let footprint = edge_mtp_footprint_bytes()
    reading.memFootprintBytes = footprint >= 0 ? Int64(footprint) : nil
    reading.memAvailableBytes = Int64(os_proc_available_memory())
    return reading
  }

  @MainActor
  private static func battery() -> DeviceReading {
    let device = UIDevice.current
    var reading = DeviceReading()
    // −1 where the level is not known. Rounded, because 0.95 as a Float is 0.949999988.
    if device.batteryLevel >= 0 { reading.batteryLevel = (Double(device.batteryLevel) * 100).rounded() / 100 }
    switch device.batteryState {
    case .unplugged: reading.charging = false
    case .charging, .full: reading.charging = true
    default: break
    }
    return reading
  }

  private static func thermal(_ state: ProcessInfo.ThermalState) -> (Int?, String?) {
    switch state {
    case .nominal: (0, "nominal")
    case .fair: (1, "fair")
    case .serious: (2, "serious")
    case .critical: (3, "critical")
    default: (nil, nil)
    }
  }
}
