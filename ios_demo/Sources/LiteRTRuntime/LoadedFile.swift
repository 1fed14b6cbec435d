import CLiteRT

/// What the runtime itself says of a file before it loads it.
public enum LoadedFile {
  /// Whether it can draft from it; nil where it is no bundle.
  public static func supportsDrafting(_ path: String) -> Bool? {
    guard let file = litert_lm_loaded_file_create(path) else { return nil }
    defer { litert_lm_loaded_file_delete(file) }
    return litert_lm_loaded_file_has_speculative_decoding_support(file)
  }

  /// The context that the bundle promises, in tokens; nil where it is no bundle or does not say.
  public static func contextTokens(_ path: String) -> Int? {
    guard let file = litert_lm_loaded_file_create(path) else { return nil }
    defer { litert_lm_loaded_file_delete(file) }
    let tokens = litert_lm_loaded_file_max_context_tokens(file)
    return tokens > 0 ? Int(tokens) : nil
  }
}
