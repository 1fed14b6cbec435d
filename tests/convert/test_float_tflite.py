"""Lowered graphs in the stock interpreter against the torch graphs, in float32: weights fed, and spliced in.

Six layers a target are enough: lowering takes its time by the layer, and every kind of layer is there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter

from edge_mtp import names
from edge_mtp.bundle.lint import has_kernel
from edge_mtp.bundle.summary import ModelSummary
from edge_mtp.bundle.tflite import summarize
from edge_mtp.convert.constants import Constant, array_constant
from edge_mtp.convert.lower import lower_to_file
from edge_mtp.convert.splice import splice
from edge_mtp.convert.worker import WEIGHT_PREFIX
from edge_mtp.graphs.signatures import Section, build_section
from edge_mtp.graphs.spec import GraphSpec, Lengths
from tests.emulator import Array, Call, Draft, Floats, Runtime, input_shapes, torch_call
from tests.random_pair import SHAPES, WINDOW
from tests.reference import TOLERANCE, Deviation, Pair, deviation, load_section, make_pair

STEPS = 3
LENGTHS = Lengths(context=6 * WINDOW, prefill=(WINDOW,), draft_steps=STEPS)
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


@pytest.fixture(scope="module", params=LOWERED_SHAPES)
def lowered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoweredPair:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("lowered")
    pair = make_pair(LOWERED_SHAPES[request.param], folder / "pair")
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


def start(lowered: LoweredPair, how: str, drafter: str = names.DRAFTER) -> Runtime:
    """A conversation over "torch", "weightless" or "spliced" graphs."""

    def call(variant: str) -> Call:
        section = lowered.variants[variant]
        if how == "torch":
            return torch_call(section.section)
        if how == "weightless":
            return interpreter_call(section.weightless.values(), section.weights)
        return interpreter_call([section.spliced], {})

    sections = [call(name) for name in (names.TARGET, names.EMBEDDER, names.PER_LAYER_EMBEDDER)]
    return Runtime(*sections, input_shapes(lowered.variants[names.TARGET].section), call(drafter))


@dataclass(frozen=True)
class Talk:
    """What a conversation several windows long gives: all logits and hidden states, the drafts, the caches."""

    logits: Floats
    hidden: Floats
    draft: Draft
    caches: Mapping[str, Array]


def talk(runtime: Runtime, pair: Pair) -> Talk:
    """A prompt with a padded last chunk, two tokens decoded, a round of drafts, a block verified in part."""
    runtime.prefill(pair.tokens(3 * WINDOW + 5))
    decoded = [runtime.decode(int(token)) for token in pair.tokens(2, seed=1)]
    draft = runtime.draft(7, decoded[-1][1], STEPS)
    verified = runtime.verify(pair.tokens(LENGTHS.verify, seed=2))
    runtime.position += 2
    decoded.append(runtime.decode(9))
    logits = np.concatenate([np.stack([row for row, _ in decoded]), verified[0]])
    hidden = np.concatenate([np.stack([row for _, row in decoded]), verified[1]])
    return Talk(logits, hidden, draft, runtime.caches)


def differences(found: Talk, expected: Talk) -> dict[str, Deviation]:
    caches = {name: deviation(found.caches[name], cache) for name, cache in expected.caches.items()}
    return {
        "logits": deviation(found.logits, expected.logits),
        "hidden": deviation(found.hidden, expected.hidden),
        "draft logits": deviation(found.draft.logits, expected.draft.logits),
        "projected": deviation(found.draft.projected, expected.draft.projected),
        "caches": max(caches.values(), key=lambda difference: difference.share),
    }


@pytest.mark.parametrize("drafter", [names.DRAFTER, FLOAT, CODED])
@pytest.mark.parametrize("how", ["weightless", "spliced"])
def test_a_conversation_equals_torch(lowered: LoweredPair, how: str, drafter: str) -> None:
    expected = talk(start(lowered, "torch", drafter), lowered.pair)
    found = talk(start(lowered, how, drafter), lowered.pair)
    every = differences(found, expected)
    shares = ", ".join(f"{name} {difference.share:.1e}" for name, difference in every.items())
    print(f"{lowered.pair.shape.name}, {how}, {drafter}: {shares}")
    assert found.draft.tokens == expected.draft.tokens
    assert max(difference.share for difference in every.values()) <= TOLERANCE
    assert every["logits"].holds
    assert every["draft logits"].holds


def test_the_conversation_equals_transformers(lowered: LoweredPair) -> None:
    """The float file against the checkpoint itself, past the torch graphs."""
    pair = lowered.pair
    tokens = pair.tokens(3 * WINDOW + 5)
    runtime = start(lowered, "spliced", FLOAT)
    runtime.prefill(tokens[:-1])
    logits, hidden = runtime.decode(int(tokens[-1]))
    expected = pair.oracle.run_target(tokens)
    assert deviation(logits, expected.logits[-1]).holds
    assert deviation(hidden, expected.hidden[-1]).share <= TOLERANCE
    token = int(logits.argmax())
    step = pair.oracle.draft_step(token, expected.hidden[-1], expected.caches)
    assert deviation(runtime.draft(token, hidden, 1).logits[0], step.logits).holds


def test_two_weights_exchanged_do_not_hold(lowered: LoweredPair, tmp_path: Path) -> None:
    section = lowered.variants[names.TARGET]
    weights = dict(section.weights)
    first, second = (f"{WEIGHT_PREFIX}layers.{layer}.mlp.up_proj.weight" for layer in (0, 1))
    weights[first], weights[second] = weights[second], weights[first]
    splice_floats(section, weights, tmp_path / "exchanged")
    runtime = start(lowered, "spliced")
    runtime.target = interpreter_call([tmp_path / "exchanged"], {})
    expected = talk(start(lowered, "torch"), lowered.pair)
    assert differences(talk(runtime, lowered.pair), expected)["logits"].share > 2 * TOLERANCE


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_op_has_a_kernel(lowered: LoweredPair, variant: str) -> None:
    for summary in [*lowered.summaries(variant).values(), summarize_file(lowered.variants[variant].spliced)]:
        assert summary.ops
        assert [op for op in summary.ops if not has_kernel(op) or op.startswith("STABLEHLO_")] == []
        assert not summary.customs
        assert not summary.composites


def test_weights_are_read_by_the_ops_that_take_codes(lowered: LoweredPair) -> None:
    """Linear weights by FULLY_CONNECTED, tables by EMBEDDING_LOOKUP, clusters by GATHER; none is transposed."""
    modules = lowered.variants[FLOAT].section.core.modules()
    assert lowered.ops(FLOAT)["FULLY_CONNECTED"] == count_linear(modules)
    assert lowered.ops(FLOAT)["TOPK_V2"] == 1
    assert lowered.ops(names.EMBEDDER)["EMBEDDING_LOOKUP"] == 1
    assert lowered.ops(names.PER_LAYER_EMBEDDER)["EMBEDDING_LOOKUP"] == 1
    assert lowered.ops(names.DRAFTER).get("TRANSPOSE", 0) == 0


def test_a_prefill_signature_reads_no_shared_layer(lowered: LoweredPair) -> None:
    """Nor the output of the last owning layer, of which it needs keys and values only."""
    target, config = lowered.variants[names.TARGET].section.core, lowered.pair.target_config.decoder
    before_the_last = [target.layers[layer] for layer in range(config.owning_layers - 1)]
    linear = sum(count_linear(layer.modules()) for layer in before_the_last)
    keys_and_values, per_layer_projection = 2, 1
    found = lowered.summaries(names.TARGET)[names.prefill(WINDOW)].ops["FULLY_CONNECTED"]
    assert found == linear + keys_and_values + per_layer_projection


def count_linear(modules: Iterable[torch.nn.Module]) -> int:
    return sum(isinstance(module, torch.nn.Linear) for module in modules)


@pytest.mark.parametrize("variant", VARIANTS)
def test_weights_are_inputs_and_then_constants(lowered: LoweredPair, variant: str) -> None:
    """Weightless: every parameter is an input of every signature, none a constant. Spliced: the reverse."""
    section, weightless = lowered.variants[variant], lowered.summaries(variant)
    spliced = summarize_file(section.spliced)
    for signature in section.section.signatures:
        own, before = set(signature.inputs), weightless[signature.name]
        assert input_names(before, signature.name) == own | set(section.weights)
        assert input_names(spliced, signature.name) == own
        assert largest_constant(before) <= LENGTHS.cache_rows * 4  # row numbers for the window
    assert largest_constant(spliced) == max(array.nbytes for array in section.weights.values())


def input_names(summary: ModelSummary, signature: str) -> set[str]:
    found = summary.signature(signature)
    assert found is not None
    return {tensor.name for tensor in found.inputs}


def largest_constant(summary: ModelSummary) -> int:
    """Bytes of the largest constant that could be a weight."""
    return max((weight.data_bytes for weight in summary.weights if weight.is_parameter), default=0)
