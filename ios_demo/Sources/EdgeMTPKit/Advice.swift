/// A message for the user: what is wrong and what to do.
public struct Advice: Sendable, Equatable {
  /// In a few words.
  public let title: String
  /// What was found, what is needed, what to do.
  public let text: String

  /// A message.
  public init(title: String, text: String) {
    self.title = title
    self.text = text
  }

  /// The bundle has no drafter.
  public static func noDrafter(_ bundle: String) -> Advice {
    Advice(
      title: "No drafter",
      text: "\(bundle) holds no MTP drafter, so there is nothing to compare. Make one with "
        + "edge-mtp export TARGET DRAFTER, or chat without MTP.")
  }

  /// The engine did not start.
  public static func engineRefused(_ words: String, speculative: Bool) -> Advice {
    let hint =
      speculative
      ? "Try with MTP off; if that works, edge-mtp inspect says what the bundle lacks for drafting."
      : "Try the CPU backend, or a smaller context; edge-mtp inspect says what the bundle lacks."
    return Advice(title: "The engine did not start", text: "LiteRT-LM says: \(words). \(hint)")
  }

  /// Loading would come close to the limit at which iOS ends the app.
  public static func memory(needBytes: Int64, availableBytes: Int64) -> Advice {
    Advice(
      title: "Not enough memory",
      text:
        "The bundle needs about \(Sizes.text(needBytes)) and iOS gives this app \(Sizes.text(availableBytes)) more. "
        + "Close other apps, use a smaller bundle, or sign with the increased-memory-limit entitlement.")
  }

  /// The system asked for memory back.
  public static let memoryWarning = Advice(
    title: "Memory warning",
    text: "iOS asks for memory back and may end the app. The log is kept up to here and marked on the next start.")

  /// The disk is too full.
  public static func space(needBytes: Int64, freeBytes: Int64) -> Advice {
    Advice(
      title: "Not enough space",
      text: "\(Sizes.text(needBytes)) are needed and \(Sizes.text(freeBytes)) are free. Delete a bundle that is not "
        + "needed; the weight cache takes about as much as half of the bundle.")
  }

  /// fp16 activations changed digits.
  public static let digits = Advice(
    title: "Digits come out wrong",
    text: "With fp16 activations this phone's GPU changed digits that the model was asked to repeat. "
      + "Set activations to fp32 in the settings; figures taken with fp16 are of a broken model.")
}

/// Sizes for people.
public enum Sizes {
  /// `3.1 GB`, `12.0 MB`; powers of ten.
  public static func text(_ bytes: Int64) -> String {
    let (unit, name): (Double, String) = bytes >= 1_000_000_000 ? (1e9, "GB") : (1e6, "MB")
    return "\((Double(bytes) / unit * 10).rounded() / 10) \(name)"
  }
}

/// What a bundle needs before it is loaded or copied.
public enum Preflight {
  /// Weights are mapped, but Metal holds its own copy of most of them; the KV caches come on top.
  public static func memory(bundleBytes: Int64, backend: String, availableBytes: Int64?) -> Advice? {
    let need = (backend == "gpu" ? bundleBytes : bundleBytes / 2) + 300_000_000
    guard let availableBytes, availableBytes < need else { return nil }
    return .memory(needBytes: need, availableBytes: availableBytes)
  }

  /// The copy, and half as much for the weight cache.
  public static func space(bundleBytes: Int64, freeBytes: Int64?) -> Advice? {
    let need = bundleBytes + bundleBytes / 2
    guard let freeBytes, freeBytes < need else { return nil }
    return .space(needBytes: need, freeBytes: freeBytes)
  }
}

/// Asks the model to repeat digits: a known defect of fp16 activations on Metal changes them (LiteRT-LM#2814).
public enum DigitCheck {
  /// What has to come back.
  public static let digits = "31415926535897932384"
  /// What is asked.
  public static let prompt = "Repeat exactly this number and nothing else: \(digits)"

  /// Advice where the reply lacks the number and fp16 may be why; nil where all is well or something else is to blame.
  public static func advice(reply: String, activation: String) -> Advice? {
    let kept = reply.filter { $0.isASCII && $0.isNumber }
    return kept.contains(digits) || activation != "fp16" ? nil : .digits
  }
}
