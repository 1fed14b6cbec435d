"""Writes safetensors files one stretch of bytes at a time, sharded as on the hub."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from edge_mtp.checkpoint.tensors import INDEX_FILE, SINGLE_FILE
from tests.scale.shapes import TensorSpec

SHARD_BYTES = 5_000_000_000
_ALIGNMENT = 8

Contents = Callable[[TensorSpec], Iterable[memoryview]]


def split_shards(specs: Sequence[TensorSpec], shard_bytes: int = SHARD_BYTES) -> list[list[TensorSpec]]:
    """`specs` cut, in their order, into shards of at most `shard_bytes`; a larger tensor gets its own."""
    shards: list[list[TensorSpec]] = [[]]
    filled = 0
    for spec in specs:
        if shards[-1] and filled + spec.bytes > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(spec)
        filled += spec.bytes
    return shards


def write_weights(directory: Path, shards: Sequence[Sequence[TensorSpec]], contents: Contents) -> None:
    """`shards` as `model.safetensors`, or as numbered files with an index where there are several."""
    if len(shards) == 1:
        write_file(directory / SINGLE_FILE, shards[0], contents)
        return
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        write_file(directory / name, shard, contents)
        weight_map |= {spec.name: name for spec in shard}
    total = sum(spec.bytes for shard in shards for spec in shard)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (directory / INDEX_FILE).write_text(json.dumps(index, indent=2) + "\n")


def write_file(path: Path, specs: Sequence[TensorSpec], contents: Contents) -> None:
    """One safetensors file: u64 header length, JSON header padded with spaces, then the data."""
    with path.open("wb", buffering=0) as file:
        file.write(_header(specs))
        for spec in specs:
            written = sum(file.write(chunk) for chunk in contents(spec))
            if written != spec.bytes:
                raise ValueError(f"{path}: wrote {written} bytes of {spec.name}, needed {spec.bytes}")


def _header(specs: Sequence[TensorSpec]) -> bytes:
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for spec in specs:
        stop = offset + spec.bytes
        entries[spec.name] = {"dtype": spec.dtype, "shape": list(spec.shape), "data_offsets": [offset, stop]}
        offset = stop
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text
