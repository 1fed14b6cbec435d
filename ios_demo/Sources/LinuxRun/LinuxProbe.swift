import EdgeMTPKit
import Foundation

/// A computer as far as it tells what a phone tells: memory, and nothing of battery and heat.
struct LinuxProbe: DeviceProbe {
  func read() async -> DeviceReading {
    var reading = DeviceReading()
    reading.memFootprintBytes = Self.bytes("/proc/self/status", "VmRSS")
    reading.memAvailableBytes = Self.bytes("/proc/meminfo", "MemAvailable")
    return reading
  }

  static func facts() -> DeviceFacts {
    DeviceFacts(
      platform: "linux", osVersion: ProcessInfo.processInfo.operatingSystemVersionString,
      deviceModel: text("/sys/devices/virtual/dmi/id/product_name") ?? "computer",
      ramBytes: Int64(ProcessInfo.processInfo.physicalMemory), cores: ProcessInfo.processInfo.activeProcessorCount,
      appVersion: AppVersion.text)
  }

  private static func bytes(_ path: String, _ key: String) -> Int64? {
    let line = text(path)?.split(separator: "\n").first { $0.hasPrefix(key + ":") }
    return line?.split(separator: " ").dropFirst().first.flatMap { Int64($0) }.map { $0 * 1024 }
  }

  private static func text(_ path: String) -> String? {
    // Files below /proc and /sys have no size, so they are read to their end.
    guard let handle = FileHandle(forReadingAtPath: path), let data = try? handle.readToEnd() else { return nil }
    let text = String(bytes: data, encoding: .utf8)?.trimmingCharacters(in: .whitespacesAndNewlines)
    return text?.isEmpty == false ? text : nil
  }
}
