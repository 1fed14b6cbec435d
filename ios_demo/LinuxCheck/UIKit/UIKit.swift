// swift-format-ignore-file
// Stands for Apple's module on Linux: declarations that the app uses, with Apple's signatures and no behaviour.
import Foundation

@MainActor
public final class UIDevice {
  public enum BatteryState: Int, Sendable { case unknown, unplugged, charging, full }

  public static var current: UIDevice { fatalError("a declaration") }
  public var isBatteryMonitoringEnabled: Bool = false
  public var batteryLevel: Float { fatalError("a declaration") }
  public var batteryState: BatteryState { fatalError("a declaration") }
  public var systemVersion: String { fatalError("a declaration") }
}

@MainActor
public final class UIApplication {
  public static var shared: UIApplication { fatalError("a declaration") }
  public nonisolated static var didReceiveMemoryWarningNotification: Notification.Name { fatalError("a declaration") }
  public var isIdleTimerDisabled: Bool = false
}

/// On Apple's systems this is Foundation's.
extension ProcessInfo {
  public enum ThermalState: Int, Sendable { case nominal, fair, serious, critical }

  public var thermalState: ThermalState { fatalError("a declaration") }
  public var isLowPowerModeEnabled: Bool { fatalError("a declaration") }
}
