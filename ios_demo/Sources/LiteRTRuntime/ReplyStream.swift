import CLiteRT
import EdgeMTPKit
import Foundation

/// One reply on its way: takes the runtime's chunks on the runtime's thread, and ends when its last one has come.
final class ReplyStream: @unchecked Sendable {
  private let lock = NSLock()
  private let onPiece: @Sendable (Piece) -> Void
  private let countTokens: @Sendable (String) -> Int?
  private let started = ContinuousClock.now
  private var reply = Generation()
  private var done: CheckedContinuation<Void, Never>?

  init(
    onPiece: @escaping @Sendable (Piece) -> Void, countTokens: @escaping @Sendable (String) -> Int?
  ) {
    self.onPiece = onPiece
    self.countTokens = countTokens
  }

  /// Sends the message and waits for the stream's end.
  func send(_ message: String, to conversation: Handle) async {
    await withCheckedContinuation { continuation in
      lock.withLock { done = continuation }
      // Kept alive by hand: the runtime gives the pointer back with every chunk, the last time with the final one.
      let data = Unmanaged.passRetained(self).toOpaque()
      let code = litert_lm_conversation_send_message_stream(
        conversation.pointer, message, nil, nil,
        { data, chunk in
          guard let data, let chunk else { return }
          let stream = Unmanaged<ReplyStream>.fromOpaque(data)
          if stream.takeUnretainedValue().take(chunk) { stream.release() }
        }, data)
      if code != 0 {
        Unmanaged<ReplyStream>.fromOpaque(data).release()
        finish(error: "LiteRT-LM did not take the message (code \(code))")
      }
    }
  }

  /// True with the last chunk.
  private func take(_ chunk: OpaquePointer) -> Bool {
    if let error = litert_lm_stream_chunk_get_error(chunk) {
      finish(error: String(cString: error))
      return true
    }
    let text = litert_lm_stream_chunk_get_text(chunk).map { ChunkText.text(of: String(cString: $0)) } ?? ""
    if !text.isEmpty { add(text) }
    guard litert_lm_stream_chunk_is_final(chunk) else { return false }
    finish(error: nil)
    return true
  }

  private func add(_ text: String) {
    let timeMs = elapsedMs
    lock.withLock {
      reply.text += text
      reply.pieceTimesMs.append(timeMs)
    }
    onPiece(Piece(text: text, timeMs: timeMs, tokens: countTokens(text)))
  }

  private func finish(error: String?) {
    let waiting = lock.withLock {
      reply.wallMs = elapsedMs
      (reply.finishReason, reply.error) = Self.verdict(error)
      defer { done = nil }
      return done
    }
    waiting?.resume()
  }

  /// A cancelled stream and a full context arrive as errors too.
  static func verdict(_ error: String?) -> (FinishReason, String?) {
    guard let error else { return (.stop, nil) }
    if error.contains("CANCELLED") { return (.cancelled, nil) }
    if error.contains("Max number of tokens reached") { return (.length, nil) }
    return (.error, error)
  }

  private var elapsedMs: Double { started.duration(to: .now) / .milliseconds(1) }

  /// The reply with the runtime's own figures for its last turn.
  func result(maxOutputTokens: Int, of conversation: Handle) -> Generation {
    var reply = lock.withLock { self.reply }
    guard let info = litert_lm_conversation_get_benchmark_info(conversation.pointer) else { return reply }
    defer { litert_lm_benchmark_info_delete(info) }
    let prefill = litert_lm_benchmark_info_get_num_prefill_turns(info) - 1
    let decode = litert_lm_benchmark_info_get_num_decode_turns(info) - 1
    if prefill >= 0 {
      reply.inputTokens = Int(litert_lm_benchmark_info_get_prefill_token_count_at(info, prefill))
      reply.prefillTps = Self.rate(litert_lm_benchmark_info_get_prefill_tokens_per_sec_at(info, prefill))
    }
    if decode >= 0 {
      reply.outputTokens = Int(litert_lm_benchmark_info_get_decode_token_count_at(info, decode))
      reply.decodeTps = Self.rate(litert_lm_benchmark_info_get_decode_tokens_per_sec_at(info, decode))
    }
    if reply.finishReason == .stop, let tokens = reply.outputTokens, tokens >= maxOutputTokens {
      reply.finishReason = .length
    }
    return reply
  }

  private static func rate(_ value: Double) -> Double? { value.isFinite && value > 0 ? value : nil }
}

/// Chunks are JSON messages; their text parts and channels (thinking) are the reply.
enum ChunkText {
  static func text(of chunk: String) -> String {
    guard let json = try? JSON.parse(Data(chunk.utf8)), let message = json.fields else { return chunk }
    let channels = message["channels"]?.fields?.entries.compactMap { $0.value.text } ?? []
    switch message["content"] {
    case .text(let text)?: return (channels + [text]).joined()
    case .list(let parts)?: return (channels + parts.compactMap { $0["text"]?.text }).joined()
    default: return channels.joined()
    }
  }
}
