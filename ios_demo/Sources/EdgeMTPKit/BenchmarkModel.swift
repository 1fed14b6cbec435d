import Foundation
import Observation

/// Runs plans unattended and says how far they are.
@MainActor @Observable
public final class BenchmarkModel {
  /// The run; nil before the first.
  public private(set) var progress: RunProgress?
  /// A run is under way, so the screen must stay on.
  public private(set) var isRunning = false
  /// The last run's log, to share.
  public private(set) var log: URL?
  /// Something that the user should know.
  public var advice: Advice?

  private let runner: any InferenceRunner
  private let probe: any DeviceProbe
  private let tickMs: Int
  private var driver: RunDriver?

  /// No run yet.
  public init(runner: any InferenceRunner, probe: any DeviceProbe, tickMs: Int = 1000) {
    self.runner = runner
    self.probe = probe
    self.tickMs = tickMs
  }

  /// Runs `plan` to its end and writes its log into `folder`. Refuses in `advice` where it makes no sense to start.
  public func run(_ plan: Plan, identity: RunIdentity, folder: URL) async {
    guard !isRunning else { return }
    let reading = await probe.read()
    advice = obstacle(identity, reading)
    guard advice == nil else { return }
    do {
      let file = try LogFile(directory: folder)
      log = file.url
      await drive(plan, identity, file)
    } catch {
      advice = Advice(title: "No log", text: error.description)
    }
  }

  private func obstacle(_ identity: RunIdentity, _ reading: DeviceReading) -> Advice? {
    if !identity.bundle.hasDrafter { return .noDrafter(identity.bundle.file) }
    return Preflight.memory(
      bundleBytes: identity.bundle.bytes, backend: identity.setup.backend, availableBytes: reading.memAvailableBytes)
  }

  private func drive(_ plan: Plan, _ identity: RunIdentity, _ file: sending LogFile) async {
    isRunning = true
    defer { isRunning = false }
    let driver = RunDriver(
      machine: RunMachine(plan: plan, identity: identity), runner: runner, probe: probe, log: file,
      setup: identity.setup, tickMs: tickMs)
    self.driver = driver
    let (steps, feed) = AsyncStream.makeStream(of: RunProgress.self, bufferingPolicy: .bufferingNewest(1))
    let whole = Task {
      let problem = await driver.run { progress in feed.yield(progress) }
      feed.finish()
      return problem
    }
    for await step in steps { progress = step }
    if let words = await whole.value { advice = Advice(title: "The run ended early", text: words) }
    self.driver = nil
  }

  /// Tells a run what happened to the app; a memory warning is also said to the user.
  public func post(_ input: RunInput) {
    guard let driver else { return }
    if case .memoryWarning = input { advice = .memoryWarning }
    driver.post(input)
  }
}
