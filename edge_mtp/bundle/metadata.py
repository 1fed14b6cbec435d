"""The two protos of a bundle: LlmMetadata (text in, text out) and ExecutorMetadata (state between steps).

Everything is read from the checkpoint's own files: generation_config.json, config.json,
tokenizer_config.json and the chat template. Field meanings: runtime/proto/*.proto in https://github.com/google-ai-edge/LiteRT-LM.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litert_lm_builder.runtime.proto import executor_metadata_pb2, sampler_params_pb2
from litert_lm_builder.runtime.proto.executor_metadata_pb2 import ExecutorMetadata
from litert_lm_builder.runtime.proto.llm_metadata_pb2 import LlmMetadata

from edge_mtp import names
from edge_mtp.bundle.template import runtime_template
from edge_mtp.bundle.tokenizer import BundleTokenizer
from edge_mtp.errors import CheckpointError

TEMPLATE_FILE = "chat_template.jinja"
TURN_END = "<turn|>"
CHANNEL_START = "<|channel>"
CHANNEL_END = "<channel|>"
THOUGHT_CHANNEL = "thought"

# Where the sequence runs in a cache: keys [1, kv, S, D], values [1, kv, D, S].
KEY_SEQUENCE_AXIS = 2
VALUE_SEQUENCE_AXIS = 3


@dataclass(frozen=True)
class TextFormat:
    """What a checkpoint says of its text: ids around it, template, special tokens, sampling defaults."""

    start_token_id: int
    stop_token_ids: tuple[int, ...]
    pad_token_id: int | None
    template: str | None
    special_tokens: Mapping[str, str]
    generation: Mapping[str, Any]

    @property
    def has_tools(self) -> bool:
        """Whether the template takes tools and the vocabulary marks tool calls."""
        return "tools" in (self.template or "") and "stc_token" in self.special_tokens

    @property
    def has_thinking(self) -> bool:
        """Whether the template can ask for thinking."""
        return "enable_thinking" in (self.template or "")


@dataclass(frozen=True)
class KvCache:
    """The K and V buffers of one layer, each of `rows` slots along the sequence."""

    layer: int
    rows: int


def read_text_format(directory: Path, tokenizer: BundleTokenizer) -> TextFormat:
    """Text format of the checkpoint in `directory`; CheckpointError naming a token that `tokenizer` lacks."""
    generation = _read_optional(directory / "generation_config.json")
    config = _read_optional(directory / "config.json")
    tokens = _read_optional(directory / "tokenizer_config.json")
    template = _read_template(directory, tokens)
    special = {**tokens, **tokens.get("model_specific_special_tokens", {})}
    known = {key: _token_text(value) for key, value in special.items() if key.endswith("_token")}
    known = {key: text for key, text in known.items() if text in tokenizer.ids}
    return TextFormat(
        start_token_id=_start_token(generation, config, tokenizer),
        stop_token_ids=_stop_tokens(directory, generation, config, template, tokenizer),
        pad_token_id=tokenizer.ids.get(known["pad_token"]) if "pad_token" in known else None,
        template=template,
        special_tokens=known,
        generation=generation,
    )


def build_llm_metadata(
    text: TextFormat, context_tokens: int, thinking_channel: bool = True, min_runtime_version: str = ""
) -> LlmMetadata:
    """LlmMetadata of a Gemma 4 bundle that promises `context_tokens` tokens of prompt and reply together."""
    metadata = LlmMetadata(max_num_tokens=context_tokens)
    metadata.start_token.token_ids.ids.append(text.start_token_id)
    for token_id in text.stop_token_ids:
        metadata.stop_tokens.add().token_ids.ids.append(token_id)
    if text.pad_token_id is not None:
        metadata.pad_token.token_ids.ids.append(text.pad_token_id)
    if text.template is not None:
        metadata.jinja_prompt_template = runtime_template(text.template)
    if min_runtime_version:
        metadata.min_runtime_version = min_runtime_version
    if suppressed := text.generation.get("suppress_tokens"):
        metadata.suppress_tokens.ids.extend(suppressed)
    _set_model_type(metadata, text)
    _set_sampler(metadata, text.generation)
    if thinking_channel:
        _add_thought_channel(metadata, text)
    metadata.supports_thinking = thinking_channel and text.has_thinking
    metadata.supports_function_calling = text.has_tools
    return metadata


def build_executor_metadata(caches: Sequence[KvCache], sliding_window: int) -> ExecutorMetadata | None:
    """ExecutorMetadata of a target whose layers own `caches`; None where some are rings: shorter than the longest.

    Neither way to declare a ring serves (ran, LiteRT-LM 0.18.1). Declared global, its rows become the model's limit
    ("max_num_tokens is larger than what the static model supports"). Declared local, the runtime binds it to prefill's
    input too, for graphs that attend before they write; the GPU refuses that where prefill, as ours, writes first ("The
    given buffer type is not supported"). Without the section the runtime goes by the caches' names, and all is well.
    """
    if len({cache.rows for cache in caches}) > 1:
        return None
    metadata = ExecutorMetadata()
    executor = metadata.llm_executor_metadata
    executor.max_history_size = max(cache.rows for cache in caches)
    buffer = executor_metadata_pb2.StateBuffer
    for cache in caches:
        _add_buffer(executor, names.kv_key(cache.layer), buffer.TYPE_GLOBAL_KEY_CACHE, KEY_SEQUENCE_AXIS, cache.rows)
        _add_buffer(
            executor, names.kv_value(cache.layer), buffer.TYPE_GLOBAL_VALUE_CACHE, VALUE_SEQUENCE_AXIS, cache.rows
        )
    masks = executor.attention_mask_settings
    masks.attention_mask_type = executor_metadata_pb2.ATTENTION_MASK_TYPE_CAUSAL
    masks.local_attention_mask_type = executor_metadata_pb2.ATTENTION_MASK_TYPE_CAUSAL
    masks.sliding_window_size = sliding_window
    return metadata


def _add_buffer(executor: Any, name: str, buffer_type: int, sequence_axis: int, rows: int) -> None:
    """Adds one state buffer; the runtime refuses one whose four names differ or that lacks its axis."""
    executor.state_buffers.add(
        prefill_input_name=name,
        prefill_output_name=name,
        decode_input_name=name,
        decode_output_name=name,
        policy=executor_metadata_pb2.StateBuffer.POLICY_DEFAULT,
        type=buffer_type,
        sequence_axis=sequence_axis,
        maximum_sequence_length=rows,
    )


def _set_model_type(metadata: LlmMetadata, text: TextFormat) -> None:
    """Model type gemma4 with the vocabulary's tool-call markers; the runtime has defaults for unset ones."""
    model = metadata.llm_model_type.gemma4
    model.SetInParent()
    markers = text.special_tokens
    model.code_fence_start = markers.get("stc_token", "")
    model.code_fence_end = markers.get("etc_token", "")
    model.open_quote = markers.get("escape_token", "")
    model.close_quote = markers.get("escape_token", "")
    model.function_response_start = markers.get("str_token", "")


def _add_thought_channel(metadata: LlmMetadata, text: TextFormat) -> None:
    start = text.special_tokens.get("soc_token", CHANNEL_START)
    end = text.special_tokens.get("eoc_token", CHANNEL_END)
    metadata.channels.add(
        channel_name=THOUGHT_CHANNEL, start=f"{start}{THOUGHT_CHANNEL}\n", end=end, is_reasoning_channel=True
    )


def _set_sampler(metadata: LlmMetadata, generation: Mapping[str, Any]) -> None:
    """Sampling defaults; greedy is top-p with k = 1, since the runtime does not implement its greedy type."""
    if not generation:
        return
    sampled = bool(generation.get("do_sample", False))
    sampler = metadata.sampler_params
    sampler.type = sampler_params_pb2.SamplerParameters.TOP_P
    sampler.k = int(generation.get("top_k") or 64) if sampled else 1
    sampler.p = float(generation.get("top_p") or 1.0) if sampled else 1.0
    sampler.temperature = float(generation.get("temperature") or 1.0) if sampled else 1.0


def _start_token(generation: Mapping[str, Any], config: Mapping[str, Any], tokenizer: BundleTokenizer) -> int:
    found = _first(generation.get("bos_token_id"), *_config_values(config, "bos_token_id"))
    if found is None:
        return tokenizer.id_of("<bos>", "the start token")
    if not tokenizer.has_id(int(found)):
        raise CheckpointError(f"{tokenizer.path} has no token with id {found}, the checkpoint's start token")
    return int(found)


def _stop_tokens(
    directory: Path,
    generation: Mapping[str, Any],
    config: Mapping[str, Any],
    template: str | None,
    tokenizer: BundleTokenizer,
) -> tuple[int, ...]:
    """Ids that end a reply, ascending: the configurations' end tokens, and the template's end of turn."""
    declared = _first(generation.get("eos_token_id"), *_config_values(config, "eos_token_id"))
    stops = set(declared if isinstance(declared, list) else () if declared is None else (declared,))
    missing = sorted(token_id for token_id in stops if not tokenizer.has_id(token_id))
    if missing:
        raise CheckpointError(
            f"{tokenizer.path} has no token with id {', '.join(map(str, missing))}, which the checkpoint's "
            "eos_token_id names as a stop token; use the tokenizer files that belong to this checkpoint"
        )
    if TURN_END in (template or ""):
        stops.add(tokenizer.id_of(TURN_END, "the stop token that ends a turn of the chat template"))
    if not stops:
        raise CheckpointError(
            f"{directory} names no stop token: eos_token_id is missing from generation_config.json and "
            "config.json; add it"
        )
    return tuple(sorted(stops))


def _config_values(config: Mapping[str, Any], key: str) -> tuple[Any, Any]:
    return config.get(key), config.get("text_config", {}).get(key)


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _token_text(value: Any) -> str:
    """Text of a token in tokenizer_config.json: a string, or an object with `content`."""
    return str(value.get("content", "")) if isinstance(value, dict) else str(value)


def _read_template(directory: Path, tokens: Mapping[str, Any]) -> str | None:
    path = directory / TEMPLATE_FILE
    if path.is_file():
        return path.read_text(encoding="utf-8")
    found = tokens.get("chat_template")
    if isinstance(found, list):
        found = next((entry.get("template") for entry in found if entry.get("name") == "default"), None)
    return None if found is None else str(found)


def _read_optional(path: Path) -> dict[str, Any]:
    """The JSON object in `path`, empty where there is no such file; CheckpointError where it is damaged."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}); download it again") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds a {type(value).__name__}, expected a JSON object")
    return value
