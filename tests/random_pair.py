"""Small Gemma 4 pairs with random weights, in the real checkpoint layout.

The shapes differ from each other in everything the graphs branch on.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import (
    Gemma4AssistantConfig,
    Gemma4AssistantForCausalLM,
    Gemma4Config,
    Gemma4ForCausalLM,
    Gemma4ForConditionalGeneration,
    Gemma4TextConfig,
)

from edge_mtp.checkpoint.config import LayerKind

Json = dict[str, Any]

WINDOW = 16
"""Sliding window of every shape, in tokens; the tests' contexts are several times as long."""


@dataclass(frozen=True)
class Shape:
    """A pair's architecture; `pattern` has one letter a layer, s for sliding and f for full attention.

    `layout` says how the target is stored: "multimodal" under `model.language_model.` with the tensors of
    other modalities beside it, "text" under `model.` with the config.json that transformers writes today
    (`per_layer_config`, no `text_config`), "sharded" is multimodal in several files.
    """

    name: str
    pattern: str
    shared_layers: int
    kv_heads: int = 1
    heads: int = 4
    hidden_size: int = 64
    ple_width: int = 16
    double_wide: bool = False
    layout: Literal["multimodal", "text", "sharded"] = "multimodal"
    vocab_size: int = 512
    centroids: int = 32
    centroid_top_k: int = 4
    drafter_pattern: str = "sssf"
    norm_epsilon: float = 1e-6


SHAPES: Mapping[str, Shape] = {
    shape.name: shape
    for shape in (
        Shape("e2b-like", "ssssf" * 2, shared_layers=5, double_wide=True),
        Shape("e4b-like", "sssssf" * 2, shared_layers=6, kv_heads=2, heads=8, hidden_size=128, layout="sharded"),
        Shape("no sharing", "ssf" * 2, shared_layers=0, ple_width=8, vocab_size=256, centroids=16),
        Shape("no per-layer embeddings", "ssssf" * 2, shared_layers=4, kv_heads=2, ple_width=0, layout="text"),
        # Donors that are not the last two owning layers, a drafter of another pattern, an epsilon that shows.
        Shape(
            "irregular",
            "fssfsss" + "sfsf",
            shared_layers=4,
            double_wide=True,
            drafter_pattern="fssf",
            norm_epsilon=1e-2,
        ),
    )
}


def target_json(shape: Shape) -> Json:
    """config.json of the target, spelt as in google/gemma-4-E2B-it without the other modalities."""
    text = _decoder_json(shape, shape.pattern) | {
        "hidden_size": shape.hidden_size,
        "intermediate_size": 96,
        "num_kv_shared_layers": shape.shared_layers,
        "hidden_size_per_layer_input": shape.ple_width,
        "vocab_size_per_layer_input": shape.vocab_size,
        "final_logit_softcapping": 30.0,
        "use_double_wide_mlp": shape.double_wide,
    }
    return {
        "architectures": ["Gemma4ForConditionalGeneration"],
        "model_type": "gemma4",
        "tie_word_embeddings": True,
        "eos_token_id": [1, 106],
        "text_config": text,
        "vision_config": None,
        "audio_config": None,
    }


def drafter_json(shape: Shape) -> Json:
    """config.json of the drafter, spelt as in google/gemma-4-E2B-it-assistant."""
    layers = len(shape.drafter_pattern)
    text = _decoder_json(shape, shape.drafter_pattern) | {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_kv_shared_layers": layers,
        "hidden_size_per_layer_input": 0,
        "vocab_size_per_layer_input": 0,
        "final_logit_softcapping": None,
        "use_double_wide_mlp": False,
    }
    return {
        "architectures": ["Gemma4AssistantForCausalLM"],
        "model_type": "gemma4_assistant",
        "backbone_hidden_size": shape.hidden_size,
        "use_ordered_embeddings": True,
        "num_centroids": shape.centroids,
        "centroid_intermediate_top_k": shape.centroid_top_k,
        "tie_word_embeddings": True,
        "text_config": text,
    }


def _decoder_json(shape: Shape, pattern: str) -> Json:
    """What target and drafter have in common."""
    kinds = {"s": str(LayerKind.SLIDING), "f": str(LayerKind.FULL)}
    return {
        "model_type": "gemma4_text",
        "vocab_size": shape.vocab_size,
        "num_hidden_layers": len(pattern),
        "layer_types": [kinds[letter] for letter in pattern],
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "num_global_key_value_heads": None,
        "head_dim": 32,
        "global_head_dim": 64,
        "sliding_window": WINDOW,
        "max_position_embeddings": 1024,
        "rms_norm_eps": shape.norm_epsilon,
        "attention_bias": False,
        "attention_k_eq_v": False,
        "enable_moe_block": False,
        "tie_word_embeddings": True,
        "hidden_activation": "gelu_pytorch_tanh",
        "rope_parameters": {
            "full_attention": {"partial_rotary_factor": 0.25, "rope_theta": 1e6, "rope_type": "proportional"},
            "sliding_attention": {"rope_theta": 1e4, "rope_type": "default"},
        },
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 1,
    }


def write_pair(shape: Shape, directory: Path) -> None:
    """Writes `directory`/target and `directory`/drafter, the same weights on every run."""
    random = torch.Generator().manual_seed(sum(shape.name.encode()))
    target, drafter = directory / "target", directory / "drafter"
    if shape.layout == "text":
        text_model = Gemma4ForCausalLM(Gemma4TextConfig(**target_json(shape)["text_config"]))
        _randomize(text_model, random)
        text_model.save_pretrained(target)
    else:
        model = Gemma4ForConditionalGeneration(Gemma4Config(**target_json(shape)))
        _randomize(model, random)
        _write(target, target_json(shape), _stored(model) | _unread(shape, random), shape.layout == "sharded")
    assistant = Gemma4AssistantForCausalLM(Gemma4AssistantConfig(**drafter_json(shape)))
    _randomize(assistant, random)
    _write(drafter, drafter_json(shape), _stored(assistant), sharded=False)


def _randomize(model: torch.nn.Module, random: torch.Generator) -> None:
    """Fills `model` so that every part of it moves the logits and the soft-cap bends them."""
    for name, tensor in model.state_dict().items():
        noise = torch.randn(tensor.shape, generator=random)
        if name.endswith("token_ordering"):
            tensor.copy_(torch.randperm(len(tensor), generator=random))
        elif name.endswith("layer_scalar"):
            tensor.copy_(0.6 + 0.5 * torch.rand(tensor.shape, generator=random))
        elif tensor.dim() == 1:
            tensor.copy_(_norm_gain(name) * (1.0 + 0.25 * noise))
        elif name != "lm_head.weight":  # tied to the embedding
            gain = 4.0 if name.endswith("embed_tokens.weight") else 1.0
            tensor.copy_(noise * gain / math.sqrt(tensor.shape[1]))


def _norm_gain(name: str) -> float:
    """Large before the head; small on queries and keys, which keeps attention from settling on one row."""
    if name.endswith(("q_norm.weight", "k_norm.weight")):
        return 0.6
    return 4.0 if name.endswith("model.norm.weight") else 1.0


def _stored(model: torch.nn.Module) -> dict[str, Tensor]:
    """State in bf16, integers as they are, without the tied head."""
    return {
        name: (tensor.bfloat16() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"
    }


def _unread(shape: Shape, random: torch.Generator) -> dict[str, Tensor]:
    """Tensors that real checkpoints carry and no graph reads: other modalities, K/V of shared layers."""
    layers = range(len(shape.pattern) - shape.shared_layers, len(shape.pattern))
    names = [f"model.language_model.layers.{layer}.self_attn.k_proj.weight" for layer in layers]
    names.append("model.vision_tower.patch_embedder.input_proj.weight")
    return {name: torch.randn(32, shape.hidden_size, generator=random).bfloat16() for name in names}


def _write(directory: Path, config: Json, tensors: Mapping[str, Tensor], sharded: bool) -> None:
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(config, indent=1))
    if not sharded:
        save_file(dict(tensors), directory / "model.safetensors", {"format": "pt"})
        return
    shards = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    placed = {name: shards[index % 3] for index, name in enumerate(tensors)}
    for shard in shards:
        own = {name: tensor for name, tensor in tensors.items() if placed[name] == shard}
        save_file(own, directory / shard, {"format": "pt"})
    (directory / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": placed}))
