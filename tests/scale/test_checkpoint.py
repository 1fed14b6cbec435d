"""The synthetic checkpoints: complete by transformers' account, readable, and shaped like trained weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_mtp.checkpoint.config import read_drafter_config, read_target_config
from edge_mtp.checkpoint.tensors import open_checkpoint
from edge_mtp.errors import ResourceError
from tests.scale import checkpoint, tokenizer
from tests.scale.shapes import TensorSpec, drafter_tensors, target_tensors
from tests.scale.shards import split_shards
from tests.scale.values import make_pool, tensor_bytes, to_bf16

LAYERS = ["sliding_attention", "sliding_attention", "full_attention"] * 2
SMALL: dict[str, Any] = {"vocab_size": 2304, "head_dim": 16, "global_head_dim": 32, "sliding_window": 16}
SHARD_BYTES = 150_000


def small_target() -> dict[str, Any]:
    """E2B's configuration with every size reduced."""
    target, _ = checkpoint.real_configs("E2B")
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2}
    layers = {"num_hidden_layers": 6, "num_kv_shared_layers": 3, "layer_types": LAYERS}
    table = {"vocab_size_per_layer_input": 2304, "hidden_size_per_layer_input": 8}
    return {**target, "text_config": {**target["text_config"], **SMALL, **sizes, **layers, **table}}


def small_drafter() -> dict[str, Any]:
    """E2B's drafter with every size reduced."""
    _, drafter = checkpoint.real_configs("E2B")
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2}
    heads = {"backbone_hidden_size": 32, "num_centroids": 36, "centroid_intermediate_top_k": 4}
    return {**drafter, **heads, "text_config": {**drafter["text_config"], **SMALL, **sizes}}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> checkpoint.PairPaths:
    """A small pair on disk, the target in several shards."""
    directory = tmp_path_factory.mktemp("scale")
    paths = checkpoint.PairPaths(directory / "target", directory / "drafter")
    assert checkpoint.write_checkpoint(paths.target, small_target(), shard_bytes=SHARD_BYTES)
    assert checkpoint.write_checkpoint(paths.drafter, small_drafter())
    return paths


@pytest.mark.parametrize(("size", "target_gb"), [("E2B", 9.295), ("E4B", 15.036)])
def test_real_sizes(tmp_path: Path, size: str, target_gb: float) -> None:
    """The text parts weigh what the real ones do: 9.3 and 14.9 GB, and shared layers' unread K and V."""
    target, drafter = checkpoint.real_configs(size)
    for name, config in (("target", target), ("drafter", drafter)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    specs = target_tensors(read_target_config(tmp_path / "target"))
    assert sum(spec.bytes for spec in specs) / 1e9 == pytest.approx(target_gb, abs=0.001)
    drafted = drafter_tensors(read_drafter_config(tmp_path / "drafter"))
    assert sum(spec.elements for spec in drafted) / 1e6 == pytest.approx(78, abs=1.5)


@pytest.mark.parametrize("size", ["E2B", "E4B"])
def test_names_and_shapes_are_those_of_transformers(tmp_path: Path, size: str) -> None:
    """Beside what transformers asks for, only K and V of shared layers, which it ignores."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    target, drafter = checkpoint.real_configs(size)
    with torch.device("meta"):
        models = (
            transformers.Gemma4ForConditionalGeneration(transformers.Gemma4Config(**target)),
            transformers.Gemma4AssistantForCausalLM(transformers.Gemma4AssistantConfig(**drafter)),
        )
    for config, model in zip((target, drafter), models, strict=True):
        (tmp_path / "config.json").write_text(json.dumps(config))
        written = {spec.name: spec.shape for spec in checkpoint._tensors(tmp_path, config)}
        asked = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        del asked["lm_head.weight"]
        unread = {name for name in written if name not in asked}
        assert asked == {name: shape for name, shape in written.items() if name not in unread}
        assert all(any(part in name for part in (".k_proj.", ".v_proj.", ".k_norm.")) for name in unread)


def test_transformers_loads_and_runs_the_pair(pair: checkpoint.PairPaths) -> None:
    """Nothing missing, and logits finite and not flat."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    for kind, path in (
        (transformers.Gemma4ForConditionalGeneration, pair.target),
        (transformers.Gemma4AssistantForCausalLM, pair.drafter),
    ):
        model, info = kind.from_pretrained(path, dtype=torch.float32, output_loading_info=True)
        assert not info["missing_keys"] and not info["mismatched_keys"] and not info["unexpected_keys"]
        if path == pair.target:
            logits = model(input_ids=torch.arange(40)[None] + 400).logits
            assert torch.isfinite(logits).all()
            assert 0.5 < float(logits.detach().std()) < 15


def test_the_exporter_reads_the_pair(pair: checkpoint.PairPaths) -> None:
    """Shards, index and permutation hold by `edge_mtp`'s own checks."""
    opened = open_checkpoint(pair.target)
    assert len({info.path for info in opened.tensors.values()}) > 2
    order = open_checkpoint(pair.drafter).read_raw("masked_embedding.token_ordering")
    assert np.array_equal(np.sort(order), np.arange(2304))
    for name in opened.tensors:
        assert np.isfinite(opened.read(name)).all()


def test_tokenizer_fills_the_vocabulary(pair: checkpoint.PairPaths) -> None:
    """Gemma's control tokens keep their ids, every id has a piece, text survives."""
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.Tokenizer.from_file(str(pair.target / "tokenizer.json"))
    ids = words.get_vocab(with_added_tokens=True)
    controls = {"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3, "<|channel>": 100, "<channel|>": 101}
    assert {**controls, "<|turn>": 105, "<turn|>": 106}.items() <= ids.items()
    assert sorted(ids.values()) == list(range(2304))
    text = "Return a list of the words, 12 + 3 — ünïcode"
    assert words.decode(words.encode(text).ids) == text
    generation = json.loads((pair.target / "generation_config.json").read_text())
    assert generation["eos_token_id"] == [1, 106]


def test_a_real_vocabulary_can_be_filled() -> None:
    """There are enough pieces for 262144 entries."""
    model = json.loads((tokenizer.TINY_TARGET / "tokenizer.json").read_text())["model"]
    tokenizer.grow(model, 262144)
    assert len(model["vocab"]) == 262144 and len(set(model["vocab"].values())) == 262144


def test_writing_again_does_nothing(pair: checkpoint.PairPaths) -> None:
    """The same parameters: the files stay; others: they are replaced; one seed makes the same bytes."""
    weights = pair.drafter / "model.safetensors"
    before, modified = weights.read_bytes(), weights.stat().st_mtime_ns
    assert not checkpoint.write_checkpoint(pair.drafter, small_drafter())
    assert weights.stat().st_mtime_ns == modified
    assert checkpoint.write_checkpoint(pair.drafter, small_drafter(), seed=1)
    assert weights.read_bytes() != before
    assert checkpoint.write_checkpoint(pair.drafter, small_drafter())
    assert weights.read_bytes() == before


def test_foreign_directories_are_left_alone(tmp_path: Path) -> None:
    """A directory without our stamp may be somebody's real checkpoint."""
    (tmp_path / "model.safetensors").write_bytes(b"precious")
    with pytest.raises(ResourceError, match="no synthetic checkpoint"):
        checkpoint.write_checkpoint(tmp_path, small_drafter())
    assert (tmp_path / "model.safetensors").read_bytes() == b"precious"


def test_a_full_disk_is_said_before_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has both figures and the variable to set."""
    usage = type("Usage", (), {"free": 100_000_000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(ResourceError, match=r"needs 0\.5 GB of disk, 0\.1 GB are free.*EDGE_MTP_SCALE_DIR"):
        checkpoint.write_checkpoint(tmp_path / "target", small_target())
    assert not (tmp_path / "target").exists()


def test_values_look_trained() -> None:
    """The asked deviation, tails heavier than normal, rows of different scale."""
    spec = TensorSpec("layers.0.mlp.up_proj.weight", (512, 768), "matrix", 0.02)
    raw = np.frombuffer(b"".join(tensor_bytes(spec, make_pool(0, 1 << 20), 0)), np.uint16).reshape(spec.shape)
    values = (raw.astype(np.uint32) << 16).view(np.float32)
    rows = values.std(axis=1)
    within = values / rows[:, None]
    assert values.std() == pytest.approx(0.02, rel=0.03)
    assert 0.25 < np.log(rows).std() < 0.45
    assert np.mean(within**4) > 3.5
    assert np.abs(within).max() > 6


def test_bf16_rounds_to_nearest() -> None:
    """Half a unit in the last place at most."""
    values = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    stored = (to_bf16(values.copy()).astype(np.uint32) << 16).view(np.float32)
    assert np.all(np.abs(stored - values) <= np.abs(values) * 2.0**-8)


def test_shards_keep_order_and_size() -> None:
    """Filled up to the limit; a larger tensor lies alone."""
    specs = [TensorSpec(str(index), (length,), "norm") for index, length in enumerate((4, 4, 4, 20, 1))]
    shards = split_shards(specs, 16)
    assert [[spec.name for spec in shard] for shard in shards] == [["0", "1"], ["2"], ["3"], ["4"]]
