"""Writes synthetic checkpoints with the real ones' shapes and names: `python -m tests.scale.checkpoint`.

The weights themselves cannot be shipped. Export time, memory, file size and engine speed do not depend on
them beyond their statistics; acceptance does, and means nothing here.
"""

import argparse
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_mtp.checkpoint.config import read_drafter_config, read_target_config
from edge_mtp.errors import ResourceError
from tests.scale.shapes import TensorSpec, drafter_tensors, target_tensors
from tests.scale.shards import SHARD_BYTES, split_shards, write_weights
from tests.scale.tokenizer import write_tokenizer
from tests.scale.values import make_pool, tensor_bytes

CONFIGS = Path(__file__).parent.parent / "data" / "configs"
SIZES = ("E2B", "E4B")
SEED = 20260401
FORMAT = 2  # raise it when the bytes written for the same parameters change
STAMP = "synthetic.json"
SPARE_BYTES = 500_000_000  # left free for everybody else

Json = Mapping[str, Any]


@dataclass(frozen=True)
class PairPaths:
    """Directories of a target and its drafter."""

    target: Path
    drafter: Path


def default_directory() -> Path:
    """Where synthetic checkpoints live: EDGE_MTP_SCALE_DIR, else the user's cache."""
    return Path(os.environ.get("EDGE_MTP_SCALE_DIR") or Path.home() / ".cache" / "edge-mtp-scale")


def size_name(word: str) -> str:
    """`word` where it is one of SIZES; else what argparse turns into a usage error (its `choices` refuse no word)."""
    if word not in SIZES:
        raise argparse.ArgumentTypeError(f"{word!r} is no size, expected one of {', '.join(SIZES)}")
    return word


def real_configs(size: str) -> tuple[Json, Json]:
    """config.json of the real target and drafter of `size`, text part."""
    names = (f"gemma-4-{size}-it.json", f"gemma-4-{size}-it-assistant.json")
    target, drafter = (json.loads((CONFIGS / name).read_text()) for name in names)
    return target, drafter


def write_pair(directory: Path, size: str) -> PairPaths:
    """The synthetic pair of `size` in `directory`; nothing is written that is there already."""
    target, drafter = real_configs(size)
    paths = PairPaths(directory / f"gemma-4-{size}-it", directory / f"gemma-4-{size}-it-assistant")
    write_checkpoint(paths.target, target)
    write_checkpoint(paths.drafter, drafter)
    return paths


def write_checkpoint(directory: Path, config: Json, *, seed: int = SEED, shard_bytes: int = SHARD_BYTES) -> bool:
    """A checkpoint for `config` in `directory`, complete or not at all; False where it was there."""
    parameters = {"format": FORMAT, "seed": seed, "shard_bytes": shard_bytes, "config": config}
    stamp = json.dumps(parameters, indent=2)
    if (directory / STAMP).is_file() and (directory / STAMP).read_text() == stamp:
        return False
    if directory.exists():
        _refuse_foreign(directory)
        shutil.rmtree(directory)
    aside = directory.with_name(directory.name + ".new")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    (aside / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    shards = split_shards(_tensors(aside, config), shard_bytes)
    _check_disk(directory, sum(spec.bytes for shard in shards for spec in shard))
    if config["model_type"] != "gemma4_assistant":
        write_tokenizer(aside, config["text_config"]["vocab_size"])
    pool = make_pool(seed)
    write_weights(aside, shards, lambda spec: tensor_bytes(spec, pool, seed))
    (aside / STAMP).write_text(stamp)
    aside.rename(directory)
    return True


def _tensors(directory: Path, config: Json) -> Sequence[TensorSpec]:
    if config["model_type"] == "gemma4_assistant":
        return drafter_tensors(read_drafter_config(directory))
    return target_tensors(read_target_config(directory))


def _refuse_foreign(directory: Path) -> None:
    """Only what this module wrote, and said so by its stamp, may be replaced."""
    if not (directory / STAMP).is_file():
        raise ResourceError(
            f"{directory} exists and is no synthetic checkpoint ({STAMP} is missing); "
            "move it away, or set EDGE_MTP_SCALE_DIR to another directory"
        )


def _check_disk(directory: Path, needed_bytes: int) -> None:
    needed_bytes += SPARE_BYTES
    free_bytes = shutil.disk_usage(directory.parent).free
    if free_bytes < needed_bytes:
        raise ResourceError(
            f"{directory} needs {needed_bytes / 1e9:.1f} GB of disk, {free_bytes / 1e9:.1f} GB are free; "
            "free some, or set EDGE_MTP_SCALE_DIR to a directory on a larger disk"
        )


def main() -> None:
    """Command line: sizes to write, and where."""
    parser = argparse.ArgumentParser(description="Write synthetic checkpoints of real shapes.")
    parser.add_argument("sizes", nargs="*", type=size_name, help="E2B, E4B; default: both")
    parser.add_argument("--directory", type=Path, default=default_directory())
    arguments = parser.parse_args()
    for size in arguments.sizes or SIZES:
        start = time.monotonic()
        try:
            paths = write_pair(arguments.directory, size)
        except ResourceError as error:
            raise SystemExit(str(error)) from None
        print(f"{size}: {paths.target} and {paths.drafter.name} in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
