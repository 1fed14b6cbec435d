import EdgeMTPKit
import Foundation
import Testing

@testable import LiteRTRuntime

/// The project's own trained pair, run by the real library.
enum TinyBundle {
  /// Set by `make ios`; without it the tests fail, they are never left out.
  static var path: String { ProcessInfo.processInfo.environment["EDGE_MTP_BUNDLE"] ?? "EDGE_MTP_BUNDLE is not set" }

  static func setup(speculative: Bool) throws -> EngineSetup {
    let cache = FileManager.default.temporaryDirectory.appendingPathComponent("edge-mtp-tests")
    try FileManager.default.createDirectory(at: cache, withIntermediateDirectories: true)
    var setup = EngineSetup(bundlePath: path, cacheDirectory: cache.path)
    setup.backend = "cpu"
    setup.threads = 2
    setup.maxContextTokens = 512
    setup.speculative = speculative
    return setup
  }
}

/// Collects pieces from the runtime's threads.
final class Pieces: @unchecked Sendable {
  private let lock = NSLock()
  private var pieces: [Piece] = []

  var all: [Piece] { lock.withLock { pieces } }
  func add(_ piece: Piece) { lock.withLock { pieces.append(piece) } }
}
