import CLiteRT
import EdgeMTPKit

/// Makes an engine from its settings.
enum EngineStart {
  /// Blocks until the weights are there.
  static func start(_ setup: EngineSetup) -> Result<Handle, EngineProblem> {
    guard let settings = litert_lm_engine_settings_create(setup.bundlePath, setup.backend, nil, nil) else {
      return .failure(EngineProblem(lastWords("no settings for \(setup.bundlePath)")))
    }
    defer { litert_lm_engine_settings_delete(settings) }
    apply(setup, to: settings)
    guard let engine = litert_lm_engine_create(settings) else {
      return .failure(EngineProblem(lastWords("it refused \(setup.bundlePath) and gave no reason")))
    }
    return .success(Handle(pointer: engine))
  }

  private static func apply(_ setup: EngineSetup, to settings: OpaquePointer) {
    litert_lm_engine_settings_set_max_num_tokens(settings, Int32(setup.maxContextTokens))
    litert_lm_engine_settings_set_cache_dir(settings, setup.cacheDirectory)
    litert_lm_engine_settings_set_activation_data_type(settings, setup.activation == "fp16" ? 1 : 0)
    litert_lm_engine_settings_set_enable_speculative_decoding(settings, setup.speculative)
    litert_lm_engine_settings_enable_benchmark(settings)
    if setup.backend == "cpu" { litert_lm_engine_settings_set_num_threads(settings, Int32(setup.threads)) }
  }

  /// The runtime keeps its error by thread, so this is asked right after the call that failed.
  private static func lastWords(_ otherwise: String) -> String {
    guard let words = litert_lm_get_last_error_message(), words.pointee != 0 else { return otherwise }
    return String(cString: words)
  }
}

/// Makes a conversation with a request's sampler and budget.
enum ConversationStart {
  static func start(_ engine: Handle, _ request: GenerationRequest) -> Handle? {
    guard let session = litert_lm_session_config_create(), let config = litert_lm_conversation_config_create(),
      let sampler = sampler(request.sampler)
    else { return nil }
    defer {
      litert_lm_sampler_params_delete(sampler)
      litert_lm_session_config_delete(session)
      litert_lm_conversation_config_delete(config)
    }
    litert_lm_session_config_set_sampler_params(session, sampler)
    litert_lm_session_config_set_max_output_tokens(session, Int32(request.maxOutputTokens))
    litert_lm_conversation_config_set_session_config(config, session)
    if let system = request.system { litert_lm_conversation_config_set_system_message(config, system) }
    return litert_lm_conversation_create(engine.pointer, config).map { Handle(pointer: $0) }
  }

  /// Type 2 is top-p; the runtime's own greedy type (3) is not implemented, and top-k 1 says the same.
  private static func sampler(_ wanted: Sampler) -> OpaquePointer? {
    guard let sampler = litert_lm_sampler_params_create(2) else { return nil }
    litert_lm_sampler_params_set_top_k(sampler, Int32(clamping: wanted.topK))
    litert_lm_sampler_params_set_top_p(sampler, Float(wanted.topP))
    litert_lm_sampler_params_set_temperature(sampler, Float(wanted.temperature))
    litert_lm_sampler_params_set_seed(sampler, Int32(truncatingIfNeeded: wanted.seed))
    return sampler
  }
}

/// Counts a text's tokens with the engine's own tokenizer.
enum TokenCount {
  static func of(_ text: String, engine: Handle) -> Int {
    guard let result = litert_lm_engine_tokenize(engine.pointer, text) else { return 0 }
    defer { litert_lm_tokenize_result_delete(result) }
    return litert_lm_tokenize_result_get_num_tokens(result)
  }
}
