"""Lowered graphs in the stock interpreter against the torch graphs, in float32: weights fed, and spliced in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_mtp import names
from edge_mtp.bundle.lint import has_kernel
from edge_mtp.bundle.summary import ModelSummary
from edge_mtp.convert.worker import WEIGHT_PREFIX
from edge_mtp.graphs.composites import CACHE_UPDATE, RUNTIME_BMM
from tests.convert.lowered_pair import (
    CODED,
    FLOAT,
    LENGTHS,
    PREFILL,
    STEPS,
    VARIANTS,
    LoweredPair,
    interpreter_call,
    splice_floats,
    summarize_file,
)
from tests.emulator import Array, Call, Draft, Floats, Runtime, input_shapes, torch_call
from tests.random_pair import WINDOW
from tests.reference import TOLERANCE, Deviation, Pair, deviation

COMPOSITES = {
    names.TARGET: {CACHE_UPDATE, RUNTIME_BMM},
    **{variant: {RUNTIME_BMM} for variant in (names.DRAFTER, FLOAT, CODED)},
}
"""What the GPU replaces, by variant; `test_webgpu` looks into them. On the CPU their bodies run."""


def start(lowered_pair: LoweredPair, how: str, drafter: str = names.DRAFTER) -> Runtime:
    """A conversation over "torch", "weightless" or "spliced" graphs."""

    def call(variant: str) -> Call:
        section = lowered_pair.variants[variant]
        if how == "torch":
            return torch_call(section.section)
        if how == "weightless":
            return interpreter_call(section.weightless.values(), section.weights)
        return interpreter_call([section.spliced], {})

    sections = [call(name) for name in (names.TARGET, names.EMBEDDER, names.PER_LAYER_EMBEDDER)]
    return Runtime(*sections, input_shapes(lowered_pair.variants[names.TARGET].section), call(drafter))


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
def test_a_conversation_equals_torch(lowered_pair: LoweredPair, how: str, drafter: str) -> None:
    expected = talk(start(lowered_pair, "torch", drafter), lowered_pair.pair)
    found = talk(start(lowered_pair, how, drafter), lowered_pair.pair)
    every = differences(found, expected)
    shares = ", ".join(f"{name} {difference.share:.1e}" for name, difference in every.items())
    print(f"{lowered_pair.pair.shape.name}, {how}, {drafter}: {shares}")
    assert found.draft.tokens == expected.draft.tokens
    assert max(difference.share for difference in every.values()) <= TOLERANCE
    assert every["logits"].holds
    assert every["draft logits"].holds


def test_the_conversation_equals_transformers(lowered_pair: LoweredPair) -> None:
    """The float file against the checkpoint itself, past the torch graphs."""
    pair = lowered_pair.pair
    tokens = pair.tokens(3 * WINDOW + 5)
    runtime = start(lowered_pair, "spliced", FLOAT)
    runtime.prefill(tokens[:-1])
    logits, hidden = runtime.decode(int(tokens[-1]))
    expected = pair.oracle.run_target(tokens)
    assert deviation(logits, expected.logits[-1]).holds
    assert deviation(hidden, expected.hidden[-1]).share <= TOLERANCE
    token = int(logits.argmax())
    step = pair.oracle.draft_step(token, expected.hidden[-1], expected.caches)
    assert deviation(runtime.draft(token, hidden, 1).logits[0], step.logits).holds


def test_two_weights_exchanged_do_not_hold(lowered_pair: LoweredPair, tmp_path: Path) -> None:
    section = lowered_pair.variants[names.TARGET]
    weights = dict(section.weights)
    first, second = (f"{WEIGHT_PREFIX}layers.{layer}.mlp.up_proj.weight" for layer in (0, 1))
    weights[first], weights[second] = weights[second], weights[first]
    splice_floats(section, weights, tmp_path / "exchanged")
    runtime = start(lowered_pair, "spliced")
    runtime.target = interpreter_call([tmp_path / "exchanged"], {})
    expected = talk(start(lowered_pair, "torch"), lowered_pair.pair)
    assert differences(talk(runtime, lowered_pair.pair), expected)["logits"].share > 2 * TOLERANCE


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_op_has_a_kernel(lowered_pair: LoweredPair, variant: str) -> None:
    for summary in [*lowered_pair.summaries(variant).values(), summarize_file(lowered_pair.variants[variant].spliced)]:
        assert summary.ops
        assert [op for op in summary.ops if not has_kernel(op) or op.startswith("STABLEHLO_")] == []
        assert not summary.customs
        assert set(summary.composites) == COMPOSITES.get(variant, set())


def test_weights_are_read_by_the_ops_that_take_codes(lowered_pair: LoweredPair) -> None:
    """Linear weights by FULLY_CONNECTED, tables by EMBEDDING_LOOKUP, clusters by GATHER; none is transposed."""
    modules = lowered_pair.variants[FLOAT].section.core.modules()
    assert lowered_pair.ops(FLOAT)["FULLY_CONNECTED"] == count_linear(modules)
    assert lowered_pair.ops(FLOAT)["TOPK_V2"] == 1
    assert lowered_pair.ops(names.EMBEDDER)["EMBEDDING_LOOKUP"] == 1
    assert lowered_pair.ops(names.PER_LAYER_EMBEDDER)["EMBEDDING_LOOKUP"] == 1
    assert lowered_pair.ops(names.DRAFTER).get("TRANSPOSE", 0) == 0


def test_a_prefill_signature_reads_no_shared_layer(lowered_pair: LoweredPair) -> None:
    """Nor the output of the last owning layer, of which it needs keys and values only."""
    target, config = lowered_pair.variants[names.TARGET].section.core, lowered_pair.pair.target_config.decoder
    before_the_last = [target.layers[layer] for layer in range(config.owning_layers - 1)]
    linear = sum(count_linear(layer.modules()) for layer in before_the_last)
    keys_and_values, per_layer_projection = 2, 1
    found = lowered_pair.summaries(names.TARGET)[names.prefill(PREFILL)].ops["FULLY_CONNECTED"]
    assert found == linear + keys_and_values + per_layer_projection


def count_linear(modules: Iterable[torch.nn.Module]) -> int:
    return sum(isinstance(module, torch.nn.Linear) for module in modules)


@pytest.mark.parametrize("variant", VARIANTS)
def test_weights_are_inputs_and_then_constants(lowered_pair: LoweredPair, variant: str) -> None:
    """Weightless: every parameter is an input of every signature, none a constant. Spliced: the reverse."""
    section, weightless = lowered_pair.variants[variant], lowered_pair.summaries(variant)
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
