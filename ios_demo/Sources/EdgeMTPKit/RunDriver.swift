import Foundation

/// Runs a plan: feeds what happens to the machine and does what it says, until it has finished.
public actor RunDriver {
  private var machine: RunMachine
  private let runner: any InferenceRunner
  private let probe: any DeviceProbe
  private let log: LogFile
  private let setup: EngineSetup
  private let tickMs: Int
  private let inputs: AsyncStream<RunInput>
  private let feed: AsyncStream<RunInput>.Continuation
  private let started = ContinuousClock.now
  private var problem: String?

  /// A run that has not started. `log` belongs to it from here on.
  public init(
    machine: RunMachine, runner: any InferenceRunner, probe: any DeviceProbe, log: sending LogFile, setup: EngineSetup,
    tickMs: Int = 1000
  ) {
    self.machine = machine
    self.runner = runner
    self.probe = probe
    self.log = log
    self.setup = setup
    self.tickMs = tickMs
    (inputs, feed) = AsyncStream.makeStream()
  }

  /// Tells the run what happened to the app: background, foreground, memory warning, stop.
  public nonisolated func post(_ input: RunInput) { feed.yield(input) }

  /// Runs to the end. `onProgress` is called after everything that happens. Returns what went wrong, nil where nothing.
  public func run(onProgress: @escaping @Sendable (RunProgress) -> Void = { _ in }) async -> String? {
    feed.yield(.start)
    let ticker = Task { [feed, tickMs] in
      while !Task.isCancelled {
        try? await Task.sleep(for: .milliseconds(tickMs))
        feed.yield(.tick)
      }
    }
    for await input in inputs {
      let reading = await probe.read()
      let commands = machine.handle(input, at: elapsedMs, reading: reading)
      for command in commands { perform(command) }
      onProgress(machine.progress)
    }
    ticker.cancel()
    log.close()
    return problem
  }

  private var elapsedMs: Int64 {
    let (seconds, attoseconds) = started.duration(to: .now).components
    return seconds * 1000 + attoseconds / 1_000_000_000_000_000
  }

  private func perform(_ command: RunCommand) {
    switch command {
    case .record(let record): write(record)
    case .load(let speculative): load(speculative)
    case .generate(let request): generate(request)
    case .cancel: Task { [runner] in await runner.cancel() }
    case .unload: unload()
    case .finished(let words):
      problem = problem ?? words
      feed.finish()
    }
  }

  /// A log that cannot be written ends the run: figures that nobody can read are not worth the battery.
  private func write(_ record: LogRecord) {
    guard problem == nil else { return }
    do {
      try log.append(record)
    } catch {
      problem = error.description
      feed.yield(.stop)
    }
  }

  private func load(_ speculative: Bool) {
    var wanted = setup
    wanted.speculative = speculative
    Task { [runner, feed, wanted] in
      let started = ContinuousClock.now
      do {
        try await runner.load(wanted)
        let took = started.duration(to: .now)
        feed.yield(.loaded(loadMs: took / .milliseconds(1)))
      } catch {
        feed.yield(.loadFailed("\(error)"))
      }
    }
  }

  private func unload() {
    Task { [runner, feed] in
      let said = await runner.unload()
      feed.yield(.unloaded(said))
    }
  }

  private func generate(_ request: GenerationRequest) {
    Task { [runner, feed] in
      let first = FirstOnly { feed.yield(.firstPiece) }
      let generation = await runner.generate(request) { _ in first.call() }
      feed.yield(.generated(generation))
    }
  }
}

/// Calls its action once, from whatever thread comes first.
private final class FirstOnly: @unchecked Sendable {
  private let lock = NSLock()
  private var action: (@Sendable () -> Void)?

  init(_ action: @escaping @Sendable () -> Void) { self.action = action }

  func call() {
    let wanted = lock.withLock {
      defer { action = nil }
      return action
    }
    wanted?()
  }
}
