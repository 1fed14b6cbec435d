import Foundation

/// One line of the device log before it gets its place in it.
public struct LogRecord: Sendable, Equatable {
  /// What a line is about.
  public enum Kind: String, Sendable {
    /// The first record.
    case run
    /// Once a second.
    case sample
    /// Something happened.
    case event
    /// One generation.
    case trial
    /// One engine's life.
    case engine
    /// The last record.
    case end
  }

  /// What the line is about.
  public let kind: Kind
  /// Milliseconds since the run's start.
  public let tMs: Int64
  /// Everything else.
  public let fields: Fields

  /// A record.
  public init(_ kind: Kind, tMs: Int64, _ fields: Fields) {
    self.kind = kind
    self.tMs = tMs
    self.fields = fields
  }

  static func event(_ name: String, _ value: JSON? = nil, tMs: Int64) -> LogRecord {
    LogRecord(.event, tMs: tMs, ["name": .text(name), "value": value])
  }

  /// The line of this record in run `run` at place `seq`, without its end.
  public func line(run: String, seq: Int64) -> String {
    let head: Fields = [
      "v": .integer(1), "kind": .text(kind.rawValue), "run": .text(run), "seq": .integer(seq), "t_ms": .integer(tMs),
    ]
    return JSON.object(head.followed(by: fields)).compact()
  }
}

/// The file of one run. Every record is written at once, so that a killed app loses at most its last line.
public final class LogFile {
  /// Lower-case UUID.
  public let run: String
  /// `<run>.jsonl`.
  public let url: URL
  private let handle: FileHandle
  private var seq: Int64 = 0

  /// Makes the run's file in `directory`. Throws `DataProblem` where it cannot be made.
  public init(directory: URL, run: UUID = UUID()) throws(DataProblem) {
    self.run = run.uuidString.lowercased()
    url = directory.appendingPathComponent("\(self.run).jsonl")
    do {
      try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
      try Data().write(to: url, options: .withoutOverwriting)
      handle = try FileHandle(forWritingTo: url)
    } catch {
      throw Self.noSpace(url)
    }
  }

  /// Adds a record. Throws `DataProblem` where the disk is full or the file is gone.
  public func append(_ record: LogRecord) throws(DataProblem) {
    do {
      try handle.write(contentsOf: Data((record.line(run: run, seq: seq) + "\n").utf8))
      seq += 1
    } catch {
      throw Self.noSpace(url)
    }
  }

  /// Ends writing.
  public func close() { try? handle.close() }

  private static func noSpace(_ url: URL) -> DataProblem {
    DataProblem(
      "the log \(url.lastPathComponent) cannot be written", needed: "free space for a few megabytes",
      fix: "delete a bundle or a log that you have copied off the phone")
  }
}
