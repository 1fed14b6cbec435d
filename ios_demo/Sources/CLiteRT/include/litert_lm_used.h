// The part of LiteRT-LM's C API that the adapter uses, declared by us: the framework for iOS (v0.18.0) and
// liblitert-lm.so of the Linux wheel (0.18.1) export these functions, and tests/ios/test_header.py compares each
// declaration with the library's symbols and with the argument types of the wheel's Python bindings.
#ifndef EDGE_MTP_LITERT_LM_USED_H
#define EDGE_MTP_LITERT_LM_USED_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct LiteRtLmEngineSettings LiteRtLmEngineSettings;
typedef struct LiteRtLmEngine LiteRtLmEngine;
typedef struct LiteRtLmSamplerParams LiteRtLmSamplerParams;
typedef struct LiteRtLmSessionConfig LiteRtLmSessionConfig;
typedef struct LiteRtLmConversationConfig LiteRtLmConversationConfig;
typedef struct LiteRtLmConversation LiteRtLmConversation;
typedef struct LiteRtLmStreamChunk LiteRtLmStreamChunk;
typedef struct LiteRtLmBenchmarkInfo LiteRtLmBenchmarkInfo;
typedef struct LiteRtLmTokenizeResult LiteRtLmTokenizeResult;
typedef struct LiteRtLmLoadedFile LiteRtLmLoadedFile;

typedef void (*LiteRtLmStreamCallback)(void *data, const LiteRtLmStreamChunk *chunk);

void litert_lm_set_min_log_level(int severity);
const char *litert_lm_get_last_error_message(void);

LiteRtLmEngineSettings *litert_lm_engine_settings_create(
    const char *path, const char *backend, const char *vision_backend, const char *audio_backend);
void litert_lm_engine_settings_delete(LiteRtLmEngineSettings *settings);
void litert_lm_engine_settings_set_max_num_tokens(LiteRtLmEngineSettings *settings, int tokens);
void litert_lm_engine_settings_set_num_threads(LiteRtLmEngineSettings *settings, int threads);
void litert_lm_engine_settings_set_cache_dir(LiteRtLmEngineSettings *settings, const char *directory);
void litert_lm_engine_settings_set_activation_data_type(LiteRtLmEngineSettings *settings, int type);
void litert_lm_engine_settings_set_enable_speculative_decoding(LiteRtLmEngineSettings *settings, bool enabled);
void litert_lm_engine_settings_enable_benchmark(LiteRtLmEngineSettings *settings);

LiteRtLmEngine *litert_lm_engine_create(const LiteRtLmEngineSettings *settings);
void litert_lm_engine_delete(LiteRtLmEngine *engine);

LiteRtLmSamplerParams *litert_lm_sampler_params_create(int type);
void litert_lm_sampler_params_delete(LiteRtLmSamplerParams *sampler);
void litert_lm_sampler_params_set_top_k(LiteRtLmSamplerParams *sampler, int top_k);
void litert_lm_sampler_params_set_top_p(LiteRtLmSamplerParams *sampler, float top_p);
void litert_lm_sampler_params_set_temperature(LiteRtLmSamplerParams *sampler, float temperature);
void litert_lm_sampler_params_set_seed(LiteRtLmSamplerParams *sampler, int seed);

LiteRtLmSessionConfig *litert_lm_session_config_create(void);
void litert_lm_session_config_delete(LiteRtLmSessionConfig *config);
void litert_lm_session_config_set_max_output_tokens(LiteRtLmSessionConfig *config, int tokens);
void litert_lm_session_config_set_sampler_params(LiteRtLmSessionConfig *config, const LiteRtLmSamplerParams *sampler);

LiteRtLmConversationConfig *litert_lm_conversation_config_create(void);
void litert_lm_conversation_config_delete(LiteRtLmConversationConfig *config);
void litert_lm_conversation_config_set_session_config(
    LiteRtLmConversationConfig *config, const LiteRtLmSessionConfig *session);
void litert_lm_conversation_config_set_system_message(LiteRtLmConversationConfig *config, const char *message);

LiteRtLmConversation *litert_lm_conversation_create(LiteRtLmEngine *engine, LiteRtLmConversationConfig *config);
void litert_lm_conversation_delete(LiteRtLmConversation *conversation);
int litert_lm_conversation_send_message_stream(
    LiteRtLmConversation *conversation, const char *message_json, const char *extra_context_json,
    const void *optional_args, LiteRtLmStreamCallback callback, void *data);
void litert_lm_conversation_cancel_process(LiteRtLmConversation *conversation);

const char *litert_lm_stream_chunk_get_text(const LiteRtLmStreamChunk *chunk);
bool litert_lm_stream_chunk_is_final(const LiteRtLmStreamChunk *chunk);
const char *litert_lm_stream_chunk_get_error(const LiteRtLmStreamChunk *chunk);

LiteRtLmBenchmarkInfo *litert_lm_conversation_get_benchmark_info(LiteRtLmConversation *conversation);
void litert_lm_benchmark_info_delete(LiteRtLmBenchmarkInfo *info);
int litert_lm_benchmark_info_get_num_prefill_turns(const LiteRtLmBenchmarkInfo *info);
int litert_lm_benchmark_info_get_num_decode_turns(const LiteRtLmBenchmarkInfo *info);
int litert_lm_benchmark_info_get_prefill_token_count_at(const LiteRtLmBenchmarkInfo *info, int turn);
int litert_lm_benchmark_info_get_decode_token_count_at(const LiteRtLmBenchmarkInfo *info, int turn);
double litert_lm_benchmark_info_get_prefill_tokens_per_sec_at(const LiteRtLmBenchmarkInfo *info, int turn);
double litert_lm_benchmark_info_get_decode_tokens_per_sec_at(const LiteRtLmBenchmarkInfo *info, int turn);

LiteRtLmTokenizeResult *litert_lm_engine_tokenize(LiteRtLmEngine *engine, const char *text);
size_t litert_lm_tokenize_result_get_num_tokens(const LiteRtLmTokenizeResult *result);
void litert_lm_tokenize_result_delete(LiteRtLmTokenizeResult *result);

LiteRtLmLoadedFile *litert_lm_loaded_file_create(const char *path);
void litert_lm_loaded_file_delete(LiteRtLmLoadedFile *file);
bool litert_lm_loaded_file_has_speculative_decoding_support(const LiteRtLmLoadedFile *file);
unsigned int litert_lm_loaded_file_max_context_tokens(const LiteRtLmLoadedFile *file);

#ifdef __cplusplus
}
#endif

#endif
