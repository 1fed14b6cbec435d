import Foundation
import Testing

@testable import EdgeMTPKit

/// The smallest header that has sections: written by hand, so that the reader is not checked against itself.
enum HandMadeHeader {
  /// A flatbuffer with one section of each model kind, laid out with fixed offsets.
  static func bundle(kinds: [String]) -> Data {
    var body = FlatWriter()
    let header = body.finish(kinds)
    var data = Data("LITERTLM".utf8)
    for number in [1, 7, 0] as [UInt32] { data.append(contentsOf: FlatWriter.bytes(number)) }
    data.append(contentsOf: [UInt8](repeating: 0, count: 4))
    data.append(contentsOf: FlatWriter.bytes(UInt32(32 + header.count)) + [0, 0, 0, 0])
    return data + header
  }
}

/// Writes flatbuffer tables front to back; every table has its vtable right before it.
struct FlatWriter {
  static func bytes(_ number: UInt32) -> [UInt8] {
    (0..<4).map { UInt8(truncatingIfNeeded: number >> (8 * UInt32($0))) }
  }

  /// A table with these field blobs, each behind an offset; nil is an absent field.
  static func table(_ fields: [[UInt8]?]) -> [UInt8] {
    let vtableSize = 4 + 2 * fields.count
    let tableSize = 4 + 4 * fields.count
    var vtable = [UInt8(vtableSize), 0, UInt8(tableSize), 0]
    for (index, field) in fields.enumerated() { vtable += [field == nil ? 0 : UInt8(4 + 4 * index), 0] }
    var table = bytes(UInt32(vtableSize))
    var tail: [UInt8] = []
    for (index, field) in fields.enumerated() {
      let place = 4 + 4 * index
      table += bytes(field == nil ? 0 : UInt32(tableSize + tail.count - place + skip(field)))
      tail += field ?? []
    }
    return vtable + table + tail
  }

  /// Tables are pointed at behind their vtable; texts and vectors at their count.
  private static func skip(_ field: [UInt8]?) -> Int {
    guard let field, field.count > 4, field[1] == 0, field[2] > 0, field[3] == 0, field[0] < 32, field[0] % 2 == 0
    else { return 0 }
    return Int(field[0])
  }

  static func text(_ text: String) -> [UInt8] { bytes(UInt32(text.utf8.count)) + Array(text.utf8) + [0] }

  static func vector(_ tables: [[UInt8]]) -> [UInt8] {
    var out = bytes(UInt32(tables.count))
    var start = 4 * tables.count
    for (index, table) in tables.enumerated() {
      out += bytes(UInt32(start - 4 * index + Int(table[0])))
      start += table.count
    }
    return out + tables.flatMap { $0 }
  }

  mutating func finish(_ kinds: [String]) -> [UInt8] {
    let sections = kinds.map { kind in
      let value = Self.table([Self.text(kind)])
      let pair = Self.table([Self.text("model_type"), nil, value])
      return Self.table([Self.vector([pair])])
    }
    let metadata = Self.table([Self.vector(sections)])
    let root = Self.table([nil, metadata])
    return Self.bytes(UInt32(4 + Int(root[0]))) + root
  }
}

struct FileTests {
  @Test func theHeaderTellsTheDrafter() throws {
    let with = HandMadeHeader.bundle(kinds: ["tf_lite_prefill_decode", "TF_LITE_MTP_DRAFTER"])
    let header = try BundleHeader(data: with, name: "x")
    #expect(header.models == ["tf_lite_prefill_decode", "tf_lite_mtp_drafter"] && header.hasDrafter)
    #expect(header.version == "1.7.0")
    let without = try BundleHeader(data: HandMadeHeader.bundle(kinds: ["tf_lite_prefill_decode"]), name: "x")
    #expect(!without.hasDrafter)
  }

  @Test func whatIsNoBundleIsRefused() {
    let whole = HandMadeHeader.bundle(kinds: ["tf_lite_prefill_decode"])
    for data in [Data(), Data("LITERTLM".utf8), Data(repeating: 1, count: 64), whole.dropLast(5)] {
      #expect(throws: DataProblem.self) { try BundleHeader(data: data, name: "x") }
    }
    #expect(throws: DataProblem.self) { try BundleHeader(file: URL(fileURLWithPath: "/nowhere")) }
  }

  @Test func damagedHeadersNeverCrash() {
    let whole = [UInt8](HandMadeHeader.bundle(kinds: ["tf_lite_prefill_decode", "tf_lite_mtp_drafter"]))
    var draws = SplitMix64(seed: 3)
    var refused = 0
    for _ in 0..<2000 {
      var damaged = whole
      for _ in 0..<3 { damaged[32 + draws.below(whole.count - 32)] = UInt8(draws.below(256)) }
      if (try? BundleHeader(data: Data(damaged), name: "x"))?.hasDrafter != true { refused += 1 }
    }
    #expect(refused > 0)
  }

  @Test func importsCheckCopyAndHashOnce() throws {
    let folder = try makeFolder()
    let library = try Library(documents: folder, caches: folder.appendingPathComponent("c"))
    let source = folder.appendingPathComponent("a.litertlm")
    try HandMadeHeader.bundle(kinds: ["tf_lite_mtp_drafter"]).write(to: source)
    let taken = try library.take(source)
    #expect(try library.take(source) == taken, "again over the old one")
    try Data(#"{"draft_steps": 3}"#.utf8).write(to: taken.appendingPathExtension("json"))
    let first = try BundleFacts(file: taken)
    #expect(first.hasDrafter && first.draftSteps == 3 && first.sha256.count == 64 && first.manifestSHA256?.count == 64)
    // The kept hash is believed while size and date stay.
    let note = taken.appendingPathExtension("sha256")
    let kept = try String(contentsOf: note, encoding: .utf8)
    try Data(kept.replacingOccurrences(of: first.sha256, with: "kept").utf8).write(to: note)
    #expect(try FileHash.kept(for: taken) == "kept")
    try HandMadeHeader.bundle(kinds: ["tf_lite_embedder"]).write(to: taken)
    #expect(try FileHash.kept(for: taken) != "kept")
    #expect(library.files(in: library.bundles, ending: "litertlm").map(\.lastPathComponent) == ["a.litertlm"])
    #expect(try #require(library.freeBytes) > 0)
  }

  @Test func whatCannotBeUsedIsNotImported() throws {
    let folder = try makeFolder()
    let library = try Library(documents: folder, caches: folder)
    for name in ["no.litertlm", "no.json", "no.txt"] {
      let file = folder.appendingPathComponent(name)
      try Data("nothing of use".utf8).write(to: file)
      #expect(throws: DataProblem.self) { try library.take(file) }
    }
    #expect(throws: DataProblem.self) { try library.take(folder.appendingPathComponent("gone.json")) }
    let manifest = folder.appendingPathComponent("gone.litertlm.json")
    #expect(throws: DataProblem.self) { try library.take(manifest) }
    #expect(throws: DataProblem.self) { try FileHash.kept(for: manifest) }
    #expect(library.files(in: library.bundles, ending: "part").isEmpty)
    #expect(throws: DataProblem.self) {
      try Library(documents: URL(fileURLWithPath: "/proc/nowhere"), caches: folder)
    }
  }

  @Test func sizesAndLimitsAreSaidInWords() throws {
    #expect(Sizes.text(3_080_000_000) == "3.1 GB" && Sizes.text(12_000_000) == "12.0 MB")
    #expect(Preflight.memory(bundleBytes: 1_000, backend: "gpu", availableBytes: nil) == nil)
    let tight: Int64 = 2_000_000_000
    #expect(Preflight.memory(bundleBytes: 3_000_000_000, backend: "cpu", availableBytes: tight) == nil)
    #expect(Preflight.memory(bundleBytes: 3_000_000_000, backend: "gpu", availableBytes: tight) != nil)
    #expect(Preflight.space(bundleBytes: 10, freeBytes: 15) == nil)
    let advice = try #require(Preflight.space(bundleBytes: 3_000_000_000, freeBytes: 1_000_000_000))
    #expect(advice.text.contains("4.5 GB") && advice.text.contains("1.0 GB"))
    #expect(Advice.engineRefused("x", speculative: true) != Advice.engineRefused("x", speculative: false))
  }

  @Test func statisticsOfHandMadeValues() throws {
    #expect(Statistics.median([]) == nil && Statistics.median([3, 1, 2]) == 2 && Statistics.median([1, 2]) == 1.5)
    #expect(Statistics.quantile([0, 10], 0.95) == 9.5)
    #expect(try #require(Statistics.geometricMean([2, 8])) == 4)
    #expect(Statistics.geometricMean([]) == nil && Statistics.geometricMean([1, 0]) == nil)
    #expect(Statistics.bootstrapInterval([1.2], seed: 1) == nil)
    let interval = try #require(Statistics.bootstrapInterval([1.1, 1.2, 1.3, 1.4], seed: 1))
    #expect(interval.low > 1.1 && interval.low < 1.25 && interval.high > 1.25 && interval.high < 1.4)
  }
}

@MainActor
struct AppModelTests {
  private func app(_ folder: URL, runner: ScriptedRunner = ScriptedRunner()) throws -> AppModel {
    let library = try Library(documents: folder, caches: folder.appendingPathComponent("c"))
    return AppModel(
      library: library, device: RunIdentity.example.device, runner: runner, probe: FixedProbe(), tickMs: 5)
  }

  @Test func fromImportToChatToLog() async throws {
    let folder = try makeFolder()
    let runner = ScriptedRunner()
    let model = try app(folder, runner: runner)
    await model.say("Hello")
    #expect(model.advice == nil && model.chat.lines.isEmpty)
    let source = folder.appendingPathComponent("a.litertlm")
    try HandMadeHeader.bundle(kinds: ["tf_lite_mtp_drafter"]).write(to: source)
    await model.take(source)
    #expect(model.bundles.count == 1 && model.bundle?.hasDrafter == true && model.hashing == nil)
    model.choices.usesFP16 = true
    await model.say("Hello")
    #expect(model.chat.lines.count == 2)
    await model.checkDigits()
    #expect(model.chat.advice == .digits)
    let plan = folder.appendingPathComponent("p.json")
    try GoldenFiles.data("plan-abba.json").write(to: plan)
    await model.take(plan)
    #expect(model.plan.promptSet == "golden" && model.plans.count == 1)
    model.choices.usesGPU = false
    model.setting.noteText = "on the desk"
    model.setting.airplaneIsOn = true
    #expect(model.setting.noteText == "on the desk" && model.setting.airplaneIsOn)
    await model.runBenchmark()
    #expect(model.benchmark.advice == nil && model.logs.count == 1)
    let contents = try LogContents(data: Data(contentsOf: model.logs[0]))
    #expect(contents.lines.first?.json["runtime"]?["backend"]?.text == "cpu")
    #expect(contents.lines.first?.json["runtime"]?["activation"]?.text == "fp16")
    let setting = contents.lines.first?.json["setting"]
    #expect(setting?["charger"]?.text == "unplugged" && setting?["note"]?.text == "on the desk")
    #expect(contents.lines.last?.json["reason"]?.text == "finished")
    #expect(await runner.unloads > 0)
  }

  @Test func unusableFilesAreSaid() async throws {
    let folder = try makeFolder()
    let model = try app(folder)
    let text = folder.appendingPathComponent("x.litertlm")
    try Data("text".utf8).write(to: text)
    await model.take(text)
    #expect(model.advice?.title == "Not imported")
    await model.choose(bundle: text)
    #expect(model.advice?.title == "Not a usable bundle" && model.bundle == nil)
    model.choose(plan: text)
    #expect(model.advice?.title == "Not a usable plan")
  }

  @Test func interruptedRunsAreMarkedAtTheStart() throws {
    let folder = try makeFolder()
    let logs = folder.appendingPathComponent("logs")
    try FileManager.default.createDirectory(at: logs, withIntermediateDirectories: true)
    try GoldenFiles.data("interrupted.jsonl").write(to: logs.appendingPathComponent("a.jsonl"))
    #expect(try app(folder).interrupted == ["a.jsonl"])
    #expect(try app(folder).interrupted.isEmpty)
  }
}
