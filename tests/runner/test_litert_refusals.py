"""Bundles that cannot be run, and those that cannot draft: known before any graph is compiled."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest

from edge_mtp import names
from edge_mtp.errors import BundleError
from edge_mtp.runner import litert
from edge_mtp.runner.calls import GraphTarget
from edge_mtp.runner.graph import Graph
from edge_mtp.runner.litert import open_pair
from edge_mtp.runner.litert_c import Environment
from tests.bundle import models
from tests.bundle.flatbuffer import SignatureSpec, TensorSpec

LOCAL_MASK = "local_mask"
sound = models.all_models


def with_local_mask(signature: SignatureSpec) -> SignatureSpec:
    """With an input that LiteRT-LM fills for other models, and this runner does not."""
    return replace(signature, inputs=(*signature.inputs, TensorSpec(LOCAL_MASK, (1, 1, 1, models.ROWS))))


def without(signature: SignatureSpec, *tensors: str) -> SignatureSpec:
    """`signature` without inputs and outputs of these names."""
    kept = [tuple(one for one in side if one.name not in tensors) for side in (signature.inputs, signature.outputs)]
    return replace(signature, inputs=kept[0], outputs=kept[1])


def changed(section: str, change) -> dict[str, tuple[SignatureSpec, ...] | None]:
    return sound() | {section: change(sound()[section])}


PREFILL, DECODE, VERIFY = range(3)
REFUSED = {
    "no target": ({**sound(), names.TARGET: None}, "no section of type tf_lite_prefill_decode"),
    "no embedder": ({**sound(), names.EMBEDDER: None}, "no section of type tf_lite_embedder, but decode takes"),
    "no per-layer embedder": ({**sound(), names.PER_LAYER_EMBEDDER: None}, "no section of type tf_lite_per_layer"),
    "no decode": (changed(names.TARGET, lambda all_: (all_[PREFILL], all_[VERIFY])), "no signature decode"),
    "no prefill": (changed(names.TARGET, lambda all_: all_[DECODE:]), "no signature prefill_"),
    "no mask": (changed(names.TARGET, lambda all_: tuple(without(one, names.MASK) for one in all_)), "no input mask"),
    "no logits": (
        changed(names.TARGET, lambda all_: tuple(without(one, names.LOGITS) for one in all_)),
        "no output log",
    ),
    "local_mask": (
        changed(names.TARGET, lambda all_: tuple(map(with_local_mask, all_))),
        r"the target takes local_mask, which this runner does not fill.*param_tensor.*--engine",
    ),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED)
def test_bundles_that_cannot_be_run_say_why(bundle_of, changes, message):
    bundle = bundle_of(changes)
    with pytest.raises(BundleError, match=message), open_pair(bundle, 1):
        pass


CANNOT_DRAFT = {
    "no drafter": {**sound(), names.DRAFTER: None},
    "no verify": changed(names.TARGET, lambda all_: all_[:VERIFY]),
    "no hidden states": changed(names.TARGET, lambda all_: tuple(without(one, names.ACTIVATIONS) for one in all_)),
    "other caches": changed(names.DRAFTER, lambda all_: (models.drafter_signature(rows=models.ROWS - 1),)),
}


@pytest.mark.parametrize("changes", CANNOT_DRAFT.values(), ids=CANNOT_DRAFT)
def test_bundles_that_cannot_draft_are_known_before_they_are_compiled(bundle_of, changes):
    bundle = bundle_of(changes)
    assert not litert._check(bundle, litert._models(bundle))


def test_a_drafter_with_an_input_of_the_runtime_is_refused(bundle_of):
    bundle = bundle_of(changed(names.DRAFTER, lambda all_: tuple(map(with_local_mask, all_))))
    with pytest.raises(BundleError, match=r"the drafter takes local_mask.*--engine"):
        litert._check(bundle, litert._models(bundle))


@pytest.mark.parametrize("sections", [(), (names.TARGET,), (names.DRAFTER,), (names.TARGET, names.DRAFTER)])
def test_a_bundle_can_draft_with_param_tensor_and_without(bundle_of, sections):
    """`sections` are those without: bundles for the CPU alone."""
    without_it = {name: tuple(without(one, names.PARAM_TENSOR) for one in sound()[name]) for name in sections}
    bundle = bundle_of(sound() | without_it)
    assert litert._check(bundle, litert._models(bundle))


def test_sections_without_signatures_and_unknown_names(int8):
    summary = int8.model(names.EMBEDDER)
    with pytest.raises(BundleError, match="has no signature in section embedder"):
        Graph(int8, names.EMBEDDER, replace(summary, signatures=()), Environment(), 1)
    with pytest.raises(BundleError, match="has no section encoder"):
        Graph(int8, "encoder", summary, Environment(), 1)
    with pytest.raises(BundleError, match="section embedder has no signature 'draw'; it has embed"):
        Graph(int8, names.EMBEDDER, summary, Environment(), 1).signature("draw")


@dataclass
class Sized:
    """A call that only has shapes."""

    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]

    def run(self) -> None:
        raise AssertionError


def sized(count: int, rows: int) -> Sized:
    return Sized({names.INPUT_POS: np.zeros(count, np.int32), names.MASK: np.zeros((1, 1, count, rows))}, {})


@pytest.mark.parametrize(("promised", "context"), [(0, 92), (50, 50), (92, 92), (93, 92), (4096, 92)])
def test_the_context_ends_where_a_chunk_would_pass_the_last_row(promised, context):
    calls = litert.TargetCalls(sized(1, 100), None, [sized(8, 100), sized(64, 100)], sized(1, 100), sized(4, 100))
    assert GraphTarget(calls, promised).context_tokens == context
