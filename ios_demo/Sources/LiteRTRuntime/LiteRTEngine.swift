import CLiteRT
import EdgeMTPKit
import Foundation

/// LiteRT-LM by its C API: one engine, one conversation at a time, replies as streams.
///
/// The C functions block, so they run on a queue of their own and not on Swift's threads. What is said here of the
/// runtime was seen with version 0.18.1 on Linux.
public actor LiteRTEngine: InferenceRunner {
  /// As the log names it.
  public static let runtimeName = "LiteRT-LM"

  private let queue = DispatchQueue(label: "litert-lm", qos: .userInitiated)
  private var engine: Handle?
  private var conversation: Handle?

  /// No engine yet. `verbose` lets the runtime write its whole log to standard error.
  public init(verbose: Bool = false) {
    // The line with the success rate has severity INFO.
    litert_lm_set_min_log_level(verbose ? 0 : 2)
  }

  /// Whether the runtime left a weight cache for this bundle (`NAME…xnnpack_cache` and the like).
  public nonisolated func cacheIsWarm(_ setup: EngineSetup) -> Bool {
    let name = URL(fileURLWithPath: setup.bundlePath).lastPathComponent
    let files = (try? FileManager.default.contentsOfDirectory(atPath: setup.cacheDirectory)) ?? []
    return files.contains { $0.hasPrefix(name) }
  }

  /// Starts an engine; ends the one before. Throws the runtime's words where it does not start.
  public func load(_ setup: EngineSetup) async throws(EngineProblem) {
    _ = await unload()
    guard FileManager.default.fileExists(atPath: setup.bundlePath) else {
      throw EngineProblem("there is no file \(setup.bundlePath)")
    }
    switch await onQueue({ EngineStart.start(setup) }) {
    case .success(let handle): engine = handle
    case .failure(let problem): throw problem
    }
  }

  /// Ends the engine; with its last words about drafting, which the runtime prints only now.
  public func unload() async -> Acceptance {
    guard let engine else { return Acceptance(rate: nil) }
    self.engine = nil
    let conversation = self.conversation
    self.conversation = nil
    return await onQueue {
      if let conversation { litert_lm_conversation_delete(conversation.pointer) }
      let said = StandardError.capture { litert_lm_engine_delete(engine.pointer) }
      return Acceptance(rate: SuccessRate.last(in: said))
    }
  }

  /// Writes one reply. Every failure comes back in the reply's `finishReason` and `error`.
  public func generate(
    _ request: GenerationRequest, onPiece: @escaping @Sendable (Piece) -> Void
  ) async -> Generation {
    guard let engine else { return Generation.failed("no engine is loaded") }
    if !request.continues || conversation == nil {
      if let old = conversation { await onQueue { litert_lm_conversation_delete(old.pointer) } }
      conversation = await onQueue { ConversationStart.start(engine, request) }
    }
    guard let conversation else { return Generation.failed("LiteRT-LM made no conversation") }
    let counter = request.countsTokens ? engine : nil
    let stream = ReplyStream(onPiece: onPiece) { text in counter.map { TokenCount.of(text, engine: $0) } }
    let message = JSON.object(["role": .text("user"), "content": .text(request.text)]).compact()
    await stream.send(message, to: conversation)
    return await onQueue { stream.result(maxOutputTokens: request.maxOutputTokens, of: conversation) }
  }

  /// Ends the reply that is being written; nothing happens where none is.
  public func cancel() {
    if let conversation { litert_lm_conversation_cancel_process(conversation.pointer) }
  }

  private func onQueue<Value: Sendable>(_ work: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { done in queue.async { done.resume(returning: work()) } }
  }
}

/// A pointer into the runtime. The engine actor sees to it that it is used by one call at a time; `cancel` is the
/// exception, and the runtime allows it from any thread.
struct Handle: @unchecked Sendable {
  let pointer: OpaquePointer
}

extension Generation {
  static func failed(_ words: String) -> Generation {
    var generation = Generation()
    generation.finishReason = .error
    generation.error = words
    return generation
  }
}
