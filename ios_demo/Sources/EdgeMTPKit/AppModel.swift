import Foundation
import Observation

/// What the user chose for engines.
public struct EngineChoices: Sendable, Equatable {
  /// Metal, else the CPU.
  public var usesGPU = true
  /// fp32 is right; fp16 is faster and changes digits on Metal.
  public var usesFP16 = false
  /// Of the CPU.
  public var threads = 4
  /// Prompt and reply together.
  public var maxContextTokens = 2048
  /// Draft and verify in the chat.
  public var mtp = true

  /// Metal, float32, MTP on.
  public init() {}
}

/// The app: its files, the chosen bundle and plan, and the two things that can be done with them.
@MainActor @Observable
public final class AppModel {
  /// Bundles on this phone.
  public private(set) var bundles: [URL] = []
  /// Plan files on this phone.
  public private(set) var plans: [URL] = []
  /// Logs on this phone.
  public private(set) var logs: [URL] = []
  /// Runs that an earlier start did not live to end, marked in their logs now.
  public private(set) var interrupted: [String] = []
  /// The bundle that is used.
  public private(set) var bundle: BundleFacts?
  /// The plan that is used; a short one of the app's own until one is imported.
  public private(set) var plan = Plan.builtIn
  /// 0 to 1 while a bundle is hashed.
  public private(set) var hashing: Double?
  /// For engines.
  public var choices = EngineChoices()
  /// For the log.
  public var setting = RunSetting()
  /// Something that the user should know.
  public var advice: Advice?
  /// Talking.
  public let chat: ChatModel
  /// Measuring.
  public let benchmark: BenchmarkModel

  private let library: Library
  private let device: DeviceFacts
  private let runner: any InferenceRunner
  private let probe: any DeviceProbe
  private var bundleURL: URL?

  /// The app over its files; marks interrupted runs.
  public init(
    library: Library, device: DeviceFacts, runner: any InferenceRunner, probe: any DeviceProbe, tickMs: Int = 1000
  ) {
    self.library = library
    self.device = device
    self.runner = runner
    self.probe = probe
    chat = ChatModel(runner: runner, probe: probe)
    benchmark = BenchmarkModel(runner: runner, probe: probe, tickMs: tickMs)
    interrupted = LogRecovery.mark(directory: library.logs)
    refresh()
  }

  /// Looks at the folders again.
  public func refresh() {
    bundles = library.files(in: library.bundles, ending: "litertlm")
    plans = library.files(in: library.plans, ending: "json")
    logs = library.files(in: library.logs, ending: "jsonl")
  }

  /// Takes a bundle, manifest or plan into the app's folders. Copies and hashes off the main thread.
  public func take(_ source: URL) async {
    advice = Preflight.space(bundleBytes: FileHash.size(source), freeBytes: library.freeBytes)
    guard advice == nil else { return }
    let library = library
    do {
      let target = try await Task.detached { () throws(DataProblem) in try library.take(source) }.value
      refresh()
      if target.pathExtension == "litertlm" { await choose(bundle: target) }
      if target.deletingLastPathComponent().path == library.plans.path { choose(plan: target) }
    } catch {
      advice = Advice(title: "Not imported", text: "\(error)")
    }
  }

  /// Uses this bundle from here on.
  public func choose(bundle url: URL) async {
    hashing = 0
    defer { hashing = nil }
    let (steps, feed) = AsyncStream.makeStream(of: Double.self, bufferingPolicy: .bufferingNewest(1))
    let facts = Task.detached {
      defer { feed.finish() }
      return try BundleFacts(file: url) { feed.yield($0) }
    }
    for await step in steps { hashing = step }
    do {
      bundle = try await facts.value
      bundleURL = url
    } catch {
      advice = Advice(title: "Not a usable bundle", text: "\(error)")
    }
  }

  /// Uses this plan from here on.
  public func choose(plan url: URL) {
    do {
      plan = try Plan(data: Data(contentsOf: url))
    } catch {
      advice = Advice(title: "Not a usable plan", text: "\(error)")
    }
  }

  /// Says something to the chosen bundle.
  public func say(_ text: String) async {
    guard let bundle, let setup = setup(speculative: choices.mtp) else { return }
    await chat.send(text, setup: setup, bundle: bundle)
  }

  /// Has the chosen bundle repeat digits.
  public func checkDigits() async {
    guard let bundle, let setup = setup(speculative: choices.mtp) else { return }
    await chat.checkDigits(setup: setup, bundle: bundle)
  }

  /// Runs the chosen plan on the chosen bundle.
  public func runBenchmark() async {
    guard let bundle, let setup = setup(speculative: false) else { return }
    await chat.releaseEngine()
    setting.pluggedIn = await probe.read().charging
    let identity = RunIdentity(
      wallTime: WallTime.text(Date()), device: device, setup: setup, runtimeName: "LiteRT-LM",
      runtimeVersion: AppVersion.runtimeOnPhone, cacheIsWarm: runner.cacheIsWarm(setup), bundle: bundle,
      setting: setting)
    await benchmark.run(plan, identity: identity, folder: library.logs)
    refresh()
  }

  private func setup(speculative: Bool) -> EngineSetup? {
    guard let bundleURL else {
      advice = Advice(title: "No bundle", text: "Import a .litertlm file first.")
      return nil
    }
    var setup = EngineSetup(bundlePath: bundleURL.path, cacheDirectory: library.cache.path)
    setup.backend = choices.usesGPU ? "gpu" : "cpu"
    setup.activation = choices.usesFP16 ? "fp16" : "fp32"
    setup.threads = choices.threads
    setup.maxContextTokens = choices.maxContextTokens
    setup.speculative = speculative
    return setup
  }
}

extension Plan {
  /// Six pairs of single trials: enough for a look, not for a verdict. `edge-mtp device plan` makes longer ones.
  public static let builtIn = Plan.abba(
    prompts: [
      Prompt(id: "sky", promptClass: "chat", text: "Why is the sky blue? Answer for a child of eight."),
      Prompt(id: "sort", promptClass: "code", text: "Write a Python function that sorts a list of words by length."),
      Prompt(
        id: "fields", promptClass: "extract",
        text: "Give name, date and amount as JSON: On 3 May Ada Byron paid 41.20 euros for lamp oil."),
    ], promptSet: "built-in", pairCount: 6, seed: 1)
}
