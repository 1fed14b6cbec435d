import Foundation

@testable import EdgeMTPKit

/// The files that Python, Kotlin and Swift must agree on.
enum GoldenFiles {
  static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("tests/golden/device")

  static func data(_ name: String) throws -> Data { try Data(contentsOf: folder.appendingPathComponent(name)) }
  static func json(_ name: String) throws -> JSON { try JSON.parse(data(name)) }
}

/// A folder of its own for a test.
func makeFolder() throws -> URL {
  let url = FileManager.default.temporaryDirectory.appendingPathComponent("edge-mtp-\(UUID().uuidString)")
  try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  return url
}
