import EdgeMTPKit
import Foundation
import Testing

@testable import LiteRTRuntime

// One after another: the success rate comes by way of the process's standard error.
@Suite(.serialized)
struct LiteRTEngineTests {
  private let question = "What is `os.lockf`?"

  private func reply(speculative: Bool, continues: Bool = false) async throws -> (Generation, Acceptance, [Piece]) {
    let engine = LiteRTEngine()
    try await engine.load(TinyBundle.setup(speculative: speculative))
    let pieces = Pieces()
    var request = GenerationRequest(text: question, maxOutputTokens: 48)
    request.countsTokens = true
    let generation = await engine.generate(request) { pieces.add($0) }
    return (generation, await engine.unload(), pieces.all)
  }

  @Test func bothArmsWriteTheSameTextAndDraftingTakesFewerPieces() async throws {
    let (off, saidOff, _) = try await reply(speculative: false)
    let (on, saidOn, pieces) = try await reply(speculative: true)
    #expect(!off.text.isEmpty)
    #expect(off.error == nil)
    // With drafting the runtime writes its last round to the end, so the text may go on past the budget.
    #expect(on.text.hasPrefix(off.text))
    #expect(try #require(on.outputTokens) <= 48 + 3)
    #expect(on.pieceTimesMs.count < off.pieceTimesMs.count)
    #expect(saidOff == Acceptance(rate: nil))
    let rate = try #require(saidOn.rate)
    #expect(rate > 0.1 && rate < 1)
    #expect(pieces.map(\.text).joined() == on.text)
    #expect(pieces.map(\.timeMs) == on.pieceTimesMs)
  }

  @Test func figuresAreTheRuntimesOwn() async throws {
    let (off, _, pieces) = try await reply(speculative: false)
    let tokens = try #require(off.outputTokens)
    #expect(try #require(off.inputTokens) > 5)
    #expect((1...48).contains(tokens))
    #expect(abs(tokens - off.pieceTimesMs.count) <= 2)
    #expect(try #require(off.decodeTps) > 0)
    #expect(try #require(off.prefillTps) > 0)
    #expect(off.wallMs >= off.pieceTimesMs.last ?? .infinity)
    let live = pieces.compactMap(\.tokens).reduce(0, +)
    #expect(abs(live - tokens) * 5 <= tokens, "the live count \(live) is near the runtime's \(tokens)")
  }

  @Test func aShortBudgetEndsAsLength() async throws {
    let engine = LiteRTEngine()
    try await engine.load(TinyBundle.setup(speculative: true))
    let generation = await engine.generate(GenerationRequest(text: question, maxOutputTokens: 4)) { _ in }
    _ = await engine.unload()
    #expect(generation.finishReason == .length)
    #expect(try #require(generation.outputTokens) <= 4 + 3)
  }

  @Test func aSecondMessageGoesOnWithTheConversation() async throws {
    let engine = LiteRTEngine()
    try await engine.load(TinyBundle.setup(speculative: false))
    var request = GenerationRequest(text: question, maxOutputTokens: 8)
    let first = await engine.generate(request) { _ in }
    request.continues = true
    let second = await engine.generate(request) { _ in }
    request.continues = false
    let fresh = await engine.generate(request) { _ in }
    _ = await engine.unload()
    #expect(second.error == nil)
    #expect(fresh.text == first.text)
    #expect(fresh.inputTokens == first.inputTokens)
    #expect(second.inputTokens != first.inputTokens, "the second turn's prompt has no system part and closes a turn")
  }

  @Test func cancelIsNoFailureAndTheEngineGoesOn() async throws {
    let engine = LiteRTEngine()
    try await engine.load(TinyBundle.setup(speculative: true))
    let request = GenerationRequest(text: question, maxOutputTokens: 400)
    let cancelled = await engine.generate(request) { _ in Task { await engine.cancel() } }
    let after = await engine.generate(GenerationRequest(text: question, maxOutputTokens: 16)) { _ in }
    _ = await engine.unload()
    #expect(cancelled.finishReason == .cancelled)
    #expect(cancelled.error == nil)
    #expect(after.finishReason != .cancelled && !after.text.isEmpty)
  }

  @Test func aMissingFileAndAFileThatIsNoBundleAreRefusedInWords() async throws {
    let engine = LiteRTEngine()
    var setup = try TinyBundle.setup(speculative: false)
    setup.bundlePath = "/nowhere/at.litertlm"
    await #expect(throws: EngineProblem("there is no file /nowhere/at.litertlm")) { try await engine.load(setup) }
    let text = FileManager.default.temporaryDirectory.appendingPathComponent("text.litertlm")
    try Data("not a bundle".utf8).write(to: text)
    setup.bundlePath = text.path
    await #expect(throws: EngineProblem.self) { try await engine.load(setup) }
    let generation = await engine.generate(GenerationRequest(text: "?", maxOutputTokens: 1)) { _ in }
    #expect(generation.error == "no engine is loaded")
    #expect(LoadedFile.supportsDrafting(text.path) == nil)
  }

  @Test func headerAndRuntimeAgreeOnTheDrafter() throws {
    let facts = try BundleFacts(file: URL(fileURLWithPath: TinyBundle.path))
    #expect(facts.hasDrafter)
    #expect(facts.draftSteps == 3)
    #expect(LoadedFile.supportsDrafting(TinyBundle.path) == true)
    #expect(try #require(LoadedFile.contextTokens(TinyBundle.path)) >= 512)
  }

  @Test func theCacheIsWarmAfterALoad() async throws {
    let engine = LiteRTEngine()
    var setup = try TinyBundle.setup(speculative: false)
    setup.cacheDirectory += "/\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: setup.cacheDirectory, withIntermediateDirectories: true)
    #expect(!engine.cacheIsWarm(setup))
    try await engine.load(setup)
    _ = await engine.unload()
    #expect(engine.cacheIsWarm(setup))
  }

  @Test func standardErrorIsCapturedAndGoesOn() {
    let said = StandardError.capture { FileHandle.standardError.write(Data("hello\n".utf8)) }
    #expect(said == "hello\n")
  }
}

struct ParsingTests {
  @Test func theLastSuccessRateCounts() {
    #expect(SuccessRate.last(in: "I0000 x\nMTP Drafter - Success rate: 0.25\nSuccess rate: 3.333e-01\n") == 0.3333)
    #expect(SuccessRate.last(in: "Success rate: nan") == nil)
    #expect(SuccessRate.last(in: "Success rate: 7") == nil)
    #expect(SuccessRate.last(in: "nothing of the kind") == nil)
  }

  @Test func chunksAreMessages() {
    #expect(ChunkText.text(of: #"{"role":"assistant","content":[{"type":"text","text":"a"},{"text":"b"}]}"#) == "ab")
    #expect(ChunkText.text(of: #"{"content":"plain"}"#) == "plain")
    #expect(ChunkText.text(of: #"{"channels":{"thought":"hm"},"content":[]}"#) == "hm")
    #expect(ChunkText.text(of: "no JSON") == "no JSON")
  }

  @Test func errorTextsAreTold() {
    #expect(ReplyStream.verdict(nil) == (.stop, nil))
    #expect(ReplyStream.verdict("CANCELLED: by the user") == (.cancelled, nil))
    #expect(ReplyStream.verdict("Max number of tokens reached.") == (.length, nil))
    #expect(ReplyStream.verdict("INTERNAL: broken") == (.error, "INTERNAL: broken"))
  }
}
