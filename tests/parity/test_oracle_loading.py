"""What the oracle asks for before it loads, and how it refuses."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

import edge_mtp.parity
from edge_mtp.errors import CheckpointError
from edge_mtp.parity import oracle
from edge_mtp.parity.oracle import LIBRARY_BYTES, SCORED_TOKENS, load_oracle, load_tokenizer, needed_memory_bytes
from edge_mtp.parity.results import CouldNotCheckError
from tests.conftest import TINY
from tests.random_pair import SHAPES, write_pair
from tests.test_imports import heavy_after

TARGET, DRAFTER = TINY / "target", TINY / "drafter"


def test_importing_it_needs_no_torch() -> None:
    assert heavy_after("import edge_mtp.parity.oracle") == ""


def test_missing_transformers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "edge_mtp.parity.transformers_pair", raising=False)
    monkeypatch.delattr(edge_mtp.parity, "transformers_pair", raising=False)
    for call in (lambda: load_oracle(TARGET, DRAFTER, None), lambda: load_tokenizer(TARGET)):
        with pytest.raises(CouldNotCheckError, match=r"pip install 'edge-mtp\[oracle\]'"):
            call()


def test_too_little_memory_is_refused_with_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = needed_memory_bytes(TARGET, DRAFTER)
    monkeypatch.setattr(oracle, "available_memory_bytes", lambda: needed - 1)
    with pytest.raises(CouldNotCheckError, match=r"needs about 0\.4 GB of memory, 0\.4 GB are free"):
        load_oracle(TARGET, DRAFTER, None)
    for enough in (needed, None):
        monkeypatch.setattr(oracle, "available_memory_bytes", lambda enough=enough: enough)
        assert load_oracle(TARGET, DRAFTER, None).context_tokens == 4096


def test_weights_are_counted_as_they_are_loaded() -> None:
    """Every stored tensor once: tied heads share theirs, the cluster order stays int64."""
    pair = load_oracle(TARGET, DRAFTER, None).pair
    loaded = {t.data_ptr(): t.nbytes for model in (pair.target, pair.drafter) for t in model.state_dict().values()}
    logits_bytes = 2 * SCORED_TOKENS * 2048 * 4
    assert needed_memory_bytes(TARGET, DRAFTER) == LIBRARY_BYTES + logits_bytes + sum(loaded.values())


def with_vision(directory: Path) -> None:
    """A target whose config.json has a vision tower, of which the checkpoint holds one tensor."""
    write_pair(SHAPES["e2b-like"], directory)
    path = directory / "target" / "config.json"
    config = json.loads(path.read_text())
    config["vision_config"] = {"model_type": "gemma4_vision", "hidden_size": 32, "num_hidden_layers": 1}
    path.write_text(json.dumps(config))


def test_other_modalities_are_neither_loaded_nor_counted(tmp_path: Path) -> None:
    with_vision(tmp_path)
    target, drafter = tmp_path / "target", tmp_path / "drafter"
    before = needed_memory_bytes(target, drafter)
    assert load_oracle(target, drafter, None).pair.target.model.vision_tower is None
    tensors = load_file(target / "model.safetensors")
    vision = [name for name in tensors if "vision_tower" in name]
    save_file({name: tensors[name] for name in tensors if name not in vision}, target / "model.safetensors")
    assert vision and needed_memory_bytes(target, drafter) == before


@pytest.mark.parametrize("part", ["target", "drafter"])
def test_a_missing_weight_is_named(part: str, tmp_path: Path) -> None:
    """transformers would go on with random values in its place."""
    shutil.copytree(TINY, tmp_path / "pair")
    path = tmp_path / "pair" / part / "model.safetensors"
    tensors = load_file(path)
    lost = next(name for name in tensors if name.endswith("layers.1.mlp.up_proj.weight"))
    save_file({name: tensors[name] for name in tensors if name != lost}, path, {"format": "pt"})
    with pytest.raises(
        CouldNotCheckError, match=r"does not find \S*layers\.1\.mlp\.up_proj\.weight in .* \(weights missing: 1\)"
    ):
        load_oracle(tmp_path / "pair" / "target", tmp_path / "pair" / "drafter", None)


def test_a_directory_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="found no weights"):
        load_oracle(TARGET, tmp_path, None)
