"""Lowered graphs in the stock interpreter against the torch graphs, in float32: weights fed, and spliced in.

Six layers a target are enough: lowering takes its time by the layer, and every kind of layer is there.
"""

from collections.abc import Iterator, Mapping
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
from edge_mtp.convert.worker import WEIGHT_PREFIX, bindings_by_signature
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
    """One section: the torch graph with weights, the weightless file, and the file with weights spliced in."""

    section: Section
    weightless: Path
    spliced: Path

    @property
    def weights(self) -> dict[str, Array]:
        """Every parameter of the graph, by the weightless file's name of its input."""
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
    lowered = Lowered(load(pair, spec), folder / f"{variant} weightless", folder / variant)
    lower_to_file(spec, lowered.weightless)
    splice_floats(lowered, lowered.weights, lowered.spliced)
    return lowered


def splice_floats(lowered: Lowered, weights: Mapping[str, Array], path: Path) -> None:
    parameters = {name.removeprefix(WEIGHT_PREFIX): array for name, array in weights.items()}
    graph = lowered.weightless.read_bytes()
    bindings = bindings_by_signature(graph, {name: name for name in parameters})
    splice([graph], bindings, {name: constant(name, array) for name, array in parameters.items()}, path)


def constant(name: str, array: Array) -> Constant:
    if array.dtype == np.int8:
        return Constant(name, "int8", array.shape, array.tobytes())
    return array_constant(name, array)


@dataclass(frozen=True)
class LoweredPair:
    pair: Pair
    variants: Mapping[str, Lowered]

    def summary(self, variant: str) -> ModelSummary:
        return summarize(memoryview(self.variants[variant].weightless.read_bytes()))


@pytest.fixture(scope="module", params=LOWERED_SHAPES)
def lowered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoweredPair]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("lowered")
    pair = make_pair(LOWERED_SHAPES[request.param], folder / "pair")
    yield LoweredPair(pair, {variant: lower(pair, variant, folder) for variant in VARIANTS})


def interpreter_call(path: Path, weights: Mapping[str, Array] | None = None) -> Call:
    """Runs the signatures of a `.tflite` in the stock interpreter, `weights` fed with every call."""
    interpreter = Interpreter(str(path), num_threads=1)
    runners = {name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()}

    def call(name: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        wanted, given = runners[name].get_input_details(), {**inputs, **(weights or {})}
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
        fed = how == "weightless"
        return interpreter_call(section.weightless if fed else section.spliced, section.weights if fed else None)

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


def parameter_bytes(summary: ModelSummary) -> int:
    """Bytes of the largest constant that could be a weight."""
    return max((weight.data_bytes for weight in summary.weights if weight.is_parameter), default=0)


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
    runtime.target = interpreter_call(tmp_path / "exchanged")
    expected = talk(start(lowered, "torch"), lowered.pair)
    assert differences(talk(runtime, lowered.pair), expected)["logits"].share > 2 * TOLERANCE


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_op_has_a_kernel(lowered: LoweredPair, variant: str) -> None:
    summary = lowered.summary(variant)
    assert summary.ops
    assert [op for op in summary.ops if not has_kernel(op) or op.startswith("STABLEHLO_")] == []
    assert not summary.customs
    assert not summary.composites


def test_weights_are_read_by_the_ops_that_take_codes(lowered: LoweredPair) -> None:
    """Linear weights by FULLY_CONNECTED, tables by EMBEDDING_LOOKUP, clusters by GATHER; none is transposed."""
    linear = sum(isinstance(module, torch.nn.Linear) for module in lowered.variants[FLOAT].section.core.modules())
    assert lowered.summary(FLOAT).ops["FULLY_CONNECTED"] == linear
    assert lowered.summary(FLOAT).ops["TOPK_V2"] == 1
    assert lowered.summary(names.EMBEDDER).ops["EMBEDDING_LOOKUP"] == 1
    assert lowered.summary(names.PER_LAYER_EMBEDDER).ops["EMBEDDING_LOOKUP"] == 1
    assert lowered.summary(names.DRAFTER).ops.get("TRANSPOSE", 0) == 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_weights_are_inputs_and_then_constants(lowered: LoweredPair, variant: str) -> None:
    """Weightless: every parameter is an input of every signature, none a constant. Spliced: the reverse."""
    section, before = lowered.variants[variant], lowered.summary(variant)
    after = summarize(memoryview(section.spliced.read_bytes()))
    for signature in section.section.signatures:
        own = set(signature.inputs)
        assert {tensor.name for tensor in before.signature(signature.name).inputs} == own | set(section.weights)
        assert {tensor.name for tensor in after.signature(signature.name).inputs} == own
    largest = max(array.nbytes for array in section.weights.values())
    assert parameter_bytes(before) <= LENGTHS.cache_rows * 4  # row numbers for the window
    assert parameter_bytes(after) == largest


def test_a_prefill_signature_reads_no_shared_layer(lowered: LoweredPair) -> None:
    """FULLY_CONNECTED in prefill: the owning layers' and the per-layer projection, not the last one's output."""
    section = lowered.variants[names.TARGET]
    data = section.weightless.read_bytes()
    target, config = section.section.core, lowered.pair.target_config.decoder
    owning = [target.layers[layer] for layer in range(config.owning_layers)]
    linear = sum(isinstance(module, torch.nn.Linear) for layer in owning[:-1] for module in layer.modules())
    keys_and_values, projection = 2, 1
    assert count_ops(data, names.prefill(WINDOW), "FULLY_CONNECTED") == linear + keys_and_values + projection


def count_ops(data: bytes, signature: str, op: str) -> int:
    """How often `op` stands in one signature's graph."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(data, 0)
    graphs = {entry.signatureKey.decode(): model.subgraphs[entry.subgraphIndex] for entry in model.signatureDefs}
    wanted = getattr(schema.BuiltinOperator, op)
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    return sum(codes[operator.opcodeIndex] == wanted for operator in graphs[signature].operators)
