"""Reads `config.json` of a Gemma 4 target or drafter into frozen values, and refuses what is not supported.

The spelling of per-kind head sizes changed between transformers releases: older files carry
`global_head_dim`, newer ones `per_layer_config`. Both are read here and nowhere else.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from edge_mtp.errors import CheckpointError

SUPPORTED = (
    "edge_mtp exports the text part of Gemma 4 E2B and E4B (model_type gemma4, dense layers with "
    "per-layer embeddings) and their assistant drafters (model_type gemma4_assistant)"
)


class LayerKind(StrEnum):
    """The two kinds of attention layer, spelt as in `layer_types`."""

    SLIDING = "sliding_attention"
    FULL = "full_attention"


@dataclass(frozen=True)
class Rope:
    """Rotary embedding of one layer kind: base `theta`, and the share of frequencies that rotate."""

    theta: float
    rotary_fraction: float = 1.0


@dataclass(frozen=True)
class Attention:
    """What attention layers of one kind share: sizes and rotary embedding."""

    head_dim: int
    kv_heads: int
    rope: Rope


@dataclass(frozen=True)
class DecoderConfig:
    """A stack of Gemma 4 decoder layers, of the target or of the drafter.

    `sliding_window` counts tokens; `ple_width` is 0 where there are no per-layer embeddings;
    `shared_layers` of the last layers own no K/V and read a donor's cache.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    heads: int
    layer_kinds: tuple[LayerKind, ...]
    attention: Mapping[LayerKind, Attention]
    sliding_window: int
    norm_epsilon: float
    max_positions: int
    shared_layers: int = 0
    double_wide_mlp: bool = False
    ple_width: int = 0
    ple_vocab_size: int = 0
    soft_cap: float | None = None

    @property
    def layers(self) -> int:
        """Number of layers."""
        return len(self.layer_kinds)

    @property
    def owning_layers(self) -> int:
        """Number of layers, from the first on, that own a K/V cache."""
        return self.layers - self.shared_layers

    def mlp_width(self, layer: int) -> int:
        """Width of `layer`'s MLP; doubled on shared layers where the checkpoint says so."""
        doubled = self.double_wide_mlp and 0 < self.owning_layers <= layer
        return self.intermediate_size * (2 if doubled else 1)

    def cache_layer(self, layer: int) -> int:
        """The layer whose K/V cache `layer` reads: itself, or the donor of its kind."""
        return layer if layer < self.owning_layers else self.donor(self.layer_kinds[layer])

    def donor(self, kind: LayerKind) -> int:
        """The last owning layer of `kind`; shared layers and the drafter read its cache."""
        owning = [i for i in range(self.owning_layers) if self.layer_kinds[i] == kind]
        if not owning:
            raise CheckpointError(
                f"no layer of kind {kind} owns a K/V cache among the first {self.owning_layers} layers, "
                "but later layers or the drafter need one; check num_kv_shared_layers and layer_types"
            )
        return owning[-1]

    def shape_of(self, layer: int) -> Attention:
        """Attention sizes of `layer`."""
        return self.attention[self.layer_kinds[layer]]


@dataclass(frozen=True)
class TargetConfig:
    """The target model's text decoder and the ids that begin and end its text."""

    decoder: DecoderConfig
    model_type: str
    bos_token_id: int
    eos_token_ids: tuple[int, ...]


@dataclass(frozen=True)
class DrafterConfig:
    """The assistant: a small decoder over the target's caches, with an optional clustered head."""

    decoder: DecoderConfig
    backbone_hidden_size: int
    ordered_embeddings: bool
    centroids: int
    centroid_top_k: int

    @property
    def tokens_per_centroid(self) -> int:
        """How many tokens each centroid of the clustered head stands for."""
        return self.decoder.vocab_size // self.centroids


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`; CheckpointError where it is missing or no object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; a checkpoint directory holds it beside its weights") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}); download it again") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds a {type(value).__name__}, expected a JSON object")
    return value


def read_target_config(directory: Path) -> TargetConfig:
    """Configuration of the target in `directory`; CheckpointError where it is not supported."""
    path = directory / "config.json"
    config = read_json(path)
    model_type = config.get("model_type")
    if model_type == "gemma4_assistant":
        raise CheckpointError(f"{path} is a drafter (gemma4_assistant); give the target first, the drafter second")
    if model_type not in ("gemma4", "gemma4_text"):
        raise CheckpointError(f"{path} has model_type {model_type!r}; {SUPPORTED}")
    text = config.get("text_config", config)
    _refuse_unsupported(path, text)
    eos = config.get("eos_token_id", text.get("eos_token_id"))
    return TargetConfig(
        decoder=_read_decoder(path, text),
        model_type=model_type,
        bos_token_id=_integer(path, text, "bos_token_id", 2),
        eos_token_ids=tuple(eos) if isinstance(eos, list) else (() if eos is None else (int(eos),)),
    )


def read_drafter_config(directory: Path) -> DrafterConfig:
    """Configuration of the drafter in `directory`; CheckpointError where it is not supported."""
    path = directory / "config.json"
    config = read_json(path)
    model_type = config.get("model_type")
    if model_type in ("gemma4", "gemma4_text"):
        raise CheckpointError(
            f"{path} is a target (model_type {model_type}), expected its drafter (gemma4_assistant); "
            "give the target first, the drafter second"
        )
    if model_type != "gemma4_assistant":
        raise CheckpointError(f"{path} has model_type {model_type!r}; {SUPPORTED}")
    text = dict(config.get("text_config") or {})
    _refuse_unsupported(path, text)
    if not text.get("num_kv_shared_layers"):  # transformers reads 0 as "all of them" here
        text["num_kv_shared_layers"] = text.get("num_hidden_layers")
    decoder = _read_decoder(path, text)
    ordered = bool(config.get("use_ordered_embeddings", False))
    return DrafterConfig(
        decoder=decoder,
        backbone_hidden_size=_integer(path, config, "backbone_hidden_size"),
        ordered_embeddings=ordered,
        centroids=_integer(path, config, "num_centroids", 2048) if ordered else 0,
        centroid_top_k=_integer(path, config, "centroid_intermediate_top_k", 32) if ordered else 0,
    )


def _refuse_unsupported(path: Path, text: Mapping[str, Any]) -> None:
    """Names every feature of larger Gemma 4 models that the graphs do not have."""
    found = [
        reason
        for present, reason in (
            (text.get("enable_moe_block"), "mixture-of-experts blocks (26B-A4B)"),
            (text.get("attention_k_eq_v"), "keys reused as values (12B, 26B, 31B)"),
            (text.get("attention_bias"), "attention biases"),
            (text.get("use_bidirectional_attention") == "all", "bidirectional attention"),
            (text.get("tie_word_embeddings") is False, "an untied output head"),
        )
        if present
    ]
    activation = text.get("hidden_activation", "gelu_pytorch_tanh")
    if activation != "gelu_pytorch_tanh":
        found.append(f"the activation {activation!r}")
    if found:
        raise CheckpointError(f"{path} describes a model with {', '.join(found)}; {SUPPORTED}")


def _read_decoder(path: Path, text: Mapping[str, Any]) -> DecoderConfig:
    layers = _integer(path, text, "num_hidden_layers")
    kinds = _layer_kinds(path, text, layers)
    ple_width = _integer(path, text, "hidden_size_per_layer_input", 0)
    shared = _integer(path, text, "num_kv_shared_layers", 0)
    if not 0 <= shared <= layers:
        raise CheckpointError(f"{path}: num_kv_shared_layers is {shared}, expected 0 to {layers}")
    vocab_size = _integer(path, text, "vocab_size")
    soft_cap = text.get("final_logit_softcapping")
    return DecoderConfig(
        vocab_size=vocab_size,
        hidden_size=_integer(path, text, "hidden_size"),
        intermediate_size=_integer(path, text, "intermediate_size"),
        heads=_integer(path, text, "num_attention_heads"),
        layer_kinds=kinds,
        attention={kind: _read_attention(path, text, kinds, kind) for kind in dict.fromkeys(kinds)},
        sliding_window=_integer(path, text, "sliding_window", 512),
        norm_epsilon=float(text.get("rms_norm_eps", 1e-6)),
        max_positions=_integer(path, text, "max_position_embeddings", 131072),
        shared_layers=shared,
        double_wide_mlp=bool(text.get("use_double_wide_mlp", False)),
        ple_width=ple_width,
        ple_vocab_size=_integer(path, text, "vocab_size_per_layer_input", vocab_size) if ple_width else 0,
        soft_cap=None if soft_cap is None else float(soft_cap),
    )


def _layer_kinds(path: Path, text: Mapping[str, Any], layers: int) -> tuple[LayerKind, ...]:
    names = text.get("layer_types")
    if not isinstance(names, list) or len(names) != layers:
        raise CheckpointError(f"{path}: layer_types must list {layers} layers, found {names!r}")
    unknown = sorted(set(names) - set(LayerKind))
    if unknown:
        raise CheckpointError(f"{path}: layer_types has {unknown}, expected only {[str(k) for k in LayerKind]}")
    if names[-1] != LayerKind.FULL:
        raise CheckpointError(
            f"{path}: layer_types ends in {names[-1]}, expected {LayerKind.FULL}, which transformers makes of a last "
            "layer whatever it is called; correct the list"
        )
    return tuple(LayerKind(name) for name in names)


def _read_attention(path: Path, text: Mapping[str, Any], kinds: tuple[LayerKind, ...], kind: LayerKind) -> Attention:
    """Sizes of the layers of `kind`: the plain keys, then `global_*`, then `per_layer_config` on top."""
    head_dim = _integer(path, text, "head_dim")
    kv_heads = _integer(path, text, "num_key_value_heads")
    if kind is LayerKind.FULL and text.get("global_head_dim") is not None:
        head_dim = _integer(path, text, "global_head_dim")
    overrides = {int(key): value for key, value in (text.get("per_layer_config") or {}).items()}
    seen = {
        (
            int(overrides.get(layer, {}).get("head_dim", head_dim)),
            int(overrides.get(layer, {}).get("num_key_value_heads", kv_heads)),
        )
        for layer, layer_kind in enumerate(kinds)
        if layer_kind is kind
    }
    if len(seen) != 1:
        raise CheckpointError(f"{path}: layers of kind {kind} differ in (head_dim, KV heads): {sorted(seen)}")
    head_dim, kv_heads = seen.pop()
    heads = _integer(path, text, "num_attention_heads")
    if kv_heads < 1 or heads % kv_heads:
        raise CheckpointError(f"{path}: {heads} attention heads cannot be shared by {kv_heads} KV heads")
    return Attention(head_dim, kv_heads, _read_rope(path, text, kind))


def _read_rope(path: Path, text: Mapping[str, Any], kind: LayerKind) -> Rope:
    rope = (text.get("rope_parameters") or {}).get(kind)
    if not isinstance(rope, dict) or "rope_theta" not in rope:
        raise CheckpointError(f"{path}: rope_parameters has no rope_theta for {kind}")
    rope_type = rope.get("rope_type", "default")
    if rope_type not in ("default", "proportional") or float(rope.get("factor", 1.0)) != 1.0:
        raise CheckpointError(f"{path}: rope {rope} of {kind} is not supported, expected default or proportional")
    fraction = float(rope.get("partial_rotary_factor", 1.0)) if rope_type == "proportional" else 1.0
    return Rope(float(rope["rope_theta"]), fraction)


def _integer(path: Path, values: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = values.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise CheckpointError(f"{path}: {key} is {value!r}, expected an integer")
    return value
