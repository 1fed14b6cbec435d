import EdgeMTPKit
import Foundation
import LiteRTRuntime

/// `LinuxRun BUNDLE PLAN LOG_FOLDER RUNTIME_VERSION`: runs a plan on a bundle with the real runtime on this computer's
/// CPU, by the run machine and the adapter that the phone uses, and prints the log's path.
func run(_ arguments: [String]) async -> Int32 {
  guard arguments.count == 5 else {
    report("usage: LinuxRun BUNDLE PLAN LOG_FOLDER RUNTIME_VERSION")
    return 2
  }
  do {
    let plan = try Plan(data: Data(contentsOf: URL(fileURLWithPath: arguments[2])))
    let bundle = URL(fileURLWithPath: arguments[1])
    let log = try LogFile(directory: URL(fileURLWithPath: arguments[3]))
    let path = log.url.path
    let problem = await drive(plan, bundle: bundle, facts: try BundleFacts(file: bundle), log: log, arguments[4])
    if let problem { report(problem) }
    print(path)
    return problem == nil ? 0 : 1
  } catch {
    report("\(error)")
    return 1
  }
}

func drive(_ plan: Plan, bundle: URL, facts: BundleFacts, log: sending LogFile, _ version: String) async -> String? {
  let cache = log.url.deletingLastPathComponent().appendingPathComponent("cache")
  try? FileManager.default.createDirectory(at: cache, withIntermediateDirectories: true)
  var setup = EngineSetup(bundlePath: bundle.path, cacheDirectory: cache.path)
  setup.backend = "cpu"
  setup.threads = 2
  setup.maxContextTokens = 512
  let engine = LiteRTEngine()
  let identity = RunIdentity(
    wallTime: WallTime.text(Date()), device: LinuxProbe.facts(), setup: setup, runtimeName: LiteRTEngine.runtimeName,
    runtimeVersion: version, cacheIsWarm: engine.cacheIsWarm(setup), bundle: facts, setting: RunSetting())
  let driver = RunDriver(
    machine: RunMachine(plan: plan, identity: identity), runner: engine, probe: LinuxProbe(), log: log, setup: setup)
  return await driver.run { progress in report("\(progress.trials) trials, \(progress.activity)") }
}

func report(_ text: String) { FileHandle.standardError.write(Data((text + "\n").utf8)) }

exit(await run(CommandLine.arguments))
