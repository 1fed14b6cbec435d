"""Wrong inputs: each has its own message and exit code, no traceback, and nothing is written or lost."""

import importlib.metadata
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edge_mtp.checkpoint.tensors import SINGLE_FILE
from edge_mtp.cli import main
from edge_mtp.convert import preflight
from edge_mtp.convert.pipeline import ExportRequest, prepare
from edge_mtp.errors import ResourceError
from tests.export.checkpoints import TEXT, change_json, change_tensors, copy_pair, shard
from tests.export.command import run_export
from tests.export.recipes import INT8, changed
from tests.export.tree import contents
from tests.scale.checkpoint import PairPaths

UP = f"{TEXT}layers.3.mlp.up_proj.weight"
NAN = 0x7FC0


@pytest.fixture
def pair(tiny_pair, tmp_path) -> PairPaths:
    """A copy of the tiny pair to spoil."""
    return copy_pair(tiny_pair, tmp_path / "pair")


def invoke(*arguments: object) -> Result:
    environment = {"COLUMNS": "400", "HF_HUB_OFFLINE": "1"}
    return CliRunner(env=environment).invoke(main, [str(argument) for argument in arguments])


def check_refused(result: Result, *words: object, code: int = 1) -> None:
    """One message that says all of `words`, and no traceback."""
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    message = result.output[result.output.lower().index("error: ") :]
    for word in words:
        assert str(word) in message, message


@pytest.fixture
def refused(tmp_path) -> Callable[..., None]:
    """Exports to `tmp_path`, expects a refusal that says `words`, and that nothing was touched."""

    def export(pair: PairPaths, *words: object, options: tuple[object, ...] = (), code: int = 1) -> None:
        output = tmp_path / "out.litertlm"
        output.write_bytes(b"older")
        before = contents(tmp_path)
        command = ("export", pair.target, pair.drafter, "--output", output, "--overwrite", *options)
        check_refused(invoke(*command), *words, code=code)
        assert contents(tmp_path) == before

    return export


@pytest.fixture
def recipe(tmp_path) -> Callable[[str], tuple[object, ...]]:
    """The options that give a recipe's text."""

    def write(text: str) -> tuple[object, ...]:
        path = tmp_path / "recipe.toml"
        path.write_text(text)
        return "--recipe", path

    return write


def test_the_same_pair_unspoilt_is_not_refused(pair, tmp_path):
    """The control of this file: what the others change is what is refused."""
    result = invoke("export", pair.target, pair.drafter, "--output", tmp_path / "out.litertlm", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "warning" not in result.output


# Directories and files.


def test_missing_directory(pair, refused, tmp_path):
    absent = tmp_path / "absent"
    advice = "give a checkpoint directory or a hub id such as google/gemma-4-E2B-it"
    refused(PairPaths(absent, pair.drafter), f"{absent} does not exist; {advice}")
    refused(PairPaths(pair.target, absent), f"{absent} does not exist; {advice}")


def test_hub_id_without_a_network(pair, refused):
    nobody = PairPaths(Path("nobody/nothing"), pair.drafter)
    refused(nobody, "nobody/nothing is no directory here and cannot be downloaded", "connect to the network")


def test_directory_without_weights(pair, refused):
    (pair.target / SINGLE_FILE).unlink()
    refused(pair, f"{pair.target} has neither {SINGLE_FILE} nor", "found no weights at all")


def test_missing_shard(pair, refused):
    first, _ = shard(pair.target)
    first.unlink()
    refused(pair, f"{pair.target} lacks {first.name} (1 of 2 shards); the download is incomplete")


def test_truncated_shard(pair, refused):
    _, second = shard(pair.target)
    size = second.stat().st_size
    second.write_bytes(second.read_bytes()[:-1000])
    refused(pair, f"{second} is truncated: the header says {size} bytes, the file has {size - 1000}")


def test_sharded_checkpoint_that_is_whole(pair, tmp_path):
    shard(pair.target)
    result = invoke("export", pair.target, pair.drafter, "--output", tmp_path / "out.litertlm", "--dry-run")
    assert result.exit_code == 0, result.output


def test_wrong_shape(pair, refused):
    def cut(tensors):
        tensors[UP] = "BF16", np.ascontiguousarray(tensors[UP][1][:-8])

    change_tensors(pair.target, cut)
    refused(pair, f"{UP} has shape [120, 128], config.json asks for [128, 128]")


def test_missing_tensor(pair, refused):
    change_tensors(pair.target, lambda tensors: tensors.pop(UP))
    refused(pair, f"{pair.target} has no tensor", "layers.3.mlp.up_proj.weight", "incomplete or of another model")


def test_nan_among_the_weights(pair, tmp_path):
    """Found while quantizing, so that reading the weights once is enough."""

    def spoil(tensors):
        tensors[UP][1][17, 5] = NAN

    change_tensors(pair.target, spoil)
    output = tmp_path / "out.litertlm"
    output.write_bytes(b"older")
    done = run_export(pair, output, "--overwrite")
    assert done.returncode == 1
    assert (
        f"error: {pair.target / SINGLE_FILE}: {UP}: row 17 holds NaN or infinity, weights must be finite" in done.stdout
    )
    assert "Traceback" not in done.stdout
    assert output.read_bytes() == b"older"
    assert {path.name for path in tmp_path.iterdir()} == {"pair", "out.litertlm", "out.litertlm.work"}


# Models.


def test_other_architecture(pair, refused):
    change_json(pair.target / "config.json", "model_type", "llama")
    refused(pair, "has model_type 'llama'; edge_mtp exports the text part of Gemma 4 E2B and E4B")


def test_larger_gemmas(pair, refused):
    config = pair.target / "config.json"
    change_json(config, "text_config.enable_moe_block", True)
    refused(pair, "a model with mixture-of-experts blocks (26B-A4B); edge_mtp exports")
    change_json(config, "text_config.enable_moe_block", False)
    change_json(config, "text_config.attention_k_eq_v", True)
    refused(pair, "a model with keys reused as values (12B, 26B, 31B); edge_mtp exports")


def test_other_drafter(pair, refused):
    change_json(pair.drafter / "config.json", "model_type", "eagle3")
    refused(pair, "has model_type 'eagle3'", "assistant drafters (model_type gemma4_assistant)")


def test_swapped(pair, refused):
    swapped = PairPaths(pair.drafter, pair.target)
    refused(swapped, "is a drafter (gemma4_assistant); give the target first, the drafter second")
    refused(PairPaths(pair.target, pair.target), "is a target (model_type gemma4), expected its drafter")


@pytest.mark.parametrize(
    ("key", "value", "clash"),
    [
        ("backbone_hidden_size", 256, "hidden size: the drafter was made for 256, the target has 128"),
        ("text_config.vocab_size", 4096, "vocabulary: the drafter was made for 4096, the target has 2048"),
    ],
)
def test_mismatched_pair(pair, refused, key, value, clash):
    change_json(pair.drafter / "config.json", key, value)
    refused(pair, f"the drafter in {pair.drafter} does not fit the target in {pair.target}", clash)


def test_every_clash_of_a_pair_is_named(pair, refused):
    config = pair.drafter / "config.json"
    change_json(config, "backbone_hidden_size", 256)
    change_json(config, "text_config.sliding_window", 32)
    change_json(config, "text_config.global_head_dim", 32)
    refused(
        pair,
        "hidden size: the drafter was made for 256, the target has 128",
        "sliding window: the drafter was made for 32, the target has 64",
        "full_attention head_dim: the drafter was made for 32, the target's donor layer 4 has 64",
        "take the drafter published with this target",
    )


# Text.


def test_tokenizer_without_the_stop_token(pair, refused):
    tokenizer = pair.target / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace("<turn|>", "<nothing|>"))
    refused(pair, f"{tokenizer} has no token '<turn|>', needed as the stop token that ends a turn")


def test_stop_id_that_the_tokenizer_lacks(pair, refused):
    change_json(pair.target / "generation_config.json", "eos_token_id", [1, 2047000])
    refused(pair, "has no token with id 2047000, which the checkpoint's eos_token_id names as a stop token")


def test_no_tokenizer(pair, refused):
    (pair.target / "tokenizer.json").unlink()
    refused(pair, f"{pair.target} has neither tokenizer.model nor tokenizer.json")


def test_no_chat_template_is_a_warning(pair, tmp_path):
    """A base model has none and can be exported; an instruction-tuned one without it was not wholly downloaded."""
    (pair.target / "chat_template.jinja").unlink()
    result = invoke("export", pair.target, pair.drafter, "--output", tmp_path / "out.litertlm", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "warning: the target has no chat template, so chats will go to the model unformatted" in result.output


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
