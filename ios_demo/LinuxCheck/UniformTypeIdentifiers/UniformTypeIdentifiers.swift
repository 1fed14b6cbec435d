// swift-format-ignore-file
// Stands for Apple's module on Linux: declarations that the app uses, with Apple's signatures and no behaviour.

public struct UTType: Sendable, Hashable {
  public static let data = UTType()
  public static let json = UTType()
}
