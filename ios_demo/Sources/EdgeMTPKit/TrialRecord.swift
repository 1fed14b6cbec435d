/// What stays of a trial for the pair's comparison and the summary.
struct TrialOutcome: Sendable, Equatable {
  let place: TrialPlace
  let valid: Bool
  let decodeTps: Double?
  /// Nil on a pair's first block and for warm-ups.
  let equalsPair: Bool?
}

/// What a trial wrote, for the comparison with the other arm.
struct WrittenText: Sendable, Equatable {
  let text: String
  let finishReason: FinishReason

  init(_ generation: Generation) {
    text = generation.text
    finishReason = generation.finishReason
  }

  /// The same text. Where a reply ended because its budget was used up, the other may go on: with drafting
  /// LiteRT-LM 0.18.1 writes the rest of its last round too, up to `draft_steps` tokens (seen with the tiny bundle).
  func equals(_ other: WrittenText) -> Bool {
    if text == other.text { return true }
    return finishReason == .length && other.text.hasPrefix(text)
      || other.finishReason == .length && text.hasPrefix(other.text)
  }
}

/// Everything that a trial's record is made from.
struct FinishedTrial {
  let place: TrialPlace
  let generation: Generation
  let watch: TrialWatch
  /// Nil for a warm-up, which stands in front of no gate.
  let gate: GateResult?
  let reasons: [InvalidReason]
  /// What the first block's trial with the same repeat wrote; nil on a pair's first block.
  let pairText: WrittenText?

  var outcome: TrialOutcome {
    TrialOutcome(
      place: place, valid: reasons.isEmpty, decodeTps: decodeTps,
      equalsPair: pairText.map { $0.equals(WrittenText(generation)) })
  }

  /// The runtime's own figure, else tokens after the first piece over their time.
  private var decodeTps: Double? {
    if let measured = generation.decodeTps { return measured }
    guard let tokens = generation.outputTokens, let first = generation.pieceTimesMs.first,
      let last = generation.pieceTimesMs.last, last > first
    else { return nil }
    return Double(tokens - 1) / (last - first) * 1000
  }

  func record(tMs: Int64) -> LogRecord {
    LogRecord(.trial, tMs: tMs, identity.followed(by: speed).followed(by: circumstances).followed(by: judgement))
  }

  private var identity: Fields {
    [
      "index": .whole(place.index), "pair": .optional(place.block?.pair), "order": .optional(place.block?.order),
      "repeat": .optional(place.block == nil ? nil : place.repeatIndex), "arm": .text(place.arm.rawValue),
      "prompt": .text(place.prompt.id), "prompt_class": .text(place.prompt.promptClass),
      "warmup": .bool(place.block == nil), "start_t_ms": .integer(watch.startMs),
    ]
  }

  private var speed: Fields {
    let times = generation.pieceTimesMs
    let gaps = zip(times.dropFirst(), times).map { Rounded.ms($0 - $1) }
    let spread: JSON? =
      gaps.isEmpty
      ? nil
      : .object([
        "p50": .optional(Statistics.quantile(gaps, 0.5).map(Rounded.ms)),
        "p95": .optional(Statistics.quantile(gaps, 0.95).map(Rounded.ms)), "max": .optional(gaps.max()),
      ])
    return [
      "input_tokens": .optional(generation.inputTokens), "output_tokens": .optional(generation.outputTokens),
      "chunks": .whole(times.count), "finish_reason": .text(generation.finishReason.rawValue),
      "ttft_ms": .optional(times.first.map(Rounded.ms)),
      "decode_ms": .optional(times.first.flatMap { first in times.last.map { Rounded.ms($0 - first) } }),
      "prefill_tps": .optional(generation.prefillTps.map(Rounded.ms)),
      "decode_tps": .optional(generation.decodeTps.map(Rounded.ms)),
      "wall_ms": .number(Rounded.ms(generation.wallMs)), "itl_ms": spread,
    ]
  }

  private var circumstances: Fields {
    [
      "output_sha256": .text(SHA256.hex(of: generation.text)), "output_equals_pair": .optional(outcome.equalsPair),
      "battery_level_start": .optional(watch.first.batteryLevel),
      "battery_level_end": .optional(watch.last.batteryLevel),
      "thermal_start": .optional(watch.first.thermal), "thermal_end": .optional(watch.last.thermal),
      "non_nominal_fraction": .optional(watch.nonNominalFraction.map { ($0 * 1000).rounded() / 1000 }),
      "mem_peak_bytes": .optional(watch.memPeakBytes), "gate_wait_ms": .optional(gate?.waitMs),
      "gate_passed": .optional(gate?.passed),
    ]
  }

  private var judgement: Fields {
    [
      "valid": .bool(reasons.isEmpty), "invalid_reasons": .list(reasons.map { .text($0.rawValue) }),
      "error": .optional(generation.error),
    ]
  }
}

/// A microsecond is finer than any clock here deserves.
enum Rounded {
  static func ms(_ value: Double) -> Double { (value * 1000).rounded() / 1000 }
}
