import Foundation
import Testing

@testable import EdgeMTPKit

struct LogTests {
  private let run = UUID(uuidString: "00000000-0000-4000-8000-00000000000A") ?? UUID()

  @Test func aRecordIsOneLineWithItsPlaceFirst() {
    let record = LogRecord(.event, tMs: 12, ["name": .text("cancel")])
    #expect(record.line(run: "r", seq: 3) == #"{"v":1,"kind":"event","run":"r","seq":3,"t_ms":12,"name":"cancel"}"#)
  }

  @Test func everyRecordIsOnDiskAtOnce() throws {
    let log = try LogFile(directory: makeFolder(), run: run)
    #expect(log.run == "00000000-0000-4000-8000-00000000000a")
    for index in 0..<3 {
      try log.append(LogRecord(.sample, tMs: Int64(index), ["phase": .text("idle")]))
      let contents = try LogContents(data: Data(contentsOf: log.url))
      #expect(contents.lines.count == index + 1 && contents.badLines.isEmpty && !contents.endsOpen)
      #expect(contents.lines.last?.seq == Int64(index))
    }
    log.close()
    #expect(throws: DataProblem.self) { try log.append(LogRecord(.sample, tMs: 9, [:])) }
    #expect(throws: DataProblem.self) { try LogFile(directory: log.url.deletingLastPathComponent(), run: run) }
  }

  @Test func aKilledRunIsMarkedAsInTheGoldenFile() throws {
    let folder = try makeFolder()
    let file = folder.appendingPathComponent("a.jsonl")
    try GoldenFiles.data("interrupted.jsonl").write(to: file)
    let when = try #require(ISO8601DateFormatter().date(from: "2026-03-01T11:31:00Z"))
    #expect(LogRecovery.mark(directory: folder, wallTime: when) == ["a.jsonl"])
    let wanted = try LogContents(data: GoldenFiles.data("interrupted-resumed.jsonl"))
    let marked = try LogContents(data: Data(contentsOf: file))
    #expect(marked.lines.dropLast() == wanted.lines.dropLast())
    #expect(marked.badLines == wanted.badLines)
    let mine = try #require(marked.lines.last?.json), theirs = try #require(wanted.lines.last?.json)
    #expect(mine["seq"] == theirs["seq"] && mine["t_ms"] == theirs["t_ms"] && mine["name"] == theirs["name"])
    #expect(LogRecovery.mark(directory: folder).isEmpty, "a marked run is not marked again")
  }

  @Test func ofALongLogOnlyTheEndIsRead() throws {
    let log = try LogFile(directory: makeFolder())
    for index in 0..<2000 { try log.append(LogRecord(.sample, tMs: Int64(index), ["phase": .text("idle")])) }
    log.close()
    #expect(try Data(contentsOf: log.url).count > 131072)
    #expect(LogRecovery.mark(directory: log.url.deletingLastPathComponent()) == [log.url.lastPathComponent])
    let text = try String(contentsOf: log.url, encoding: .utf8)
    let last = try JSON.parse(Data(try #require(text.split(separator: "\n").last).utf8))
    #expect(last["name"]?.text == "interrupted" && last["seq"] == .whole(2000) && last["t_ms"] == .whole(1999))
  }

  @Test func wallTimeHasTheZonesOffset() throws {
    let when = try #require(ISO8601DateFormatter().date(from: "2026-03-01T11:31:00Z"))
    let zone = try #require(TimeZone(secondsFromGMT: 3600))
    #expect(WallTime.text(when, zone: zone) == "2026-03-01T12:31:00.000+01:00")
  }

  @Test(arguments: ["paired.jsonl", "iphone.jsonl", "throttling.jsonl"]) func endedRunsStayAsTheyAre(_ name: String)
    throws
  {
    let folder = try makeFolder()
    let file = folder.appendingPathComponent("a.jsonl")
    try GoldenFiles.data(name).write(to: file)
    try Data("not a log\n".utf8).write(to: folder.appendingPathComponent("b.jsonl"))
    #expect(LogRecovery.mark(directory: folder).isEmpty)
    let untouched = try GoldenFiles.data(name)
    #expect(try Data(contentsOf: file) == untouched)
    #expect(try LogContents(data: Data(contentsOf: file)).badLines.isEmpty)
  }

  @Test func badLinesAreNumberedAndUnknownFieldsKept() throws {
    let bad = try LogContents(data: GoldenFiles.data("invalid/bad-line.jsonl"))
    #expect(bad.badLines == [10, 11, 12])
    let odd = try LogContents(data: GoldenFiles.data("invalid/unknown-fields.jsonl"))
    let original = try #require(String(data: GoldenFiles.data("invalid/unknown-fields.jsonl"), encoding: .utf8))
    let second = try JSON.parse(Data(original.split(separator: "\n")[1].utf8))
    #expect(odd.lines[1].json == second)
    #expect(odd.badLines.isEmpty)
    let problem = try? LogContents(data: GoldenFiles.data("invalid/unknown-version.jsonl"))
    #expect(problem == nil)
  }
}
