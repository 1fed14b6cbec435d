"""Wrong checkpoints: each has its own message and exit code, no traceback, and nothing is written or lost."""

from pathlib import Path

import numpy as np
import pytest

from edge_mtp.checkpoint.tensors import SINGLE_FILE
from tests.export.checkpoints import TEXT, change_json, change_tensors, shard
from tests.export.command import run_export
from tests.export.refusal import invoke
from tests.scale.checkpoint import PairPaths

UP = f"{TEXT}layers.3.mlp.up_proj.weight"
NAN = 0x7FC0


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
