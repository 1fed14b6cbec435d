"""A random pair's sections lowered: torch graphs with weights, weightless files a signature, spliced files a section.

Six layers a target are enough: lowering takes its time by the layer, and every kind of layer is there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter

from edge_mtp import names
from edge_mtp.bundle.summary import ModelSummary
from edge_mtp.bundle.tflite import summarize
from edge_mtp.convert.constants import Constant, array_constant
from edge_mtp.convert.lower import lower_to_file
from edge_mtp.convert.splice import splice
from edge_mtp.convert.worker import WEIGHT_PREFIX
from edge_mtp.graphs.attention import FEW_TOKENS
from edge_mtp.graphs.signatures import Section, build_section
from edge_mtp.graphs.spec import GraphSpec, Lengths
from tests.emulator import Array, Call
from tests.random_pair import SHAPES, WINDOW
from tests.reference import Pair, load_section, make_pair

STEPS = 3
PREFILL = FEW_TOKENS + 4
"""Above FEW_TOKENS, as decode and verify are not: the mask takes both its forms."""

LENGTHS = Lengths(context=6 * WINDOW, prefill=(PREFILL,), draft_steps=STEPS)
LAYERS = {"pattern": "ssfssf", "shared_layers": 3, "vocab_size": 256, "centroids": 16}
LOWERED_SHAPES = {name: replace(SHAPES[name], **LAYERS) for name in ("e2b-like", "e4b-like")}
CODED, FLOAT = "drafter, coded rows", "drafter, clustered"
VARIANTS = (*names.SECTIONS, FLOAT, CODED)


@dataclass(frozen=True)
class Lowered:
    """One section: the torch graph with weights, a weightless file a signature, and one file with weights."""

    section: Section
    weightless: Mapping[str, Path]
    spliced: Path

    @property
    def weights(self) -> dict[str, Array]:
        """Every parameter of the graph, by the weightless files' name of its input."""
        state = self.section.core.state_dict()
        return {f"{WEIGHT_PREFIX}{name}": tensor.numpy() for name, tensor in state.items()}


def spec_of(pair: Pair, variant: str) -> GraphSpec:
    if variant in names.SECTIONS:
        return pair.spec(variant, LENGTHS, "dense", "transformers")
    spec = pair.spec(names.DRAFTER, LENGTHS, "clustered", "transformers")
    return replace(spec, coded=variant == CODED)


def load(pair: Pair, spec: GraphSpec) -> Section:
    """The section with float weights; coded rows are the float rows' codes."""
    if not spec.coded:
        return load_section(pair, spec.section, LENGTHS, head=spec.head)
    floats = load_section(pair, spec.section, LENGTHS, head=spec.head).core.state_dict()
    rows = floats["head.rows"].reshape(pair.shape.vocab_size, -1)
    scales = rows.abs().amax(dim=1) / 127
    codes = torch.round(rows / scales[:, None]).to(torch.int8)
    centroids = pair.shape.centroids
    coded = {"head.rows": codes.reshape(centroids, -1), "head.scales": scales.reshape(centroids, -1)}
    section = build_section(spec)
    section.core.load_state_dict({**floats, **coded}, assign=True)
    return section


def lower(pair: Pair, variant: str, folder: Path) -> Lowered:
    spec = spec_of(pair, variant)
    section = load(pair, spec)
    files = {signature.name: folder / f"{variant} {signature.name}" for signature in section.signatures}
    for signature, path in files.items():
        lower_to_file(spec, signature, path)
    lowered = Lowered(section, files, folder / variant)
    splice_floats(lowered, lowered.weights, lowered.spliced)
    return lowered


def splice_floats(lowered: Lowered, weights: Mapping[str, Array], path: Path) -> None:
    """Every weight under its input's own name, in every signature."""
    bindings = {signature: {name: name for name in weights} for signature in lowered.weightless}
    constants = {name: constant(name, array) for name, array in weights.items()}
    splice([file.read_bytes() for file in lowered.weightless.values()], bindings, constants, path)


def constant(name: str, array: Array) -> Constant:
    if array.dtype == np.int8:
        return Constant(name, "int8", array.shape, array.tobytes())
    return array_constant(name, array)


def summarize_file(path: Path) -> ModelSummary:
    return summarize(memoryview(path.read_bytes()))


@dataclass(frozen=True)
class LoweredPair:
    pair: Pair
    variants: Mapping[str, Lowered]

    def summaries(self, variant: str) -> dict[str, ModelSummary]:
        """What the weightless files hold, by signature."""
        return {name: summarize_file(path) for name, path in self.variants[variant].weightless.items()}

    def ops(self, variant: str) -> Mapping[str, int]:
        """The ops of a section that has one signature."""
        (summary,) = self.summaries(variant).values()
        return summary.ops


def lower_pair(shape: str, folder: Path) -> LoweredPair:
    """The pair of `LOWERED_SHAPES[shape]`, written to `folder` as its graphs are."""
    pair = make_pair(LOWERED_SHAPES[shape], folder / "pair")
    return LoweredPair(pair, {variant: lower(pair, variant, folder) for variant in VARIANTS})


def interpreter_call(paths: Iterable[Path], weights: Mapping[str, Array]) -> Call:
    """Runs the signatures of `.tflite` files in the stock interpreter, `weights` fed with every call."""
    interpreters = [Interpreter(str(path), num_threads=1) for path in paths]
    runners = {name: each.get_signature_runner(name) for each in interpreters for name in each.get_signature_list()}

    def call(name: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        wanted, given = runners[name].get_input_details(), {**inputs, **weights}
        assert set(wanted) <= set(given)
        outputs = runners[name](**{key: given[key] for key in wanted})
        return {key: np.array(value) for key, value in outputs.items()}

    return call
