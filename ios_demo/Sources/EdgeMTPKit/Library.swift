import Foundation

/// The app's files: `Documents/bundles`, `Documents/plans`, `Documents/logs`, and the weight cache in Caches.
public struct Library: Sendable {
  /// Bundles and their manifests.
  public let bundles: URL
  /// Plan files.
  public let plans: URL
  /// One file a run.
  public let logs: URL
  /// Repacked weights; the system may delete them.
  public let cache: URL

  /// The folders below `documents` and `caches`, made where they are missing.
  public init(documents: URL, caches: URL) throws(DataProblem) {
    bundles = documents.appendingPathComponent("bundles")
    plans = documents.appendingPathComponent("plans")
    logs = documents.appendingPathComponent("logs")
    cache = caches.appendingPathComponent("weights")
    for folder in [bundles, plans, logs, cache] {
      do {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      } catch {
        throw DataProblem("\(folder.lastPathComponent) cannot be made", needed: "free space", fix: "delete something")
      }
    }
  }

  /// Files with this ending, by name.
  public func files(in folder: URL, ending: String) -> [URL] {
    let all = (try? FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)) ?? []
    return all.filter { $0.pathExtension == ending }.sorted { $0.lastPathComponent < $1.lastPathComponent }
  }

  /// Copies a bundle, plan or manifest into its folder, aside first, so that a killed copy leaves nothing under the
  /// final name. Returns where it lies. Throws `DataProblem` where it is none of these or cannot be copied.
  public func take(_ source: URL) throws(DataProblem) -> URL {
    let isPlan = source.pathExtension == "json" && !source.lastPathComponent.hasSuffix(".litertlm.json")
    if isPlan { _ = try Plan(data: read(source)) }
    if source.pathExtension == "litertlm" { _ = try BundleHeader(file: source) }
    guard ["json", "litertlm"].contains(source.pathExtension) else {
      throw DataProblem(
        "\(source.lastPathComponent) is neither a bundle nor a plan", needed: ".litertlm or .json",
        fix: "choose another")
    }
    let target = (isPlan ? plans : bundles).appendingPathComponent(source.lastPathComponent)
    try copy(source, to: target)
    return target
  }

  private func read(_ url: URL) throws(DataProblem) -> Data {
    do {
      return try Data(contentsOf: url)
    } catch {
      throw DataProblem("\(url.lastPathComponent) cannot be read", needed: "a readable file", fix: "choose it again")
    }
  }

  private func copy(_ source: URL, to target: URL) throws(DataProblem) {
    let aside = target.appendingPathExtension("part")
    do {
      try? FileManager.default.removeItem(at: aside)
      try FileManager.default.copyItem(at: source, to: aside)
      if FileManager.default.fileExists(atPath: target.path) { try FileManager.default.removeItem(at: target) }
      try FileManager.default.moveItem(at: aside, to: target)
    } catch {
      try? FileManager.default.removeItem(at: aside)
      throw DataProblem(
        "\(source.lastPathComponent) cannot be copied", needed: "free space for it",
        fix: "delete a bundle and try again")
    }
  }

  /// Free bytes where bundles lie; nil where the system does not say.
  public var freeBytes: Int64? {
    let facts = try? FileManager.default.attributesOfFileSystem(forPath: bundles.path)
    return (facts?[.systemFreeSize] as? NSNumber)?.int64Value
  }
}
