import Foundation

/// A bundle as the log names it.
public struct BundleFacts: Sendable, Equatable {
  /// The file's name.
  public let file: String
  /// Its size.
  public let bytes: Int64
  /// Of the whole file; hashed once, when it is imported.
  public let sha256: String
  /// Whether MTP can be asked for.
  public let hasDrafter: Bool
  /// Tokens drafted a round, where the manifest says it.
  public let draftSteps: Int?
  /// Of the manifest beside the bundle, where there is one.
  public let manifestSHA256: String?

  /// Reads a bundle and the manifest `NAME.litertlm.json` beside it; hashes where no hash is kept from the import.
  /// `progress` gets 0 to 1. Throws `DataProblem` where it is no bundle.
  public init(file url: URL, progress: (Double) -> Void = { _ in }) throws(DataProblem) {
    let header = try BundleHeader(file: url)
    let manifest = try? Data(contentsOf: url.appendingPathExtension("json"))
    file = url.lastPathComponent
    bytes = FileHash.size(url)
    sha256 = try FileHash.kept(for: url, progress: progress)
    hasDrafter = header.hasDrafter
    draftSteps = manifest.flatMap { try? JSON.parse($0) }?["draft_steps"]?.integer.map { Int($0) }
    manifestSHA256 = manifest.map { data in
      var hash = SHA256()
      hash.update(data)
      return hash.hex()
    }
  }

  init(file: String, bytes: Int64, sha256: String, hasDrafter: Bool, draftSteps: Int?, manifestSHA256: String?) {
    self.file = file
    self.bytes = bytes
    self.sha256 = sha256
    self.hasDrafter = hasDrafter
    self.draftSteps = draftSteps
    self.manifestSHA256 = manifestSHA256
  }

  var json: JSON {
    .object([
      "file": .text(file), "bytes": .integer(bytes), "sha256": .text(sha256), "has_drafter": .bool(hasDrafter),
      "draft_steps": .optional(draftSteps), "manifest_sha256": .optional(manifestSHA256),
    ])
  }
}

/// Hashes of large files, kept beside them so that a start does not read gigabytes.
public enum FileHash {
  /// The hash of the file at `url`: kept one where size and date have not changed, else computed and kept.
  public static func kept(for url: URL, progress: (Double) -> Void = { _ in }) throws(DataProblem) -> String {
    let note = url.appendingPathExtension("sha256")
    let stamp = "\(size(url)) \(date(url))"
    if let lines = try? String(contentsOf: note, encoding: .utf8).split(separator: "\n"), lines.count == 2,
      lines[1] == stamp
    {
      return String(lines[0])
    }
    let hex = try compute(url, progress: progress)
    // Only saves time: where it cannot be written, the next start hashes again.
    try? Data("\(hex)\n\(stamp)\n".utf8).write(to: note, options: .atomic)
    return hex
  }

  static func size(_ url: URL) -> Int64 {
    let attributes = try? FileManager.default.attributesOfItem(atPath: url.path)
    return (attributes?[.size] as? NSNumber)?.int64Value ?? 0
  }

  private static func date(_ url: URL) -> Double {
    let attributes = try? FileManager.default.attributesOfItem(atPath: url.path)
    return (attributes?[.modificationDate] as? Date)?.timeIntervalSince1970 ?? 0
  }

  private static func compute(_ url: URL, progress: (Double) -> Void) throws(DataProblem) -> String {
    let total = Double(max(size(url), 1))
    var hash = SHA256()
    var done = 0
    do {
      let handle = try FileHandle(forReadingFrom: url)
      defer { try? handle.close() }
      while let part = try handle.read(upToCount: 1 << 20), !part.isEmpty {
        hash.update(part)
        done += part.count
        progress(Double(done) / total)
      }
    } catch {
      throw DataProblem("\(url.lastPathComponent) cannot be read", needed: "the whole file", fix: "import it again")
    }
    return hash.hex()
  }
}
