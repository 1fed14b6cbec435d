/// Something that was read and cannot be used: what was found, what was needed, what to do.
public struct DataProblem: Error, Equatable, Sendable, CustomStringConvertible {
  /// What was found.
  public let found: String
  /// What was needed instead.
  public let needed: String
  /// What to do about it.
  public let fix: String

  /// A problem in three parts.
  public init(_ found: String, needed: String, fix: String) {
    self.found = found
    self.needed = needed
    self.fix = fix
  }

  /// The three parts in one sentence.
  public var description: String { "\(found); needed: \(needed); \(fix)" }
}
