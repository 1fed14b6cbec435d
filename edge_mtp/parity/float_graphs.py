"""Our torch graphs with the checkpoint's float weights, driven as the runner drives a bundle's.

The lengths are the bundle's, so that every signature is compared at the shape it ships with. The same signatures can
be computed by torch, or by onnxruntime through `witness`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch

from edge_mtp import names
from edge_mtp.bundle.contents import is_cache_name
from edge_mtp.checkpoint.pairing import Pair
from edge_mtp.checkpoint.tensors import open_checkpoint
from edge_mtp.convert.lower import REGISTERS_OPS
from edge_mtp.convert.preflight import available_memory_bytes
from edge_mtp.graphs.signatures import Section, Signature, build_section
from edge_mtp.graphs.spec import GraphSpec, Head, Lengths, Position, checkpoint_of, section_names
from edge_mtp.graphs.weights import load_float_weights
from edge_mtp.parity.results import CouldNotCheckError
from edge_mtp.runner.calls import Array, Call, GraphDrafter, GraphTarget, TargetCalls
from edge_mtp.runner.protocols import Drafter

SignatureFunction = Callable[[Mapping[str, Array]], Mapping[str, Array]]
"""Computes one signature: inputs by name -> outputs by name."""

Engine = Callable[[Section, str], SignatureFunction]
"""Gives the function of a section's signature."""

SPARE_BYTES: Final = 500 << 20
DTYPES: Final = {torch.float32: np.dtype(np.float32), torch.int32: np.dtype(np.int32)}


@dataclass(frozen=True)
class FloatPair:
    """Target and drafter over float graphs."""

    target: GraphTarget
    drafter: GraphDrafter


def load_sections(
    pair: Pair,
    lengths: Lengths,
    head: Head,
    position: Position,
    target: Path,
    drafter: Path,
    threads: int,
    wanted: Sequence[str] | None = None,
) -> dict[str, Section]:
    """The `wanted` sections (None: all) with float32 weights; CouldNotCheckError where memory is too small.

    `threads` is torch's from then on in this process.
    """
    torch.set_num_threads(threads)
    directories = {names.TARGET: target, names.DRAFTER: drafter}
    specs = [
        GraphSpec(name, pair.target, pair.drafter, lengths, head, position)
        for name in section_names(pair.target)
        if wanted is None or name in wanted
    ]
    sections = {spec.section: build_section(spec) for spec in specs}
    _check_memory(sections.values())
    for name, section in sections.items():
        load_float_weights(section, open_checkpoint(directories[checkpoint_of(name)]), open_checkpoint(drafter))
    return sections


def torch_function(section: Section, signature: str) -> SignatureFunction:
    """The signature computed by torch."""
    assert REGISTERS_OPS  # the graphs call torch operators that litert-torch defines
    module = _signature(section, signature).module

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        with torch.no_grad():
            outputs = module({name: torch.from_numpy(values) for name, values in inputs.items()})
        return {name: values.numpy() for name, values in outputs.items()}

    return run


class FunctionCall:
    """`calls.Call` over a function; caches that it returns are copied into the shared ones."""

    def __init__(self, signature: Signature, function: SignatureFunction, caches: Mapping[str, Array]) -> None:
        """Every cache of `signature` must be in `caches`."""
        own = {
            name: np.zeros(shape, DTYPES[dtype])
            for name, (shape, dtype) in signature.inputs.items()
            if not is_cache_name(name)
        }
        self._function, self._caches = function, caches
        self.inputs: dict[str, Array] = {**own, **{n: caches[n] for n in signature.inputs if is_cache_name(n)}}
        self.outputs: dict[str, Array] = {}

    def run(self) -> None:
        """One inference."""
        for name, values in self._function(self.inputs).items():
            if is_cache_name(name):
                np.copyto(self._caches[name], values)
            else:
                self.outputs[name] = values


def float_pair(sections: Mapping[str, Section], engine: Engine = torch_function) -> FloatPair:
    """The whole pair over `sections`, every signature computed by `engine`, caches empty."""
    target = sections[names.TARGET]
    decode = _signature(target, names.DECODE)
    shapes = {name: shape for name, (shape, _) in decode.inputs.items() if is_cache_name(name)}
    caches: dict[str, Array] = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}

    def call(section: str, signature: str) -> Call:
        found = _signature(sections[section], signature)
        return FunctionCall(found, engine(sections[section], signature), caches)

    prefills = [one.name for one in target.signatures if one.name.startswith(names.PREFILL_PREFIX)]
    calls = TargetCalls(
        embedder=call(names.EMBEDDER, names.EMBED),
        per_layer=call(names.PER_LAYER_EMBEDDER, names.EMBED) if names.PER_LAYER_EMBEDDER in sections else None,
        prefills=[call(names.TARGET, name) for name in prefills],
        decode=call(names.TARGET, names.DECODE),
        verify=call(names.TARGET, names.VERIFY),
    )
    opened = GraphTarget(calls, 0)
    return FloatPair(opened, GraphDrafter(call(names.DRAFTER, names.DRAFT), opened))


def float_drafter(section: Section, target: GraphTarget) -> Drafter:
    """The float drafter over another target's caches, such as the bundle's own."""
    signature = _signature(section, names.DRAFT)
    return GraphDrafter(FunctionCall(signature, torch_function(section, names.DRAFT), target.caches), target)


def _signature(section: Section, name: str) -> Signature:
    return next(found for found in section.signatures if found.name == name)


def _check_memory(sections: Iterable[Section]) -> None:
    tensors = [tensor for section in sections for tensor in section.core.state_dict().values()]
    needed = SPARE_BYTES + sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    free = available_memory_bytes()
    if free is not None and free < needed:
        raise CouldNotCheckError(
            f"our graphs in float32 need about {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free; close "
            "other programs, or use a machine with more memory"
        )
