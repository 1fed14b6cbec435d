import Observation

/// One message on the screen.
public struct ChatLine: Sendable, Equatable, Identifiable {
  /// Its place.
  public let id: Int
  /// The user's, else the model's.
  public let isUser: Bool
  /// What was said so far.
  public var text: String
}

/// Figures of a reply for the screen.
public struct ReplyFigures: Sendable, Equatable {
  /// Tokens a second; while the reply is written by our count of its pieces, then by the runtime's own figure.
  public var tokensPerSecond: Double?
  /// Message sent to first piece.
  public var firstPieceMs: Double?
  /// Tokens a piece: about 1 without drafting, the mean acceptance length with it.
  public var tokensPerPiece: Double?
  /// Whether these are the runtime's.
  public var isFinal = false

  /// Nothing known yet.
  public init() {}

  init(pieces: Int, tokens: Int, firstMs: Double, nowMs: Double) {
    firstPieceMs = firstMs
    tokensPerPiece = pieces > 0 ? Double(tokens) / Double(pieces) : nil
    tokensPerSecond = nowMs > firstMs ? Double(tokens) / (nowMs - firstMs) * 1000 : nil
  }

  init(_ reply: Generation) {
    tokensPerSecond = reply.decodeTps
    firstPieceMs = reply.pieceTimesMs.first
    let pieces = reply.pieceTimesMs.count
    tokensPerPiece = reply.outputTokens.flatMap { pieces > 0 ? Double($0) / Double(pieces) : nil }
    isFinal = true
  }
}

/// What the chat is doing.
public enum ChatState: Sendable, Equatable {
  /// Ready for a message.
  case ready
  /// The engine starts.
  case loading
  /// A reply is being written.
  case answering
}

/// A conversation with the model, with MTP on or off, and what it costs the phone.
@MainActor @Observable
public final class ChatModel {
  /// The conversation.
  public private(set) var lines: [ChatLine] = []
  /// What is being done.
  public private(set) var state = ChatState.ready
  /// Of the reply that is being written, or the last one.
  public private(set) var figures = ReplyFigures()
  /// The phone at the last piece.
  public private(set) var reading = DeviceReading()
  /// Accepted ÷ drafted of the engine that ended last; nil where the runtime did not say.
  public private(set) var lastAcceptance: Double?
  /// Something that the user should know.
  public var advice: Advice?

  private let runner: any InferenceRunner
  private let probe: any DeviceProbe
  private var loaded: EngineSetup?

  /// An empty conversation.
  public init(runner: any InferenceRunner, probe: any DeviceProbe) {
    self.runner = runner
    self.probe = probe
  }

  /// Says `text` to the model. The engine is started anew where `setup` differs from the last one, and with it the
  /// conversation.
  public func send(_ text: String, setup: EngineSetup, bundle: BundleFacts, maxOutputTokens: Int = 512) async {
    guard state == .ready, await ensureEngine(setup, bundle) else { return }
    let isFirst = lines.isEmpty
    lines.append(ChatLine(id: lines.count, isUser: true, text: text))
    var request = GenerationRequest(text: text, maxOutputTokens: maxOutputTokens)
    request.continues = !isFirst
    request.countsTokens = true
    let reply = await answer(request)
    if let words = reply.error { advice = .engineRefused(words, speculative: setup.speculative) }
  }

  /// Asks for digits in a conversation of its own and says whether they came back.
  public func checkDigits(setup: EngineSetup, bundle: BundleFacts) async {
    clear()
    await send(DigitCheck.prompt, setup: setup, bundle: bundle, maxOutputTokens: 64)
    guard advice == nil, let reply = lines.last, !reply.isUser else { return }
    advice = DigitCheck.advice(reply: reply.text, activation: setup.activation)
  }

  /// Ends the reply that is being written.
  public func cancel() async { await runner.cancel() }

  /// Forgets the conversation; the next message starts a new one.
  public func clear() {
    guard state == .ready else { return }
    lines = []
    figures = ReplyFigures()
  }

  /// Ends the engine, so that a benchmark can start its own.
  public func releaseEngine() async {
    guard loaded != nil else { return }
    loaded = nil
    lastAcceptance = await runner.unload().rate
    clear()
  }

  private func ensureEngine(_ setup: EngineSetup, _ bundle: BundleFacts) async -> Bool {
    if loaded == setup { return true }
    await releaseEngine()
    reading = await probe.read()
    advice = preflight(setup, bundle)
    guard advice == nil else { return false }
    state = .loading
    defer { state = .ready }
    do {
      try await runner.load(setup)
      loaded = setup
      lines = []
      return true
    } catch {
      advice = .engineRefused("\(error)", speculative: setup.speculative)
      return false
    }
  }

  private func preflight(_ setup: EngineSetup, _ bundle: BundleFacts) -> Advice? {
    if setup.speculative, !bundle.hasDrafter { return .noDrafter(bundle.file) }
    return Preflight.memory(
      bundleBytes: bundle.bytes, backend: setup.backend, availableBytes: reading.memAvailableBytes)
  }

  private func answer(_ request: GenerationRequest) async -> Generation {
    state = .answering
    defer { state = .ready }
    lines.append(ChatLine(id: lines.count, isUser: false, text: ""))
    let (pieces, feed) = AsyncStream.makeStream(of: Piece.self)
    let reply = Task { [runner] in
      let reply = await runner.generate(request) { piece in feed.yield(piece) }
      feed.finish()
      return reply
    }
    var counts = (pieces: 0, tokens: 0, firstMs: 0.0)
    for await piece in pieces {
      if counts.pieces == 0 { counts.firstMs = piece.timeMs }
      counts.pieces += 1
      counts.tokens += piece.tokens ?? 1
      lines[lines.count - 1].text += piece.text
      figures = ReplyFigures(
        pieces: counts.pieces, tokens: counts.tokens, firstMs: counts.firstMs, nowMs: piece.timeMs)
      reading = await probe.read()
    }
    let whole = await reply.value
    figures = ReplyFigures(whole)
    return whole
  }
}
