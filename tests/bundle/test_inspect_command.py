import json

from click.testing import CliRunner

from edge_mtp import names
from edge_mtp.commands.inspect import inspect
from edge_mtp.errors import BundleError
from tests.bundle import models
from tests.bundle.edits import attributes, drafter, without


def run(*arguments):
    return CliRunner(env={"COLUMNS": "160"}).invoke(inspect, [str(argument) for argument in arguments])


def test_sound_bundle(bundle_path):
    result = run(bundle_path)
    assert result.exit_code == 0, result.output
    for text in (
        "tf_lite_mtp_drafter",
        "kv_cache_k_{0,1,2} [1,1,64,4] float32",
        "layers.*.mlp.up_proj ",
        "int4/32",
        "KV cache: 96 bytes a token",
        "MTP possible: yes, 3 draft steps",
        "MTP on the GPU: yes\n",
        "Findings: none",
    ):
        assert text in result.output


def test_error_found_is_a_failed_gate(bundle_with):
    result = run(bundle_with({names.DRAFTER: (models.drafter_signature(dtype="INT8"),)}))
    assert result.exit_code == 3
    assert "MTP possible: no" in result.output
    assert "kv-mismatch" in result.output


def test_what_is_in_the_way_of_the_gpu_is_said_once_and_fails_nothing(bundle_with):
    result = run(bundle_with(drafter(inputs=lambda old: without(old, names.PARAM_TENSOR))))
    assert result.exit_code == 0
    assert "MTP possible: yes" in result.output
    assert "MTP on the GPU: no, in the way:\n  • drafter: draft: no input param_tensor" in result.output
    assert result.output.count("no input param_tensor") == 1
    assert "Findings: no others" in result.output


def test_silent_wrongness_on_the_gpu_is_a_warning_too(bundle_with):
    result = run(bundle_with(drafter(operators=attributes("odml.runtime_bmm", "kv_cache_k_1", rhs_cache_update=False))))
    assert result.exit_code == 0
    assert "warning gpu-composite" in result.output


def test_json_has_the_verdict_on_the_gpu(bundle_path, bundle_with):
    assert json.loads(run(bundle_path, "--json").output)["mtp_on_gpu"] == {
        "possible": True,
        "missing": [],
        "doubts": [],
    }
    changed = json.loads(run(bundle_with({names.DRAFTER: None}), "--json").output)
    assert changed["mtp_on_gpu"]["possible"] is False
    assert changed["mtp_on_gpu"]["missing"] == ["bundle: MTP is not possible on any backend"]


def test_warnings_do_not_fail(bundle_with):
    result = run(bundle_with(activation=None))
    assert result.exit_code == 0
    assert "MTP on the GPU: yes, but:" in result.output
    assert "warning activation-type" in result.output


def test_json_has_everything_the_tables_have(bundle_path):
    result = run(bundle_path, "--json")
    value = json.loads(result.output)
    assert result.exit_code == 0
    assert value["mtp"] == {"possible": True, "draft_steps": 3, "missing": []}
    drafter = next(section for section in value["sections"] if section["name"] == names.DRAFTER)
    assert drafter["weights"][0]["stored_as"] == "int4/32"
    assert {"name": "logits", "shape": [1, 1, models.VOCAB], "dtype": "FLOAT32"} in drafter["signatures"][0]["outputs"]
    assert value["llm_metadata"]["max_num_tokens"] == models.CONTEXT
    assert value["kv_cache"]["by_context"]["4096"] == 96 * (4096 + 4)
    assert value["findings"] == []


def test_json_of_a_bundle_with_an_error_still_fails_the_gate(bundle_with):
    result = run(bundle_with({names.TARGET: models.target_signatures()[:2]}), "--json")
    assert result.exit_code == 3
    assert json.loads(result.output)["findings"][0]["severity"] == "error"


def test_damaged_bundle_is_refused(tmp_path):
    path = tmp_path / "x.litertlm"
    path.write_bytes(b"LITERTLM")
    result = run(path)
    assert isinstance(result.exception, BundleError)
    assert result.exception.exit_code == 1


def test_missing_file_is_a_usage_error(tmp_path):
    assert run(tmp_path / "absent").exit_code == 2


def test_markup_in_names_is_printed_as_it_is(bundle_with):
    strange = models.embedder_signature("[red]oops[/]", (1, 1, models.HIDDEN))
    assert "[red]oops[/]" in run(bundle_with({names.EMBEDDER: (strange,)})).output
