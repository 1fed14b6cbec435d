"""Configurations of the tiny pair: Gemma 4 E2B and its drafter in every structural respect, only smaller."""

from typing import Any

import torch
from transformers import (
    Gemma4AssistantConfig,
    Gemma4AssistantForCausalLM,
    Gemma4Config,
    Gemma4ForConditionalGeneration,
)

Json = dict[str, Any]

VOCAB_SIZE = 2048
HIDDEN_SIZE = 128
PER_LAYER_SIZE = 32
OWNING_LAYERS = 5
LAYERS = 10
SLIDING_WINDOW = 64
DRAFTER_HIDDEN_SIZE = 64
CENTROIDS = 64
CENTROID_TOP_K = 16
DRAFT_STEPS = 3
PAD, EOS, BOS, UNK = 0, 1, 2, 3
THINK, CHANNEL_START, CHANNEL_END, TURN_START, TURN_END = 98, 100, 101, 105, 106


def shared_text_config() -> Json:
    """What target and drafter must agree on, and the constants of Gemma 4."""
    return {
        "model_type": "gemma4_text",
        "vocab_size": VOCAB_SIZE,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "num_global_key_value_heads": None,
        "head_dim": 32,
        "global_head_dim": 64,
        "sliding_window": SLIDING_WINDOW,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-6,
        "attention_bias": False,
        "attention_k_eq_v": False,
        "enable_moe_block": False,
        "hidden_activation": "gelu_pytorch_tanh",
        "tie_word_embeddings": True,
        "rope_parameters": {
            "full_attention": {"partial_rotary_factor": 0.25, "rope_theta": 1e6, "rope_type": "proportional"},
            "sliding_attention": {"rope_theta": 1e4, "rope_type": "default"},
        },
        "pad_token_id": PAD,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "dtype": "bfloat16",
    }


def target_config() -> Json:
    """config.json of the target, keys as in google/gemma-4-E2B-it without the vision and audio parts."""
    text = shared_text_config() | {
        "hidden_size": HIDDEN_SIZE,
        "intermediate_size": 128,
        "num_hidden_layers": LAYERS,
        "num_kv_shared_layers": LAYERS - OWNING_LAYERS,
        "hidden_size_per_layer_input": PER_LAYER_SIZE,
        "vocab_size_per_layer_input": VOCAB_SIZE,
        "final_logit_softcapping": 30.0,
        "use_double_wide_mlp": True,
        "layer_types": (["sliding_attention"] * 4 + ["full_attention"]) * (LAYERS // 5),
    }
    return {
        "architectures": ["Gemma4ForConditionalGeneration"],
        "model_type": "gemma4",
        "dtype": "bfloat16",
        "tie_word_embeddings": True,
        "eos_token_id": [EOS, TURN_END],
        "vision_config": None,
        "audio_config": None,
        "text_config": text,
    }


def drafter_config() -> Json:
    """config.json of the drafter, keys as in google/gemma-4-E2B-it-assistant."""
    text = shared_text_config() | {
        "hidden_size": DRAFTER_HIDDEN_SIZE,
        "intermediate_size": 256,
        "num_hidden_layers": 4,
        "num_kv_shared_layers": 4,
        "hidden_size_per_layer_input": 0,
        "vocab_size_per_layer_input": 0,
        "final_logit_softcapping": None,
        "use_double_wide_mlp": False,
        "layer_types": ["sliding_attention"] * 3 + ["full_attention"],
    }
    return {
        "architectures": ["Gemma4AssistantForCausalLM"],
        "model_type": "gemma4_assistant",
        "dtype": "bfloat16",
        "tie_word_embeddings": True,
        "backbone_hidden_size": HIDDEN_SIZE,
        "use_ordered_embeddings": True,
        "num_centroids": CENTROIDS,
        "centroid_intermediate_top_k": CENTROID_TOP_K,
        "text_config": text,
    }


def generation_config() -> Json:
    """generation_config.json with Gemma's own sampling defaults."""
    return {
        "bos_token_id": BOS,
        "pad_token_id": PAD,
        "eos_token_id": [EOS, TURN_END],
        "do_sample": True,
        "temperature": 1.0,
        "top_k": 64,
        "top_p": 0.95,
    }


def new_target() -> Gemma4ForConditionalGeneration:
    """A float32 target with fresh weights and layer scalars away from 1, so that forgetting them shows."""
    model = Gemma4ForConditionalGeneration(Gemma4Config(**_float32(target_config())))
    deviation = {"embed_tokens": 0.06, "embed_tokens_per_layer": 0.04}
    with torch.no_grad():
        for name, module in model.model.language_model.named_modules():
            if isinstance(module, torch.nn.Embedding):
                module.weight.normal_(0.0, deviation[name])
        for index, layer in enumerate(model.model.language_model.layers):
            layer.layer_scalar.fill_(0.75 + 0.0625 * (index % 4))
    _set_up(model.model.language_model)
    return model


def new_drafter() -> Gemma4AssistantForCausalLM:
    """A float32 drafter with fresh weights."""
    model = Gemma4AssistantForCausalLM(Gemma4AssistantConfig(**_float32(drafter_config())))
    with torch.no_grad():
        for index, layer in enumerate(model.model.layers):
            layer.layer_scalar.fill_(0.75 + 0.0625 * (index % 4))
    _set_up(model.model)
    return model


def _set_up(text_model: torch.nn.Module) -> None:
    """Scale linear layers to their width, and q so that its logits start like scaled attention's."""
    with torch.no_grad():
        for name, module in text_model.named_modules():
            if isinstance(module, torch.nn.Linear):
                module.weight.normal_(0.0, 0.5 * module.in_features**-0.5)
            if name.endswith("q_norm"):
                module.weight.fill_(module.weight.numel() ** -0.5)


def _float32(config: Json) -> Json:
    """The same configuration for training, without the stored dtype."""
    plain = {key: value for key, value in config.items() if key not in {"dtype", "architectures"}}
    text = {key: value for key, value in config["text_config"].items() if key != "dtype"}
    return plain | {"text_config": text}
