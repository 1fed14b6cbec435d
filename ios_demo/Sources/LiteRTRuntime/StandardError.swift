import Foundation

/// What native code writes to standard error while something runs.
enum StandardError {
  /// Runs `work` with standard error going to a file; returns what was written, and writes it on where it belongs.
  ///
  /// A file and not a pipe, because nobody empties a pipe while the runtime writes. Where no file can be had, `work`
  /// runs all the same and nothing is known.
  static func capture(_ work: () -> Void) -> String {
    let path = NSTemporaryDirectory() + "edge-mtp-stderr-\(UUID().uuidString)"
    let file = open(path, O_CREAT | O_RDWR | O_EXCL, 0o600)
    let screen = dup(STDERR_FILENO)
    guard file >= 0, screen >= 0 else {
      work()
      return ""
    }
    unlink(path)
    fflush(nil)
    dup2(file, STDERR_FILENO)
    work()
    fflush(nil)
    dup2(screen, STDERR_FILENO)
    close(screen)
    let handle = FileHandle(fileDescriptor: file, closeOnDealloc: true)
    try? handle.seek(toOffset: 0)
    let written = (try? handle.readToEnd()) ?? Data()
    try? FileHandle.standardError.write(contentsOf: written)
    return String(bytes: written, encoding: .utf8) ?? ""
  }
}

/// LiteRT-LM's line `MTP Drafter - Success rate: R`, accepted ÷ drafted without bonus tokens.
enum SuccessRate {
  /// The last one in a log; nil where there is none, or where nothing was drafted ("nan").
  static func last(in log: String) -> Double? {
    let rates = log.split(separator: "\n").compactMap { line -> Double? in
      guard let found = line.range(of: "Success rate:") else { return nil }
      let number = line[found.upperBound...].drop { $0 == " " }.prefix { "0123456789.eE+-".contains($0) }
      return Double(number)
    }
    return rates.last.flatMap { (0...1).contains($0) ? $0 : nil }
  }
}
