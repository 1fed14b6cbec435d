"""Small but real checkpoint contents, written by hand from the formats' descriptions."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Stored = Mapping[str, tuple[str, np.ndarray]]
"""Tensor name -> (safetensors dtype, the values as they are stored)."""

VOCAB, HIDDEN, DRAFTER_HIDDEN, CENTROIDS = 256, 64, 32, 16
UP = "layers.0.mlp.up_proj.weight"
ROPE = {
    "full_attention": {"partial_rotary_factor": 0.25, "rope_theta": 1e6, "rope_type": "proportional"},
    "sliding_attention": {"rope_theta": 1e4, "rope_type": "default"},
}
SHARED_TEXT = {
    "model_type": "gemma4_text",
    "vocab_size": VOCAB,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "global_head_dim": 32,
    "sliding_window": 8,
    "rms_norm_eps": 1e-6,
    "rope_parameters": ROPE,
}


def bfloat16_bits(values: np.ndarray) -> np.ndarray:
    """Float values -> the uint16 bits of the nearest bfloat16, ties to even."""
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def safetensors_bytes(tensors: Stored) -> bytes:
    """A safetensors file, written by hand from the format's description."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, (dtype, values) in tensors.items():
        raw = values.tobytes()
        header[name] = {
            "dtype": dtype,
            "shape": list(values.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def target_config() -> dict[str, Any]:
    text = SHARED_TEXT | {
        "hidden_size": HIDDEN,
        "intermediate_size": 128,
        "num_hidden_layers": 4,
        "num_kv_shared_layers": 2,
        "hidden_size_per_layer_input": 8,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
    }
    return {"model_type": "gemma4", "eos_token_id": [1], "text_config": text}


def drafter_config() -> dict[str, Any]:
    text = SHARED_TEXT | {
        "hidden_size": DRAFTER_HIDDEN,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_kv_shared_layers": 2,
        "layer_types": ["sliding_attention", "full_attention"],
    }
    return {
        "model_type": "gemma4_assistant",
        "backbone_hidden_size": HIDDEN,
        "use_ordered_embeddings": True,
        "num_centroids": CENTROIDS,
        "centroid_intermediate_top_k": 4,
        "text_config": text,
    }


def on_grid(rows: int, columns: int, seed: int) -> np.ndarray:
    """Weights as QAT for Q4_0 leaves them: codes -8..7 times one float16 scale a block, before bfloat16."""
    random = np.random.default_rng(seed)
    codes = random.integers(-8, 8, (rows, columns // 32, 32))
    scales = random.uniform(1e-3, 2e-2, (rows, columns // 32, 1)).astype(np.float16).astype(np.float32)
    return (codes * scales).reshape(rows, columns).astype(np.float32)


def off_grid(rows: int, columns: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.02, (rows, columns)).astype(np.float32)


@dataclass
class Sides:
    """The two checkpoints before they are written; tests change them."""

    target: dict[str, Any]
    drafter: dict[str, Any]
    target_up: np.ndarray
    drafter_up: np.ndarray
    masked: dict[str, np.ndarray]
    target_name: str = "target"
    drafter_name: str = "drafter"
