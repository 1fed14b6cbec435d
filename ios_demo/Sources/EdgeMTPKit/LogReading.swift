import Foundation

/// A line of a log that could be read, with every field that it has, also those that nobody knows.
public struct LogLine: Sendable, Equatable {
  /// The record.
  public let json: JSON
  /// The run that it belongs to.
  public var run: String? { json["run"]?.text }
  /// What it is about.
  public var kind: String? { json["kind"]?.text }
  /// Its place in the run.
  public var seq: Int64? { json["seq"]?.integer }
  /// Milliseconds since the run's start.
  public var tMs: Int64? { json["t_ms"]?.integer }
}

/// A log as far as it could be read.
public struct LogContents: Sendable, Equatable {
  /// In the file's order.
  public var lines: [LogLine] = []
  /// Numbers, from 1, of lines that are no record.
  public var badLines: [Int] = []
  /// The file does not end in a line's end.
  public var endsOpen = false

  /// Reads every line. Throws `DataProblem` where a line has a version that is not 1.
  public init(data: Data) throws(DataProblem) {
    endsOpen = !data.isEmpty && data.last != UInt8(ascii: "\n")
    for (index, part) in data.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
      guard !part.isEmpty else { continue }
      guard let json = try? JSON.parse(Data(part)), let version = json["v"] else {
        badLines.append(index + 1)
        continue
      }
      guard version.integer == 1 else {
        throw DataProblem(
          "line \(index + 1) has version \(version.compact())", needed: "version 1", fix: "update the app")
      }
      let line = LogLine(json: json)
      if line.run == nil || line.kind == nil || line.seq == nil || line.tMs == nil {
        badLines.append(index + 1)
      } else {
        lines.append(line)
      }
    }
  }

  /// Whether the last run was neither ended nor marked as interrupted.
  public var isInterrupted: Bool {
    guard let last = lines.last else { return false }
    return last.kind != "end" && last.json["name"]?.text != "interrupted"
  }
}

/// Marks runs that the app did not live to end; called at its start.
public enum LogRecovery {
  /// Adds an `interrupted` event to every log in `directory` that has no end. Files that cannot be read stay as they
  /// are. Returns the names of the marked files.
  public static func mark(directory: URL, wallTime: Date = Date()) -> [String] {
    let files = (try? FileManager.default.contentsOfDirectory(at: directory, includingPropertiesForKeys: nil)) ?? []
    return files.filter { $0.pathExtension == "jsonl" && markOne($0, wallTime) }.map(\.lastPathComponent).sorted()
  }

  /// The last 64 KiB, from a line's start: a log of hours is not read to see how it ended.
  private static func tail(_ url: URL) throws -> Data {
    let handle = try FileHandle(forReadingFrom: url)
    defer { try? handle.close() }
    let size = try handle.seekToEnd()
    let start = size > 65536 ? size - 65536 : 0
    try handle.seek(toOffset: start)
    let data = try handle.readToEnd() ?? Data()
    guard start > 0, let newline = data.firstIndex(of: UInt8(ascii: "\n")) else { return data }
    return Data(data[(newline + 1)...])
  }

  private static func markOne(_ url: URL, _ wallTime: Date) -> Bool {
    guard let data = try? tail(url), let contents = try? LogContents(data: data), contents.isInterrupted,
      let last = contents.lines.last, let run = last.run, let seq = last.seq, let tMs = last.tMs,
      let handle = try? FileHandle(forWritingTo: url)
    else { return false }
    defer { try? handle.close() }
    let event = LogRecord.event("interrupted", .object(["wall_time": .text(WallTime.text(wallTime))]), tMs: tMs)
    let line = (contents.endsOpen ? "\n" : "") + event.line(run: run, seq: seq + 1) + "\n"
    do {
      try handle.seekToEnd()
      try handle.write(contentsOf: Data(line.utf8))
      return true
    } catch {
      return false
    }
  }
}

/// Times of day for people and for a host's battery log.
public enum WallTime {
  /// RFC 3339 with milliseconds and the zone's offset.
  public static func text(_ date: Date, zone: TimeZone = .current) -> String {
    let formatter = ISO8601DateFormatter()
    formatter.timeZone = zone
    formatter.formatOptions = [.withInternetDateTime, .withFractionalSeconds]
    return formatter.string(from: date)
  }
}
