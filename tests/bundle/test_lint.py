"""Every lint code has a mutation of the sound bundle that triggers it, and nothing else."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from edge_mtp import names
from edge_mtp.bundle.contents import kv_memory, read_contents
from edge_mtp.bundle.findings import Severity
from edge_mtp.bundle.inspection import inspect_bundle
from edge_mtp.bundle.lint import has_kernel
from edge_mtp.bundle.lint import lint as lint_contents
from tests.bundle import models
from tests.bundle.edits import TARGET, changed_tensor, drafter, edit, executor, target, without
from tests.bundle.models import CONTEXT, DONORS, DRAFTS, HIDDEN, LAYERS, ROWS, WINDOW, TensorSpec

replace = dataclasses.replace


def lint(path):
    return lint_contents(read_contents(path))


def codes(path):
    return {finding.code for finding in lint(path)}


BIG = TensorSpec("layers.0.big.weight", (4000, 4000))

MODEL_MUTATIONS = [
    ("no-drafter", {names.DRAFTER: None}),
    ("missing-section", {names.PER_LAYER_EMBEDDER: None}),
    ("missing-section", {names.EMBEDDER: None}),
    ("missing-signature", {names.TARGET: TARGET[1:]}),
    ("missing-signature", {names.TARGET: TARGET[:2]}),
    ("verify-rows", {names.TARGET: (*TARGET[:2], models.target_signature(names.VERIFY, 1))}),
    ("missing-tensor", target(names.VERIFY, outputs=lambda old: without(old, names.ACTIVATIONS))),
    ("missing-tensor", target(names.DECODE, outputs=lambda old: without(old, names.ACTIVATIONS))),
    ("missing-tensor", target(names.VERIFY, inputs=lambda old: without(old, names.MASK))),
    ("missing-tensor", target(names.prefill(16), inputs=lambda old: without(old, names.PER_LAYER_EMBEDDINGS))),
    ("missing-tensor", target(names.VERIFY, outputs=lambda old: without(old, names.kv_key(0)))),
    ("missing-tensor", drafter(inputs=lambda old: without(old, names.INPUT_POS))),
    ("missing-tensor", drafter(outputs=lambda old: without(old, names.PROJECTED_ACTIVATIONS))),
    ("missing-tensor", {names.EMBEDDER: edit(models.all_models()[names.EMBEDDER], names.EMBED, inputs=lambda old: ())}),
    ("tensor-shape", target(names.VERIFY, inputs=lambda old: changed_tensor(old, names.MASK, shape=(1, 1, 3, ROWS)))),
    ("tensor-shape", target(names.prefill(16), inputs=lambda old: changed_tensor(old, names.INPUT_POS, shape=(1,)))),
    ("tensor-shape", drafter(inputs=lambda old: changed_tensor(old, names.ACTIVATIONS, shape=(1, 1, HIDDEN)))),
    ("tensor-shape", drafter(outputs=lambda old: changed_tensor(old, names.LOGITS, shape=(1, 1, 99)))),
    ("kv-mismatch", {names.DRAFTER: (models.drafter_signature(dtype="INT8"),)}),
    ("kv-mismatch", drafter(inputs=lambda old: (*old, *models.caches([LAYERS])))),
    ("kv-mismatch", target(names.VERIFY, inputs=lambda old: changed_tensor(old, names.kv_key(0), dtype="INT8"))),
    ("cache-name", drafter(inputs=lambda old: (*old, TensorSpec("k_cache_1", (1, 1, ROWS, 4))))),
    ("unknown-tensor", target(names.DECODE, inputs=lambda old: (*old, TensorSpec("extra", (1,))))),
    ("several-signatures", {names.EMBEDDER: models.all_models()[names.EMBEDDER] * 2}),
    ("custom-op", drafter(customs=lambda old: ("Secret",))),
    ("composite-op", target(names.DECODE, composites=lambda old: ("odml.softmax",))),
    ("wide-weights", target(names.DECODE, weights=lambda old: (*old, BIG))),
    ("bad-scale", drafter(weights=lambda old: (TensorSpec("w", (2, 4), "INT8", (0.0, 1.0)),))),
]


@pytest.mark.parametrize(("code", "changes"), MODEL_MUTATIONS)
def test_each_change_of_a_model_triggers_its_code_alone(bundle_with, code, changes):
    assert codes(bundle_with(changes)) == {code}


def metadata(plan, change):
    changed = type(plan.llm_metadata)()
    changed.CopyFrom(plan.llm_metadata)
    change(changed)
    return {"llm_metadata": changed}


def _make_generic(proto):
    proto.llm_model_type.generic_model.SetInParent()


def _unknown_stop(proto):
    proto.stop_tokens.add().token_ids.ids.append(9999)


def _calls_a_missing_method(proto):
    proto.jinja_prompt_template = "{{ messages[0].get('a', {})['b'] }}<turn|>"


LLM_MUTATIONS = [
    ("model-type", _make_generic),
    ("model-type", lambda proto: proto.ClearField("llm_model_type")),
    ("no-template", lambda proto: proto.ClearField("jinja_prompt_template")),
    ("template-method", _calls_a_missing_method),
    ("no-stop-tokens", lambda proto: proto.ClearField("stop_tokens")),
    ("unknown-stop-token", _unknown_stop),
    ("turn-end-not-stop", lambda proto: proto.stop_tokens.pop()),
    ("no-max-tokens", lambda proto: proto.ClearField("max_num_tokens")),
    ("short-cache", lambda proto: setattr(proto, "max_num_tokens", ROWS)),
    ("tight-cache", lambda proto: setattr(proto, "max_num_tokens", ROWS - DRAFTS)),
]


@pytest.mark.parametrize(("code", "change"), LLM_MUTATIONS)
def test_each_change_of_the_metadata_triggers_its_code_alone(plan, bundle_with, code, change):
    assert codes(bundle_with(**metadata(plan, change))) == {code}


EXECUTOR_MUTATIONS = [
    ("executor-mismatch", lambda proto: setattr(proto.state_buffers[0], "decode_input_name", "k_cache_0")),
    ("executor-mismatch", lambda proto: setattr(proto.state_buffers[0], "sequence_axis", 3)),
    ("executor-mismatch", lambda proto: proto.state_buffers[0].ClearField("sequence_axis")),
    ("local-full-cache", lambda proto: setattr(proto.state_buffers[0], "type", 3)),
]


@pytest.mark.parametrize(("code", "change"), EXECUTOR_MUTATIONS)
def test_each_change_of_the_executor_metadata_triggers_its_code_alone(bundle_with, code, change):
    as_well = {"gpu-local-cache"} if code == "local-full-cache" else set()  # declared local is two mistakes
    assert codes(bundle_with(**executor(change))) == {code} | as_well


def test_op_without_a_kernel_is_in_the_way_of_the_cpu_and_of_the_gpu(bundle_with):
    assert codes(bundle_with(drafter(ops=lambda old: ("STABLEHLO_SORT",)))) == {"unregistered-op", "gpu-operator"}


def test_composites_that_were_run_on_a_gpu_are_no_finding(bundle_path):
    assert lint(bundle_path) == []
    assert set(read_contents(bundle_path).models[names.DRAFTER].composites) == {"odml.runtime_bmm"}


def test_a_sound_bundle_has_no_findings(bundle_path):
    assert lint(bundle_path) == []


def test_activation_type_left_to_the_gpu_is_a_warning(bundle_with):
    found = lint(bundle_with(activation=None))
    assert {finding.where for finding in found} == {names.TARGET, names.DRAFTER}
    assert {(finding.code, finding.severity) for finding in found} == {("activation-type", Severity.WARNING)}


def test_context_that_fits_without_drafts_is_sound(bundle_with, plan):
    path = bundle_with({names.DRAFTER: None}, **metadata(plan, lambda proto: setattr(proto, "max_num_tokens", ROWS)))
    assert codes(path) == {"no-drafter"}


@pytest.mark.parametrize(
    ("data_type", "code"), [("LlmMetadataProto", "no-llm-metadata"), ("HF_Tokenizer_Zlib", "no-tokenizer")]
)
def test_missing_metadata_or_tokenizer(bundle_path, data_type, code):
    contents = read_contents(bundle_path)
    absent = {"llm_metadata": None} if data_type == "LlmMetadataProto" else {"tokenizer_kind": None, "tokens": {}}
    assert {finding.code for finding in lint_contents(replace(contents, **absent))} == {code}


def test_short_weight(bundle_path):
    contents = read_contents(bundle_path)
    model = contents.models[names.TARGET]
    first, *rest = model.weights
    broken = replace(model, weights=(replace(first, data_bytes=first.data_bytes - 1), *rest))
    changed = replace(contents, models={**contents.models, names.TARGET: broken})
    assert {finding.code for finding in lint_contents(changed)} == {"short-weight"}


def test_verdict_names_each_thing_that_is_missing(bundle_with):
    inspection = inspect_bundle(bundle_with({names.DRAFTER: None, names.TARGET: TARGET[:2]}))
    assert not inspection.mtp.possible
    assert inspection.mtp.draft_steps is None
    text = "\n".join(inspection.mtp.missing)
    assert "tf_lite_mtp_drafter" in text
    assert "no signature verify" in text


def test_verdict_of_a_sound_bundle(bundle_path):
    mtp = inspect_bundle(bundle_path).mtp
    assert (mtp.possible, mtp.draft_steps, mtp.missing) == (True, DRAFTS, ())


def test_kv_memory_grows_with_the_context_but_not_for_rings(bundle_path, bundle_with):
    full = kv_memory(read_contents(bundle_path))
    per_row = LAYERS * 2 * models.HEAD_DIM * 4
    assert (full.row_bytes, full.rows, full.size_bytes) == (per_row, ROWS, per_row * ROWS)
    assert full.by_context[1024] == per_row * (1024 + DRAFTS + 1)

    ring = (*models.caches([0], WINDOW), *models.caches([1, 2]))
    signature = replace(models.target_signature(names.DECODE, 1), inputs=ring, outputs=ring)
    mixed = kv_memory(read_contents(bundle_with({names.TARGET: (signature,)})))
    assert mixed.row_bytes == per_row * 2 // 3
    assert mixed.size_bytes == per_row // 3 * WINDOW + per_row * 2 // 3 * ROWS


def with_ring():
    """A target whose first layer has a ring of WINDOW rows, in every signature."""

    def ringed(signature):
        rings, sides = models.caches([0], WINDOW), {}
        replaced = {one.name for one in rings}
        for side in ("inputs", "outputs"):
            sides[side] = (*(one for one in getattr(signature, side) if one.name not in replaced), *rings)
        return replace(signature, **sides)

    return {names.TARGET: tuple(map(ringed, models.all_models()[names.TARGET]))}


def test_a_ring_that_is_declared_global_limits_the_context(bundle_with):
    def as_the_ring(proto):
        for buffer in proto.state_buffers[:2]:
            buffer.maximum_sequence_length = WINDOW

    found = inspect_bundle(bundle_with(with_ring(), **executor(as_the_ring))).findings
    said = [one.message for one in found if one.code == "global-ring"]
    assert len(said) == 2 and all(f"takes its {WINDOW} rows for the longest context" in one for one in said)
    assert "global-ring" not in codes(bundle_with(with_ring(), executor_metadata=None))


PROBE_KERNELS = """
import json, sys
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from tests.bundle.models import SignatureSpec, TensorSpec, build_tflite

ops = [name for name in vars(schema.BuiltinOperator) if name.startswith("STABLEHLO_")]
missing = []
for op in [*ops, "CALL", "CONCAT_EMBEDDINGS", "FULLY_CONNECTED", "TOPK_V2", "GATHER", "EMBEDDING_LOOKUP"]:
    model = build_tflite([SignatureSpec("x", (TensorSpec("a", (1, 4)),), (TensorSpec("b", (1, 4)),), (), (op,))])
    try:
        Interpreter(model_content=model)
    except (RuntimeError, ValueError) as error:
        if "find op for builtin" in str(error):
            missing.append(op)
print(json.dumps({"tried": len(ops), "missing": missing}))
"""


def test_ops_without_kernel_are_those_the_interpreter_refuses():
    root = Path(__file__).parents[2]
    probe = subprocess.run([sys.executable, "-c", PROBE_KERNELS], capture_output=True, text=True, check=True, cwd=root)
    found = json.loads(probe.stdout.splitlines()[-1])
    assert found["tried"] > 40
    assert "STABLEHLO_SORT" in found["missing"]
    assert not [op for op in found["missing"] if has_kernel(op)]
    from ai_edge_litert import schema_py_generated as schema

    ours = {op for op in vars(schema.BuiltinOperator) if not op.startswith("_") and not has_kernel(op)}
    assert ours == set(found["missing"])


def test_figures_of_the_fixture_are_those_the_mutations_rely_on():
    assert CONTEXT + DRAFTS + 1 == ROWS
    assert max(DONORS) < LAYERS
