"""Fixtures that write small but real checkpoint directories."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_mtp.checkpoint.config import read_drafter_config, read_target_config
from edge_mtp.checkpoint.pairing import Pair, check_pair
from tests.checkpoint.synthetic import (
    CENTROIDS,
    DRAFTER_HIDDEN,
    HIDDEN,
    UP,
    VOCAB,
    Sides,
    Stored,
    bfloat16_bits,
    drafter_config,
    off_grid,
    safetensors_bytes,
    target_config,
)


@pytest.fixture
def write_single(tmp_path: Path) -> Callable[[Stored], Path]:
    """Writes one `model.safetensors` and returns its directory."""

    def write(tensors: Stored) -> Path:
        (tmp_path / "model.safetensors").write_bytes(safetensors_bytes(tensors))
        return tmp_path

    return write


@pytest.fixture
def write_shards(tmp_path: Path) -> Callable[[list[Stored]], Path]:
    """Writes shards and their index, and returns their directory."""

    def write(shards: list[Stored]) -> Path:
        weight_map = {}
        for number, tensors in enumerate(shards, start=1):
            name = f"model-{number:05}-of-{len(shards):05}.safetensors"
            (tmp_path / name).write_bytes(safetensors_bytes(tensors))
            weight_map |= dict.fromkeys(tensors, name)
        index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
        return tmp_path

    return write


@pytest.fixture
def write_directory() -> Callable[[Path, Mapping[str, Any], Stored], Path]:
    """Writes `config.json` and `model.safetensors` into a directory and returns it."""

    def write(directory: Path, config: Mapping[str, Any], tensors: Stored) -> Path:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "config.json").write_text(json.dumps(config))
        (directory / "model.safetensors").write_bytes(safetensors_bytes(tensors))
        return directory

    return write


@pytest.fixture
def sides() -> Sides:
    masked = {
        "centroids.weight": off_grid(CENTROIDS, DRAFTER_HIDDEN, 2),
        "token_ordering": np.random.default_rng(3).permutation(VOCAB),
    }
    return Sides(target_config(), drafter_config(), off_grid(128, HIDDEN, 0), off_grid(64, DRAFTER_HIDDEN, 1), masked)


@pytest.fixture
def check(tmp_path, write_directory) -> Callable[[Sides], Pair]:
    def write_and_check(sides: Sides) -> Pair:
        target_dir, drafter_dir = tmp_path / sides.target_name, tmp_path / sides.drafter_name
        masked = {
            f"masked_embedding.{name}": ("I64" if values.dtype.kind == "i" else "F32", values)
            for name, values in sides.masked.items()
        }
        target_up, drafter_up = (("BF16", bfloat16_bits(up)) for up in (sides.target_up, sides.drafter_up))
        write_directory(target_dir, sides.target, {f"model.language_model.{UP}": target_up})
        write_directory(drafter_dir, sides.drafter, {f"model.{UP}": drafter_up} | masked)
        target, drafter = read_target_config(target_dir), read_drafter_config(drafter_dir)
        return check_pair(target, drafter, target_dir, drafter_dir)

    return write_and_check
