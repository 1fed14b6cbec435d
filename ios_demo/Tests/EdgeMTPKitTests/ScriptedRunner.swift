import Foundation

@testable import EdgeMTPKit

/// An engine that plays a script in real time, for the driver and the models.
actor ScriptedRunner: InferenceRunner {
  private(set) var loads: [EngineSetup] = []
  private(set) var requests: [GenerationRequest] = []
  private(set) var unloads = 0
  private var isCancelled = false
  let refusal: String?
  let reply: String
  /// Waits to be cancelled instead of ending.
  let hangs: Bool

  init(refusal: String? = nil, reply: String = "one two three", hangs: Bool = false) {
    self.refusal = refusal
    self.reply = reply
    self.hangs = hangs
  }

  nonisolated func cacheIsWarm(_ setup: EngineSetup) -> Bool { false }

  func load(_ setup: EngineSetup) async throws(EngineProblem) {
    if let refusal { throw EngineProblem(refusal) }
    loads.append(setup)
  }

  func generate(_ request: GenerationRequest, onPiece: @escaping @Sendable (Piece) -> Void) async -> Generation {
    requests.append(request)
    isCancelled = false
    let words = reply.split(separator: " ").map { "\($0) " }
    var generation = Generation()
    for (index, word) in words.enumerated() {
      generation.pieceTimesMs.append(Double(index + 1))
      onPiece(Piece(text: word, timeMs: Double(index + 1), tokens: request.countsTokens ? 2 : nil))
    }
    while hangs, !isCancelled { try? await Task.sleep(for: .milliseconds(1)) }
    generation.text = words.joined()
    generation.outputTokens = 2 * words.count
    generation.decodeTps = 123
    generation.wallMs = Double(words.count)
    generation.finishReason = isCancelled ? .cancelled : .stop
    return generation
  }

  func cancel() { isCancelled = true }

  func unload() -> Acceptance {
    unloads += 1
    return Acceptance(rate: loads.last?.speculative == true ? 0.5 : nil)
  }
}

/// A phone that always says the same.
struct FixedProbe: DeviceProbe {
  var reading = DeviceReading.fit
  func read() async -> DeviceReading { reading }
}
