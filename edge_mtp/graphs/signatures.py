"""The sections of a bundle as graphs: which signatures each has, with names, shapes and dtypes."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edge_mtp import names
from edge_mtp.checkpoint.config import DecoderConfig, LayerKind
from edge_mtp.graphs.drafter import ClusteredHead, DenseHead, Drafter
from edge_mtp.graphs.embedders import Embedder, PerLayerEmbedder
from edge_mtp.graphs.spec import GraphSpec, Lengths
from edge_mtp.graphs.target import Target

PARAM_SHAPE = (1, 1, 1, 7)
"""[start, end, end, 0, ...]: the rows a call writes, from `start` to before `end`; the GPU's operators read it."""


@dataclass(frozen=True)
class Signature:
    """One entry point: its name, inputs by name as (shape, dtype), and the module that takes them."""

    name: str
    inputs: Mapping[str, tuple[tuple[int, ...], torch.dtype]]
    module: nn.Module


@dataclass(frozen=True)
class Section:
    """One graph file: the module whose parameters are its weights, and signatures that share them."""

    name: str
    core: nn.Module
    signatures: tuple[Signature, ...]


class _TargetCall(nn.Module):
    """`Target` behind the flat named inputs of a signature."""

    def __init__(self, core: Target, *, prefill: bool) -> None:
        super().__init__()
        self.core, self.prefill = core, prefill

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        caches = {name: tensor for name, tensor in inputs.items() if name.startswith("kv_cache_")}
        return self.core(
            inputs[names.EMBEDDINGS],
            inputs.get(names.PER_LAYER_EMBEDDINGS),
            inputs[names.INPUT_POS],
            inputs[names.MASK],
            inputs[names.PARAM_TENSOR],
            caches,
            prefill=self.prefill,
        )


class _DrafterCall(nn.Module):
    """`Drafter` behind the flat named inputs of its signature; `donors` are target layers by kind."""

    def __init__(self, core: Drafter, donors: Mapping[LayerKind, int]) -> None:
        super().__init__()
        self.core, self.donors = core, dict(donors)

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        caches = {
            kind: (inputs[names.kv_key(layer)], inputs[names.kv_value(layer)]) for kind, layer in self.donors.items()
        }
        rest = (inputs[names.INPUT_POS], inputs[names.MASK], inputs[names.PARAM_TENSOR])
        return self.core(inputs[names.ACTIVATIONS], *rest, caches)


class _EmbedderCall(nn.Module):
    """An embedder behind `token_ids`."""

    def __init__(self, core: nn.Module) -> None:
        super().__init__()
        self.core = core

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {names.EMBEDDINGS: self.core(inputs[names.TOKEN_IDS])}


def build_section(spec: GraphSpec) -> Section:
    """The graph of `spec` with every parameter on the `meta` device: shapes without data."""
    builders: dict[str, Callable[[GraphSpec], Section]] = {
        names.TARGET: _target_section,
        names.DRAFTER: _drafter_section,
        names.EMBEDDER: lambda s: _embedder(names.EMBEDDER, Embedder(s.target.decoder)),
        names.PER_LAYER_EMBEDDER: lambda s: _embedder(names.PER_LAYER_EMBEDDER, PerLayerEmbedder(s.target.decoder)),
    }
    with torch.device("meta"):
        return builders[spec.section](spec)


def _target_section(spec: GraphSpec) -> Section:
    config, lengths = spec.target.decoder, spec.lengths
    core = Target(config, lengths.cache_rows)
    calls = [(names.prefill(length), length, True) for length in lengths.prefill]
    calls += [(names.DECODE, 1, False), (names.VERIFY, lengths.verify, False)]
    signatures = tuple(
        Signature(name, _target_inputs(config, tokens, lengths), _TargetCall(core, prefill=prefill))
        for name, tokens, prefill in calls
    )
    return Section(names.TARGET, core, signatures)


def _drafter_section(spec: GraphSpec) -> Section:
    config, lengths = spec.drafter, spec.lengths
    head = ClusteredHead(config, coded=spec.coded) if spec.head == "clustered" else DenseHead(config)
    core = Drafter(config, head, spec.position, lengths.cache_rows)
    donors = {kind: spec.target.decoder.donor(kind) for kind in config.decoder.attention}
    inputs = {
        names.ACTIVATIONS: ((1, 1, 2 * config.backbone_hidden_size), torch.float32),
        names.INPUT_POS: ((1,), torch.int32),
        names.MASK: ((1, 1, 1, lengths.cache_rows), torch.float32),
        names.PARAM_TENSOR: (PARAM_SHAPE, torch.int32),
        **_caches(spec.target.decoder, sorted(donors.values()), lengths),
    }
    return Section(names.DRAFTER, core, (Signature(names.DRAFT, inputs, _DrafterCall(core, donors)),))


def _embedder(name: str, core: nn.Module) -> Section:
    inputs = {names.TOKEN_IDS: ((1, 1), torch.int32)}
    return Section(name, core, (Signature(names.EMBED, inputs, _EmbedderCall(core)),))


def _target_inputs(
    config: DecoderConfig, tokens: int, lengths: Lengths
) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    per_layer = {names.PER_LAYER_EMBEDDINGS: ((1, tokens, config.layers, config.ple_width), torch.float32)}
    return {
        names.EMBEDDINGS: ((1, tokens, config.hidden_size), torch.float32),
        **(per_layer if config.ple_width else {}),
        names.INPUT_POS: ((tokens,), torch.int32),
        names.MASK: ((1, 1, tokens, lengths.cache_rows), torch.float32),
        names.PARAM_TENSOR: (PARAM_SHAPE, torch.int32),
        **_caches(config, range(config.owning_layers), lengths),
    }


def _caches(
    config: DecoderConfig, layers: Iterable[int], lengths: Lengths
) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    shapes: dict[str, tuple[tuple[int, ...], torch.dtype]] = {}
    for layer in layers:
        shape, rows = config.shape_of(layer), lengths.rows_of(config, layer)
        shapes[names.kv_key(layer)] = ((1, shape.kv_heads, rows, shape.head_dim), torch.float32)
        shapes[names.kv_value(layer)] = ((1, shape.kv_heads, shape.head_dim, rows), torch.float32)
    return shapes
