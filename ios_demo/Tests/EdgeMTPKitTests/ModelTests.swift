import Foundation
import Testing

@testable import EdgeMTPKit

@MainActor
struct ModelTests {
  private let setup = EngineSetup(bundlePath: "/b.litertlm", cacheDirectory: "/c")
  private func plain(_ bytes: Int64 = 1_000_000, drafter: Bool = true) -> BundleFacts {
    BundleFacts(file: "b.litertlm", bytes: bytes, sha256: "", hasDrafter: drafter, draftSteps: 3, manifestSHA256: nil)
  }

  @Test func theChatShowsTextFiguresAndThePhone() async {
    let runner = ScriptedRunner()
    let chat = ChatModel(runner: runner, probe: FixedProbe())
    await chat.send("Hello", setup: setup, bundle: plain())
    #expect(chat.lines.map(\.text) == ["Hello", "one two three "])
    #expect(chat.lines.map(\.isUser) == [true, false])
    #expect(chat.figures.tokensPerSecond == 123 && chat.figures.tokensPerPiece == 2 && chat.figures.isFinal)
    #expect(chat.reading == .fit && chat.state == .ready && chat.advice == nil)
    await chat.send("More", setup: setup, bundle: plain())
    #expect(await runner.loads.count == 1)
    #expect(await runner.requests.map(\.continues) == [false, true])
    #expect(await runner.requests.allSatisfy(\.countsTokens))
  }

  @Test func theSwitchStartsAnotherEngineAndShowsTheLastOnesAcceptance() async {
    let runner = ScriptedRunner()
    let chat = ChatModel(runner: runner, probe: FixedProbe())
    var on = setup
    on.speculative = true
    await chat.send("Hello", setup: on, bundle: plain())
    await chat.send("Hello", setup: setup, bundle: plain())
    #expect(await runner.loads.map(\.speculative) == [true, false])
    #expect(chat.lastAcceptance == 0.5)
    #expect(chat.lines.count == 2, "another engine knows nothing of the conversation")
    chat.clear()
    #expect(chat.lines.isEmpty && chat.figures == ReplyFigures())
  }

  @Test func liveFiguresAreCountsOverTime() {
    let live = ReplyFigures(pieces: 10, tokens: 20, firstMs: 100, nowMs: 1100)
    #expect(live.tokensPerSecond == 20 && live.tokensPerPiece == 2 && !live.isFinal)
    #expect(ReplyFigures(pieces: 1, tokens: 1, firstMs: 5, nowMs: 5).tokensPerSecond == nil)
  }

  @Test func cancelEndsTheReplyAndIsNoFailure() async {
    let runner = ScriptedRunner(hangs: true)
    let chat = ChatModel(runner: runner, probe: FixedProbe())
    let sending = Task { await chat.send("Hello", setup: setup, bundle: plain()) }
    while chat.lines.last?.text != "one two three " { await Task.yield() }
    #expect(chat.state == .answering && !chat.figures.isFinal)
    await chat.cancel()
    await sending.value
    #expect(chat.state == .ready && chat.advice == nil)
  }

  @Test func troubleIsSaidInWords() async throws {
    let chat = ChatModel(runner: ScriptedRunner(refusal: "no Metal"), probe: FixedProbe())
    await chat.send("Hello", setup: setup, bundle: plain())
    #expect(try #require(chat.advice?.text).contains("no Metal") && chat.lines.isEmpty)
    var on = setup
    on.speculative = true
    await chat.send("Hello", setup: on, bundle: plain(drafter: false))
    #expect(chat.advice?.title == "No drafter")
    await chat.send("Hello", setup: setup, bundle: plain(5_000_000_000))
    #expect(chat.advice?.title == "Not enough memory")
  }

  @Test func changedDigitsAreSaidWithFP16Only() async {
    var fp16 = setup
    fp16.activation = "fp16"
    let broken = ChatModel(runner: ScriptedRunner(reply: "31415926535897932384 7 is 3141"), probe: FixedProbe())
    await broken.checkDigits(setup: fp16, bundle: plain())
    #expect(broken.advice == nil)
    let wrong = ChatModel(runner: ScriptedRunner(reply: "31415926535897932380"), probe: FixedProbe())
    await wrong.checkDigits(setup: fp16, bundle: plain())
    #expect(wrong.advice == .digits)
    await wrong.checkDigits(setup: setup, bundle: plain())
    #expect(wrong.advice == nil)
  }

  @Test func aBenchmarkWritesItsLogAndSaysHowFarItIs() async throws {
    let folder = try makeFolder()
    let model = BenchmarkModel(runner: ScriptedRunner(), probe: FixedProbe(), tickMs: 5)
    await model.run(.example(), identity: .example, folder: folder)
    #expect(!model.isRunning && model.advice == nil)
    #expect(model.progress?.activity == "ended" && model.progress?.blocksBegun == 4)
    #expect(model.progress?.equalTexts == 2 && model.progress?.comparedTexts == 2)
    let contents = try LogContents(data: Data(contentsOf: try #require(model.log)))
    #expect(contents.lines.last?.kind == "end" && contents.badLines.isEmpty)
    #expect(contents.lines.compactMap(\.seq) == Array(0..<Int64(contents.lines.count)))
  }

  @Test func aBenchmarkCanBeStoppedAndToldOfTheApp() async throws {
    let runner = ScriptedRunner(hangs: true)
    let model = BenchmarkModel(runner: runner, probe: FixedProbe(), tickMs: 5)
    let folder = try makeFolder()
    model.post(.stop)
    let running = Task { await model.run(.example(), identity: .example, folder: folder) }
    while model.progress?.activity != "warming up, MTP off" { await Task.yield() }
    model.post(.memoryWarning)
    #expect(model.advice == .memoryWarning)
    model.post(.stop)
    await running.value
    let contents = try LogContents(data: Data(contentsOf: try #require(model.log)))
    #expect(contents.lines.last?.json["reason"]?.text == "stopped")
    #expect(contents.lines.contains { $0.json["name"]?.text == "memory_warning" })
  }

  @Test func aBenchmarkThatMakesNoSenseIsRefused() async throws {
    let model = BenchmarkModel(runner: ScriptedRunner(), probe: FixedProbe())
    var identity = RunIdentity.example
    identity.bundle = plain(drafter: false)
    await model.run(.example(), identity: identity, folder: try makeFolder())
    #expect(model.advice?.title == "No drafter" && model.log == nil)
    identity.bundle = plain(9_000_000_000)
    await model.run(.example(), identity: identity, folder: try makeFolder())
    #expect(model.advice?.title == "Not enough memory")
    identity.bundle = plain()
    await model.run(.example(), identity: identity, folder: URL(fileURLWithPath: "/proc/nowhere"))
    #expect(model.advice?.title == "No log")
  }

  @Test func aFullDiskEndsTheRun() async throws {
    // Every write to /dev/full fails as on a full disk.
    let folder = try makeFolder()
    let run = UUID()
    let log = try LogFile(directory: folder, run: run)
    log.close()
    let driver = RunDriver(
      machine: RunMachine(plan: .example(), identity: .example), runner: ScriptedRunner(), probe: FixedProbe(),
      log: log, setup: setup, tickMs: 5)
    let problem = await driver.run()
    #expect(try #require(problem).contains("free space"))
  }
}
