"""Tensors read back as they were stored, and every broken file named with its own message."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_mtp.checkpoint.digest import digest_files
from edge_mtp.checkpoint.tensors import open_checkpoint, to_float32
from edge_mtp.errors import CheckpointError
from tests.checkpoint.synthetic import bfloat16_bits

WEIGHT = np.arange(24, dtype=np.float32).reshape(6, 4)


def test_float_dtypes_read_as_float32(write_single):
    directory = write_single(
        {
            "wide": ("F32", WEIGHT),
            "half": ("F16", WEIGHT.astype(np.float16)),
            "brain": ("BF16", bfloat16_bits(WEIGHT)),
        }
    )
    checkpoint = open_checkpoint(directory)
    for name in ("wide", "half", "brain"):
        found = checkpoint.read(name)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, WEIGHT)


def test_files_of_the_safetensors_package_are_read(tmp_path):
    numpy_writer = pytest.importorskip("safetensors.numpy")
    tensors = {
        "weight": WEIGHT,
        "order": np.arange(7, dtype=np.int64),
        "scalar": np.array(2.5, np.float32),
        "empty": np.empty((0, 3), np.float32),
    }
    numpy_writer.save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    checkpoint = open_checkpoint(tmp_path)
    assert set(checkpoint.tensors) == set(tensors)
    for name, values in tensors.items():
        np.testing.assert_array_equal(checkpoint.read_raw(name), values)
        assert checkpoint.read_raw(name).shape == values.shape


def test_torch_bfloat16_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    torch_writer = pytest.importorskip("safetensors.torch")
    stored = torch.randn(16, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    torch_writer.save_file({"weight": stored}, tmp_path / "model.safetensors")
    np.testing.assert_array_equal(open_checkpoint(tmp_path).read("weight"), stored.float().numpy())


def test_rows_are_read_alone(write_single):
    checkpoint = open_checkpoint(write_single({"first": ("F32", WEIGHT), "weight": ("BF16", bfloat16_bits(WEIGHT))}))
    np.testing.assert_array_equal(checkpoint.read("weight", 2, 4), WEIGHT[2:4])
    np.testing.assert_array_equal(checkpoint.read("first", 5), WEIGHT[5:])
    assert checkpoint.read_raw("weight", 1, 3).dtype == np.uint16
    assert checkpoint.read("weight", 3, 3).shape == (0, 4)


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (0, 7), (4, 3)])
def test_rows_outside_the_tensor_are_never_read(write_single, start, stop):
    checkpoint = open_checkpoint(write_single({"weight": ("F32", WEIGHT), "behind": ("F32", WEIGHT)}))
    with pytest.raises(IndexError, match="which has 6"):
        checkpoint.read_raw("weight", start, stop)


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1))
def test_bfloat16_bits_are_the_upper_half_of_float32(values):
    cut = np.array(values, np.float32).view(np.uint32) & 0xFFFF0000
    raw = (cut >> 16).astype(np.uint16)
    np.testing.assert_array_equal(to_float32(raw, "BF16").view(np.uint32), cut)


def test_shards_are_read_through_their_index(write_shards):
    directory = write_shards([{"one": ("F32", WEIGHT)}, {"two": ("F32", WEIGHT + 1), "three": ("F32", WEIGHT + 2)}])
    (directory / "config.json").write_text("{}")
    checkpoint = open_checkpoint(directory)
    np.testing.assert_array_equal(checkpoint.read("three"), WEIGHT + 2)
    assert checkpoint.info("two").path.name == "model-00002-of-00002.safetensors"
    assert [path.name for path in checkpoint.files] == [
        "config.json",
        "model.safetensors.index.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]


@pytest.mark.parametrize("prefix", ["model.language_model.", "language_model.model.", "model.", ""])
def test_stored_name_finds_any_prefix(write_single, prefix):
    stored = {
        f"{prefix}layers.0.mlp.up_proj.weight": ("F32", WEIGHT),
        f"{prefix}embed_tokens.weight": ("F32", WEIGHT),
    }
    checkpoint = open_checkpoint(write_single(stored))
    assert checkpoint.stored_name("layers.0.mlp.up_proj.weight") == f"{prefix}layers.0.mlp.up_proj.weight"
    assert checkpoint.stored_name("lm_head.weight") == f"{prefix}embed_tokens.weight"


def test_an_own_head_goes_before_the_tied_embedding(write_single):
    stored = {"model.embed_tokens.weight": ("F32", WEIGHT), "lm_head.weight": ("F32", WEIGHT)}
    assert open_checkpoint(write_single(stored)).stored_name("lm_head.weight") == "lm_head.weight"


def test_missing_directory(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere does not exist; give the directory"):
        open_checkpoint(tmp_path / "nowhere")


def test_file_instead_of_directory(tmp_path):
    (tmp_path / "weights").write_text("")
    with pytest.raises(CheckpointError, match="weights is a file; give the directory"):
        open_checkpoint(tmp_path / "weights")


def test_no_weights(tmp_path):
    with pytest.raises(CheckpointError, match="found no weights at all"):
        open_checkpoint(tmp_path)


def test_only_other_formats(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"found pytorch_model\.bin.*safetensors"):
        open_checkpoint(tmp_path)


def test_missing_shards_are_all_named(write_shards):
    directory = write_shards([{"one": ("F32", WEIGHT)}, {"two": ("F32", WEIGHT)}, {"three": ("F32", WEIGHT)}])
    (directory / "model-00001-of-00003.safetensors").unlink()
    (directory / "model-00003-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"lacks model-00001-of-00003.*, model-00003-of-00003.*\(2 of 3 shards\)"):
        open_checkpoint(directory)


@pytest.mark.parametrize("kept_bytes", [-1, -40])
def test_truncated_shard(write_shards, kept_bytes):
    directory = write_shards([{"one": ("F32", WEIGHT)}, {"two": ("F32", WEIGHT)}])
    shard = directory / "model-00002-of-00002.safetensors"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:kept_bytes])
    message = f"00002-of-00002.safetensors is truncated: the header says {len(whole)} bytes, the file has "
    with pytest.raises(CheckpointError, match=message + str(len(whole) + kept_bytes)):
        open_checkpoint(directory)


def test_file_cut_inside_its_header(write_single):
    path = write_single({"one": ("F32", WEIGHT)}) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(CheckpointError, match="is truncated"):
        open_checkpoint(path.parent)


def test_bytes_behind_the_last_tensor(write_single):
    path = write_single({"one": ("F32", WEIGHT)}) / "model.safetensors"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(CheckpointError, match="has bytes its header does not describe"):
        open_checkpoint(path.parent)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "does not begin like a safetensors file"),
        (b"PK\3\4 and then some more of a zip file", "does not begin like a safetensors file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS pointer"),
        ((4).to_bytes(8, "little") + b"{nop", "unreadable header"),
        ((2).to_bytes(8, "little") + b"[]", "expected a JSON object"),
        ((9).to_bytes(8, "little") + b'{"a": {}}', "entry for a is malformed"),
    ],
)
def test_unreadable_header(tmp_path, content, message):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(tmp_path)


def test_header_whose_offsets_do_not_hold_the_shape(tmp_path):
    header = json.dumps({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 8)
    with pytest.raises(CheckpointError, match=r"puts a, F32 \[3\], in bytes 0 to 8, which cannot hold it"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({}, "has no weight_map"),
        ({"weight_map": {"a": "../elsewhere.safetensors"}}, "expected file names beside it"),
        (
            {"weight_map": {"b": "model-1.safetensors"}},
            "has no tensor b, but model.safetensors.index.json says so",
        ),
    ],
)
def test_wrong_index(tmp_path, write_single, index, message):
    write_single({"a": ("F32", WEIGHT)})
    (tmp_path / "model.safetensors").rename(tmp_path / "model-1.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(tmp_path)


def test_missing_tensor_names_the_nearest(write_single):
    checkpoint = open_checkpoint(write_single({"model.layers.0.mlp.up_proj.weight": ("F32", WEIGHT)}))
    with pytest.raises(CheckpointError, match=r"nearest is model\.layers\.0\.mlp\.up_proj\.weight"):
        checkpoint.info("model.layers.0.mlp.gate_proj.weight")
    with pytest.raises(CheckpointError, match=r"no tensor layers\.1\.mlp\.up_proj\.weight"):
        checkpoint.stored_name("layers.1.mlp.up_proj.weight")


def test_unexpected_shape(write_single):
    checkpoint = open_checkpoint(write_single({"weight": ("F32", WEIGHT)}))
    assert checkpoint.expect("weight", (6, 4)).bytes == WEIGHT.nbytes
    with pytest.raises(CheckpointError, match=r"weight has shape \[6, 4\], config.json asks for \[4, 6\]"):
        checkpoint.expect("weight", (4, 6))


def test_unsupported_dtypes(write_single):
    codes = np.zeros((6, 4), np.uint8)
    checkpoint = open_checkpoint(write_single({"coded": ("F8_E4M3", codes), "ids": ("I64", np.arange(3))}))
    with pytest.raises(CheckpointError, match="coded is stored as F8_E4M3; only BF16"):
        checkpoint.read_raw("coded")
    with pytest.raises(CheckpointError, match="ids is stored as I64; a weight must be one of BF16, F16, F32"):
        checkpoint.read("ids")


def test_file_that_shrinks_after_opening(write_single):
    checkpoint = open_checkpoint(write_single({"weight": ("F32", WEIGHT)}))
    path = checkpoint.info("weight").path
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(CheckpointError, match="ended 8 bytes early"):
        checkpoint.read("weight")


def test_digests_are_sha256_of_the_bytes(tmp_path):
    files = [tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    contents = [b"", b"second", bytes(9_000_000)]
    for path, content in zip(files, contents, strict=True):
        path.write_bytes(content)
    counted: list[int] = []
    digests = digest_files(files, counted.append, threads=2)
    assert digests == {p.name: hashlib.sha256(c).hexdigest() for p, c in zip(files, contents, strict=True)}
    assert sum(counted) == sum(map(len, contents))


def test_digest_of_a_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match="gone cannot be read"):
        digest_files([tmp_path / "gone"])
