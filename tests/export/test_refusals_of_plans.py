"""Wrong recipes, machines, outputs and installations: each has its own message, and nothing is written or lost."""

import importlib.metadata
import json
from collections.abc import Callable

import pytest

from edge_mtp.convert import preflight
from edge_mtp.convert.pipeline import ExportRequest, prepare
from edge_mtp.errors import ResourceError
from tests.export.checkpoints import change_json
from tests.export.recipes import INT8, changed
from tests.export.refusal import check_refused, invoke
from tests.export.tree import contents

# Recipes.


def test_unknown_key_with_the_nearest_right_one(pair, refused, recipe):
    options = recipe(changed(INT8, "draft_steps = 3", "draft_step = 3"))
    refused(pair, f'{options[1]}: unknown key [lengths] draft_step; did you mean "draft_steps"?', options=options)


def test_rule_that_matches_nothing(pair, refused, recipe):
    rule = """
[[weights]]
section = "target"
tensor = 'layers\\.\\d+\\.mlp\\.upp_proj\\.weight'
dtype = "int4"
reason = "misspelt"
"""
    refused(
        pair,
        'recipe "tiny" does not fit this checkpoint',
        "rule 2 (section target",
        'decides no weight: no name matches; did you mean "layers.0.mlp.up_proj.weight"?',
        options=recipe(INT8 + rule),
    )


def test_context_beyond_the_checkpoints(pair, refused, recipe):
    options = recipe(changed(INT8, "context_tokens = 1024", "context_tokens = 8192"))
    refused(
        pair, "promises 8192 tokens of context", "(max_position_embeddings); set context_tokens = 4096", options=options
    )


def test_clustered_head_that_the_drafter_lacks(pair, refused, recipe):
    change_json(pair.drafter / "config.json", "use_ordered_embeddings", False)
    options = recipe(changed(INT8, 'head = "dense"', 'head = "clustered"'))
    refused(pair, "asks for the clustered head, but this drafter has none", 'set head = "dense"', options=options)


def test_missing_recipe_file_is_a_usage_error(pair, refused, tmp_path):
    refused(pair, "--recipe", "does not exist", options=("--recipe", tmp_path / "absent.toml"), code=2)


# The machine.


def disk_of(free_bytes: int) -> Callable[[object], object]:
    return lambda place: type("Usage", (), {"free": free_bytes})


def test_disk_too_small(pair, refused, tmp_path, monkeypatch):
    monkeypatch.setattr(preflight.shutil, "disk_usage", disk_of(10 << 20))
    for options in ((), ("--dry-run",)):
        refused(pair, f"{tmp_path} has 0.0 GB free, this export needs about 0.1 GB there; free some", options=options)


def test_memory_too_small(pair, refused, monkeypatch):
    monkeypatch.setattr(preflight, "available_memory_bytes", lambda: 600 << 20)
    for options in ((), ("--dry-run",)):
        refused(pair, "0.6 GB of memory are free, this export needs about 1.", options=options)


def test_room_that_finished_stages_take_is_not_asked_for_again(pair, tmp_path, monkeypatch):
    """Else an export that was killed late could not be resumed on a disk that held it at first."""
    request = ExportRequest(str(pair.target), str(pair.drafter), tmp_path / "out.litertlm")
    plan = prepare(request).plan
    finished = 20 << 20
    free = preflight.needed_disk_bytes(plan) - finished
    monkeypatch.setattr(preflight.shutil, "disk_usage", disk_of(free))
    with pytest.raises(ResourceError):
        preflight.check_resources(plan, request.work, request.output)
    request.work.mkdir()
    (request.work / "target-0123456789abcdef0123.tflite").write_bytes(bytes(finished))
    preflight.check_resources(plan, request.work, request.output)
    monkeypatch.setattr(preflight.shutil, "disk_usage", disk_of(free - 1))
    with pytest.raises(ResourceError):
        preflight.check_resources(plan, request.work, request.output)


# The output.


def test_existing_output(pair, tmp_path):
    output = tmp_path / "out.litertlm"
    output.write_bytes(b"older")
    before = contents(tmp_path)
    result = invoke("export", pair.target, pair.drafter, "--output", output)
    check_refused(result, f"{output} exists; give another --output, or --overwrite to replace it")
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.task", "must end in .litertlm; LiteRT-LM tells bundles by that"),
        ("absent/model.litertlm", "absent does not exist; make it, or give another --output"),
        ("pair", "is a directory; give a file name such as"),
    ],
)
def test_outputs_that_cannot_be(pair, tmp_path, name, message):
    before = contents(tmp_path)
    check_refused(invoke("export", pair.target, pair.drafter, "--output", tmp_path / name), message)
    assert contents(tmp_path) == before


def test_work_directory_that_is_a_file(pair, tmp_path):
    (tmp_path / "work").write_text("mine")
    command = ("export", pair.target, pair.drafter, "--output", tmp_path / "out.litertlm")
    check_refused(
        invoke(*command, "--work-dir", tmp_path / "work" / "deeper"), "cannot write", "give another --work-dir"
    )
    assert (tmp_path / "work").read_text() == "mine"


# The installation, and the other command.


def test_without_the_export_extra(pair, refused, monkeypatch):
    def version(package):
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, "version", version)
    refused(pair, "exporting needs torch and litert-torch", "pip install 'edge-mtp[export]'")


def test_inspecting_what_is_no_whole_bundle(exported, tmp_path):
    whole = exported().read_bytes()
    path = tmp_path / "x.litertlm"
    path.write_bytes(whole[: len(whole) // 2])
    check_refused(invoke("inspect", path), f"{path} is cut short: section")
    path.write_bytes(whole[:40] + bytes(400) + whole[440:])
    check_refused(invoke("inspect", path), f"{path}: the header is damaged")
    path.write_bytes(b"")
    check_refused(invoke("inspect", path), f"cannot read {path}: it is empty")
    path.write_text(json.dumps({"a": 1}))
    check_refused(invoke("inspect", path), f"{path} is not a .litertlm bundle")
    check_refused(invoke("inspect", tmp_path / "absent"), "does not exist", code=2)


def test_usage_errors():
    check_refused(invoke("export"), "Missing argument 'TARGET'", code=2)
    check_refused(invoke("export", "a", "b"), "Missing option '--output'", code=2)
    check_refused(invoke("exprot"), "No such command 'exprot'", code=2)
