"""Every reason why a bundle cannot draft on the GPU has a change of the sound bundle that brings it, and it alone."""

from dataclasses import replace

import pytest

from edge_mtp import names
from edge_mtp.bundle.findings import Severity, has_errors
from edge_mtp.bundle.inspection import inspect_bundle
from tests.bundle.attention import CACHE_UPDATE, OVER_KEYS, PARAM, RUNTIME_BMM
from tests.bundle.edits import attributes, drafter, executor, reworked, target, without
from tests.bundle.flatbuffer import OperatorSpec, TensorSpec
from tests.bundle.models import DONORS, HEAD_DIM, ROWS, caches

DONOR_KEYS, DONOR_VALUES = names.kv_key(DONORS[0]), names.kv_value(DONORS[0])
SCALAR, ROW, WIDE = TensorSpec("scalar", ()), TensorSpec("row", (1, 4)), TensorSpec("wide", (1, 1, 1, 1, 4))
IDS, ROWS_OF_IDS = TensorSpec("ids", (1,), "INT32"), TensorSpec("rows_of_ids", (1, 4))
SEEN, PAIR = TensorSpec("seen", (1, 4), "BOOL"), TensorSpec("pair", (2, 4))
NORM, RESHAPED, SCALED = TensorSpec("norm", (4,)), TensorSpec("reshaped", (1, 4)), TensorSpec("scaled", (1, 4))


def added(*operators, weights=()):
    """The drafter with operators more, which touch nothing of the others."""
    return drafter(operators=lambda old: (*old, *operators), weights=lambda old: (*old, *weights))


def plain_write(old):
    """`odml.cache_update` as two updates of slices."""
    if old.name != CACHE_UPDATE:
        return [old]
    key, value, _, keys, values, row, column = old.inputs
    write = "DYNAMIC_UPDATE_SLICE"
    return [OperatorSpec(write, (keys, key, row), (keys,)), OperatorSpec(write, (values, value, column), (values,))]


def plain_matmul(old):
    return [replace(old, name="BATCH_MATMUL", attributes=None)] if old.name == RUNTIME_BMM else [old]


def turned_keys(old):
    """Keys transposed before the matmul reads them."""
    if old.name != RUNTIME_BMM or old.inputs[1].name != DONOR_KEYS:
        return [old]
    turned = TensorSpec("turned", (1, 1, ROWS, HEAD_DIM))
    return [
        OperatorSpec("TRANSPOSE", (old.inputs[1],), (turned,)),
        replace(old, inputs=(old.inputs[0], turned, PARAM)),
    ]


def mask_by(*path):
    """The select in front of a softmax replaced by a chain of operators."""

    def rework(old):
        if old.name != "SELECT_V2":
            return [old]
        results = [*(replace(old.outputs[0], name=f"{old.outputs[0].name} {i}") for i in path[:-1]), old.outputs[0]]
        operands = [old.inputs[1], *results]
        return [OperatorSpec(name, (operands[i], old.inputs[2]), (results[i],)) for i, name in enumerate(path)]

    return {"operators": reworked(rework)}


def no_writes(old):
    return [] if old.name == CACHE_UPDATE else [old]


def without_param(old):
    """A composite that is not told which rows are in use."""
    return [replace(old, inputs=old.inputs[:2])] if old.name == RUNTIME_BMM else [old]


def wrong_param(old):
    longer = replace(PARAM, name="longer", shape=(1, 1, 1, 8))
    return [replace(old, inputs=(*old.inputs[:2], longer))] if old.name == RUNTIME_BMM else [old]


def two_operands(old):
    return [replace(old, inputs=old.inputs[:2])] if old.name == CACHE_UPDATE else [old]


RING = attributes(CACHE_UPDATE, "kv_cache_k_0", is_ring_buffer=True)
REASONS = [
    ("no-param-tensor", drafter(inputs=lambda old: without(old, PARAM.name)), "drafter: draft: no input param_tensor"),
    (
        "no-param-tensor",
        target(names.VERIFY, inputs=lambda old: without(old, PARAM.name)),
        "target: verify: no input param_tensor",
    ),
    ("cache-name", drafter(inputs=lambda old: (*old, TensorSpec("k_cache_1", (1,)))), "k_cache_1 are no KV caches"),
    (
        "gpu-kv-write",
        target(names.DECODE, operators=reworked(plain_write)),
        "target: decode: kv_cache_k_0 and others written by DYNAMIC_UPDATE_SLICE",
    ),
    ("gpu-kv-write", target(names.prefill(16), operators=reworked(no_writes)), "written by nothing"),
    ("gpu-kv-read", drafter(operators=reworked(plain_matmul)), "kv_cache_k_1 and others read by BATCH_MATMUL"),
    ("gpu-kv-read", target(names.VERIFY, operators=reworked(plain_matmul)), "verify: kv_cache_k_0 and others read by"),
    ("gpu-kv-read", drafter(operators=reworked(turned_keys)), "kv_cache_k_1 read by TRANSPOSE"),
    (
        "gpu-composite",
        drafter(operators=attributes(RUNTIME_BMM, DONOR_KEYS, rhs_cache_update=False)),
        "no rhs_cache_update=true",
    ),
    (
        "gpu-composite",
        drafter(operators=attributes(RUNTIME_BMM, DONOR_VALUES, rhs_cache_update=None)),
        "no rhs_cache_update=true",
    ),
    ("gpu-composite", drafter(operators=attributes(RUNTIME_BMM, DONOR_KEYS, is_global=None)), "no attribute is_global"),
    ("gpu-composite", drafter(operators=attributes(RUNTIME_BMM, DONOR_VALUES, is_src=None)), "no attribute is_src"),
    (
        "gpu-composite",
        target(names.DECODE, operators=attributes(RUNTIME_BMM, "kv_cache_v_0", is_src=False)),
        "over values has is_src=false, needed true",
    ),
    ("gpu-composite", drafter(operators=reworked(without_param)), "has 2 runtime operands, the GPU takes 3"),
    ("gpu-composite", drafter(operators=reworked(wrong_param)), "has [1, 1, 1, 8] as operand 2, needed param_tensor"),
    (
        "gpu-composite",
        target(names.DECODE, operators=attributes(CACHE_UPDATE, "kv_cache_k_0", cache_size=ROWS - 1)),
        f"has cache_size {ROWS - 1}, needed {ROWS}",
    ),
    (
        "gpu-composite",
        target(names.DECODE, operators=attributes(CACHE_UPDATE, "kv_cache_k_0", head_size=None)),
        f"has head_size missing, needed {HEAD_DIM}",
    ),
    ("gpu-composite", target(names.DECODE, operators=reworked(two_operands)), "has 2 runtime operands and 2 results"),
    ("gpu-composite", target(names.DECODE, operators=RING), "of a ring buffer takes param_tensor as it is given"),
    ("gpu-mask", drafter(**mask_by("ADD")), "meet ADD before a select"),
    ("gpu-mask", target(names.DECODE, **mask_by("MUL", "ADD")), "meet ADD before a select"),
    ("gpu-mask", target(names.DECODE, **mask_by("RESHAPE")), "meet SOFTMAX before a select"),
    ("gpu-operator", added(OperatorSpec("SCATTER_ND", (IDS, ROW), (SCALED,))), "SCATTER_ND is unknown to it"),
    (
        "gpu-operator",
        added(OperatorSpec("EMBEDDING_LOOKUP", (IDS, NORM), (ROWS_OF_IDS,)), weights=(NORM,)),
        "EMBEDDING_LOOKUP outside the embedders' sections",
    ),
    (
        "gpu-operator",
        added(OperatorSpec("RESHAPE", (NORM,), (RESHAPED,)), weights=(NORM,)),
        "RESHAPE of constants only",
    ),
    ("gpu-operator", added(OperatorSpec("ADD", (ROW, SCALAR), (SCALED,))), "ADD with a computed operand of rank 0"),
    ("gpu-operator", added(OperatorSpec("SELECT", (SEEN, PAIR, ROW), (PAIR,))), "SELECT that broadcasts more than"),
    ("gpu-operator", added(OperatorSpec("NEG", (WIDE,), (WIDE,))), "NEG with more than 4 dimensions"),
]


@pytest.mark.parametrize(("code", "changes", "words"), REASONS)
def test_each_reason_alone_keeps_a_bundle_from_drafting_on_the_gpu(bundle_with, code, changes, words):
    inspection = inspect_bundle(bundle_with(changes))
    assert {finding.code for finding in inspection.findings} == {code}
    assert not inspection.gpu.possible and inspection.gpu.doubts == ()
    assert words in "\n".join(inspection.gpu.missing)
    assert inspection.mtp.possible, "on the CPU it drafts"
    assert not has_errors(inspection.findings)


def test_the_sound_bundle_drafts_on_the_gpu(bundle_path):
    gpu = inspect_bundle(bundle_path).gpu
    assert (gpu.possible, gpu.missing, gpu.doubts) == (True, (), ())


OWN_CACHE = attributes(RUNTIME_BMM, "kv_cache_k_0", rhs_cache_update=None)
SCALED_CACHE = attributes(RUNTIME_BMM, DONOR_KEYS, rhs_cache_update=None, scale=0.5)
HARMLESS = [
    target(names.DECODE, operators=OWN_CACHE),
    drafter(operators=SCALED_CACHE),
    drafter(**mask_by("TANH", "MUL", "SELECT")),
    added(OperatorSpec("MUL", (NORM, NORM), (SCALED,)), weights=(NORM,)),
    added(OperatorSpec("MUL", (ROW, SCALAR), (SCALED,)), weights=(SCALAR,)),
    added(OperatorSpec("RESHAPE", (SCALAR,), (RESHAPED,))),
    added(OperatorSpec("SELECT", (SEEN, PAIR, SCALAR), (PAIR,)), weights=(SCALAR,)),
]


@pytest.mark.parametrize("changes", HARMLESS)
def test_what_the_gpu_takes_is_no_reason(bundle_with, changes):
    inspection = inspect_bundle(bundle_with(changes))
    assert inspection.gpu.possible and inspection.findings == ()


def computed_param(old):
    """A ring's `odml.cache_update` with a param of its own, as a graph has it that knows the number of new rows."""
    if old.name != CACHE_UPDATE:
        return [old]
    own = replace(PARAM, name="own_param")
    return [replace(old, inputs=(*old.inputs[:2], own, *old.inputs[3:]))]


def test_ring_buffers_that_count_for_themselves_are_sound(bundle_with):
    """tests/gpu runs them; that a ring without such a param is refused is among the reasons above."""
    changes = target(names.DECODE, operators=lambda old: reworked(computed_param)(RING(old)))
    gpu = inspect_bundle(bundle_with(changes)).gpu
    assert gpu.possible and gpu.doubts == ()


def test_a_local_cache_that_prefill_does_not_read_is_in_the_way(bundle_with):
    """The GPU then finds no buffer for prefill's input; declared global it is in nobody's way."""
    local = executor(lambda proto: setattr(proto.state_buffers[0], "type", 3))
    gpu = inspect_bundle(bundle_with(**local)).gpu
    assert not gpu.possible and any("kv_cache_k_0, declared local" in one for one in gpu.missing), gpu

    assert inspect_bundle(bundle_with()).gpu.possible


def test_composites_that_nobody_ran_are_a_doubt(bundle_with):
    gpu = inspect_bundle(bundle_with(target(names.DECODE, composites=lambda old: ("odml.softmax",)))).gpu
    assert gpu.possible and "odml.softmax × 1" in gpu.doubts[0]


def test_fp16_activations_are_a_doubt(bundle_with):
    gpu = inspect_bundle(bundle_with(activation="fp16")).gpu
    assert gpu.possible and len(gpu.doubts) == 2
    assert "prefer_activation_type is fp16" in gpu.doubts[0]


def test_caches_of_other_types_are_a_doubt(bundle_with):
    def narrow(tensors):
        return tuple(replace(one, dtype="INT8") if one.name.startswith("kv_cache_") else one for one in tensors)

    changes = {}
    for key in (names.prefill(16), names.DECODE, names.VERIFY):
        (changes[key],) = (one for one in target(key, inputs=narrow, outputs=narrow)[names.TARGET] if one.key == key)
    changed = {names.TARGET: tuple(changes.values()), **drafter(inputs=narrow)}
    gpu = inspect_bundle(bundle_with(changed)).gpu
    assert gpu.possible and gpu.doubts == ("target: decode: KV caches of int8 were not tried on a GPU",)


def test_a_bundle_without_a_drafter_drafts_nowhere(bundle_with):
    inspection = inspect_bundle(bundle_with({names.DRAFTER: None}))
    assert inspection.gpu.missing == ("bundle: MTP is not possible on any backend",)
    assert [finding.code for finding in inspection.findings] == ["no-drafter"]


PLAIN = reworked(plain_write)


def test_wrong_text_is_a_warning_and_what_only_lacks_is_worth_knowing(bundle_with):
    """With `param_tensor` the GPU writes other text, with MTP off too; without it only MTP is missing."""
    silent = inspect_bundle(bundle_with(target(names.DECODE, operators=PLAIN))).findings
    assert [finding.severity for finding in silent] == [Severity.WARNING]
    honest = {names.TARGET: target(names.DECODE, operators=PLAIN)[names.TARGET]}
    bare = tuple(replace(one, inputs=without(one.inputs, PARAM.name)) for one in honest[names.TARGET])
    findings = inspect_bundle(bundle_with({names.TARGET: bare})).findings
    assert {finding.code: finding.severity for finding in findings} == {
        "no-param-tensor": Severity.INFO,
        "gpu-kv-write": Severity.INFO,
    }
    assert findings[0].where == "target: prefill_16, decode, verify"


def test_attributes_are_read_as_they_were_written(bundle_path):
    graph = inspect_bundle(bundle_path).contents.models[names.DRAFTER].graphs[names.DRAFT]
    over_keys = next(operator for operator in graph.operators if operator.name == RUNTIME_BMM)
    assert over_keys.attributes == OVER_KEYS
    assert graph.producers.get(over_keys.inputs[1]) is None
    assert over_keys.inputs[1] == graph.inputs[DONOR_KEYS]
    assert {one.name for one in caches(DONORS)} < set(graph.inputs)
