/// How an engine is started.
public struct EngineSetup: Sendable, Equatable {
  /// The bundle's path.
  public var bundlePath: String
  /// `cpu` or `gpu` (Metal).
  public var backend = "gpu"
  /// `fp32` or `fp16`. fp16 changes digits on Metal, so it is never the default.
  public var activation = "fp32"
  /// Of the CPU.
  public var threads = 4
  /// Prompt and reply together.
  public var maxContextTokens = 2048
  /// Where repacked weights go (1.2 GB for E2B).
  public var cacheDirectory: String
  /// Draft and verify.
  public var speculative = false

  /// Metal, float32, four threads.
  public init(bundlePath: String, cacheDirectory: String) {
    self.bundlePath = bundlePath
    self.cacheDirectory = cacheDirectory
  }
}

/// One message to the model.
public struct GenerationRequest: Sendable, Equatable {
  /// The user's words.
  public var text: String
  /// The system message of a new conversation.
  public var system: String?
  /// How tokens are chosen.
  public var sampler = Sampler()
  /// The longest reply.
  public var maxOutputTokens: Int
  /// Goes on with the last conversation instead of starting one.
  public var continues = false
  /// Counts each piece's tokens for a live figure; costs a little time, so trials leave it off.
  public var countsTokens = false

  /// A message that starts a conversation, greedy.
  public init(text: String, system: String? = nil, maxOutputTokens: Int) {
    self.text = text
    self.system = system
    self.maxOutputTokens = maxOutputTokens
  }
}

/// A piece of a reply: one draft-and-verify cycle, so one or more tokens.
public struct Piece: Sendable, Equatable {
  /// What it adds to the reply.
  public let text: String
  /// Since the message was sent.
  public let timeMs: Double
  /// Where counting was asked for.
  public let tokens: Int?

  /// A piece.
  public init(text: String, timeMs: Double, tokens: Int? = nil) {
    self.text = text
    self.timeMs = timeMs
    self.tokens = tokens
  }
}

/// Why a reply ended.
public enum FinishReason: String, Sendable {
  /// The model said all.
  case stop
  /// The budget was used up.
  case length
  /// Somebody stopped it.
  case cancelled
  /// The engine failed.
  case error
}

/// A reply and its figures.
public struct Generation: Sendable, Equatable {
  /// The whole reply.
  public var text = ""
  /// Since the message was sent, one for each piece, in milliseconds.
  public var pieceTimesMs: [Double] = []
  /// Message sent to stream's end.
  public var wallMs = 0.0
  /// Why it ended.
  public var finishReason = FinishReason.stop
  /// As the runtime counts them.
  public var inputTokens: Int?
  /// As the runtime counts them.
  public var outputTokens: Int?
  /// Tokens a second by the runtime's own benchmark.
  public var prefillTps: Double?
  /// Tokens a second by the runtime's own benchmark.
  public var decodeTps: Double?
  /// The engine's words.
  public var error: String?

  /// An empty reply.
  public init() {}
}

/// An engine's last words about drafting.
public struct Acceptance: Sendable, Equatable {
  /// Accepted ÷ drafted over the engine's life; nil where the runtime did not say. Never made up.
  public var rate: Double?

  /// What the runtime's log said.
  public init(rate: Double?) { self.rate = rate }

  /// Where the rate comes from, as the log has it.
  public var source: String { rate == nil ? "none" : "runtime_log" }
}

/// Why an engine did not start, in its own words.
public struct EngineProblem: Error, Equatable, Sendable, CustomStringConvertible {
  /// The words.
  public let description: String

  /// A problem with the engine's words.
  public init(_ description: String) { self.description = description }
}

/// Something that loads a bundle and writes replies; one call at a time, except `cancel`.
public protocol InferenceRunner: Sendable {
  /// Whether the weights of this setup lie repacked in the cache, so that loading will not repack them.
  func cacheIsWarm(_ setup: EngineSetup) -> Bool
  /// Starts an engine; ends the one before.
  func load(_ setup: EngineSetup) async throws(EngineProblem)
  /// Writes one reply; `onPiece` is called for each piece, in order, on any thread.
  func generate(_ request: GenerationRequest, onPiece: @escaping @Sendable (Piece) -> Void) async -> Generation
  /// Ends the reply that is being written with `FinishReason.cancelled`.
  func cancel() async
  /// Ends the engine.
  func unload() async -> Acceptance
}
