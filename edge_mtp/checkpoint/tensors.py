"""Reads the tensors of a checkpoint directory: `model.safetensors`, or shards behind an index.

Opening checks every shard's header against the file's length. Tensors are read by plain reads into
memory, rows at a time where asked for, never mapped, so that what is held is what was asked for.
"""

import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_mtp.errors import CheckpointError

SINGLE_FILE: Final = "model.safetensors"
INDEX_FILE: Final = "model.safetensors.index.json"
STORED_DTYPES: Final[Mapping[str, str]] = {
    "BF16": "<u2",
    "F16": "<f2",
    "F32": "<f4",
    "I64": "<i8",
    "I32": "<i4",
    "I8": "|i1",
    "U8": "|u1",
}
"""What a tensor of each safetensors dtype is read as; numpy has no bfloat16, so BF16 comes as its bits."""

_FLOAT_DTYPES: Final = ("BF16", "F16", "F32")
_LARGEST_HEADER_BYTES: Final = 100_000_000
_PREFIXES: Final = ("model.language_model.", "language_model.model.", "model.", "")
_TIED: Final = {"lm_head.weight": "embed_tokens.weight", "embed_tokens.weight": "lm_head.weight"}


@dataclass(frozen=True)
class TensorInfo:
    """Where a tensor lies: `bytes` bytes from `offset` of the file at `path`."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    path: Path
    offset: int
    bytes: int

    @property
    def rows(self) -> int:
        """Length of the first axis; 1 for a scalar."""
        return self.shape[0] if self.shape else 1


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of one checkpoint directory, by their stored names."""

    directory: Path
    tensors: Mapping[str, TensorInfo]
    files: tuple[Path, ...]
    """Everything that was opened: config.json where there is one, the index, the shards."""

    def info(self, name: str) -> TensorInfo:
        """Where the tensor with the stored name `name` lies."""
        if name not in self.tensors:
            raise self._missing(name)
        return self.tensors[name]

    def stored_name(self, weight: str) -> str:
        """Stored name of `weight`, e.g. `layers.0.mlp.up_proj.weight`; a tied head is the embedding."""
        for wanted in (weight, _TIED.get(weight, weight)):
            for prefix in _PREFIXES:
                if prefix + wanted in self.tensors:
                    return prefix + wanted
        raise self._missing(weight)

    def expect(self, name: str, shape: tuple[int, ...]) -> TensorInfo:
        """Where the tensor `name` lies; CheckpointError unless it has `shape`."""
        info = self.info(name)
        if info.shape != shape:
            raise CheckpointError(
                f"{info.path}: {name} has shape {list(info.shape)}, config.json asks for {list(shape)}; "
                "weights and config.json are of different models"
            )
        return info

    def read_raw(self, name: str, start_row: int = 0, stop_row: int | None = None) -> NDArray[Any]:
        """Rows [start_row, stop_row) of `name` in the stored dtype; BF16 as its bits in uint16."""
        info = self.info(name)
        stop = info.rows if stop_row is None else stop_row
        if not 0 <= start_row <= stop <= info.rows:
            raise IndexError(f"rows {start_row} to {stop} of {name}, which has {info.rows}")
        if info.dtype not in STORED_DTYPES:
            known = ", ".join(STORED_DTYPES)
            raise CheckpointError(f"{info.path}: {name} is stored as {info.dtype}; only {known} can be read")
        shape = (stop - start_row, *info.shape[1:]) if info.shape else ()
        values = np.empty(shape, STORED_DTYPES[info.dtype])
        row_bytes = info.bytes // info.rows if info.rows else 0
        _read_into(info.path, info.offset + start_row * row_bytes, values)
        return values

    def read(self, name: str, start_row: int = 0, stop_row: int | None = None) -> NDArray[np.float32]:
        """Rows [start_row, stop_row) of the float tensor `name` as float32."""
        info = self.info(name)
        if info.dtype not in _FLOAT_DTYPES:
            known = ", ".join(_FLOAT_DTYPES)
            raise CheckpointError(f"{info.path}: {name} is stored as {info.dtype}; a weight must be one of {known}")
        return to_float32(self.read_raw(name, start_row, stop_row), info.dtype)

    def _missing(self, name: str) -> CheckpointError:
        nearest = difflib.get_close_matches(name, self.tensors, n=1, cutoff=0.5)
        hint = f"the nearest is {nearest[0]}" if nearest else f"{len(self.tensors)} others are there"
        return CheckpointError(
            f"{self.directory} has no tensor {name} ({hint}); its weights are incomplete or of another model"
        )


def to_float32(raw: NDArray[Any], dtype: str) -> NDArray[np.float32]:
    """`raw` as `Checkpoint.read_raw` gave it, stored as `dtype`, in float32 and the same shape."""
    if dtype == "BF16":
        bits: NDArray[np.uint32] = np.left_shift(raw, 16, dtype=np.uint32)
        return bits.view(np.float32)
    return raw.astype(np.float32, copy=False)


def open_checkpoint(directory: Path) -> Checkpoint:
    """The checkpoint in `directory`, its headers checked; CheckpointError names the file at fault."""
    if not directory.is_dir():
        found = "is a file" if directory.exists() else "does not exist"
        raise CheckpointError(f"{directory} {found}; give the directory that holds config.json and the weights")
    single, index = directory / SINGLE_FILE, directory / INDEX_FILE
    if single.is_file():
        tensors, weights = _read_header(single), [single]
    elif index.is_file():
        tensors, shards = _read_index(index)
        weights = [index, *shards]
    else:
        raise _no_weights(directory)
    config = directory / "config.json"
    return Checkpoint(directory, tensors, tuple(path for path in (config, *weights) if path.is_file()))


def _no_weights(directory: Path) -> CheckpointError:
    others = sorted(p.name for p in directory.iterdir() if p.suffix in (".safetensors", ".bin", ".gguf", ".pt"))
    found = f"found {', '.join(others[:4])}" if others else "found no weights at all"
    return CheckpointError(
        f"{directory} has neither {SINGLE_FILE} nor {INDEX_FILE} ({found}); "
        "download the checkpoint's safetensors files into it"
    )


def _read_index(index: Path) -> tuple[dict[str, TensorInfo], list[Path]]:
    """Tensors of all shards that `index` lists, and the shards."""
    weight_map = _parse_json(index, index.read_bytes()).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index} has no weight_map; download it again")
    names = sorted({str(name) for name in weight_map.values()})
    outside = [name for name in names if Path(name).name != name]
    if outside:
        raise CheckpointError(f"{index} names {outside[0]!r}, expected file names beside it; download it again")
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise CheckpointError(
            f"{index.parent} lacks {', '.join(missing)} ({len(missing)} of {len(names)} shards); "
            "the download is incomplete, run it again"
        )
    headers = {name: _read_header(index.parent / name) for name in names}
    absent = [tensor for tensor, name in weight_map.items() if tensor not in headers[name]]
    if absent:
        shard = index.parent / weight_map[absent[0]]
        raise CheckpointError(f"{shard} has no tensor {absent[0]}, but {index.name} says so; download both again")
    tensors = {tensor: headers[name][tensor] for tensor, name in weight_map.items()}
    return tensors, [index.parent / name for name in names]


def _read_header(path: Path) -> dict[str, TensorInfo]:
    """Tensors of one safetensors file: u64 header length, JSON header, data; all lengths checked."""
    file_bytes = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if start == b"version " or len(start) < 8:
            raise _no_safetensors(path, file_bytes, start)
        header_bytes = int.from_bytes(start, "little")
        if header_bytes > _LARGEST_HEADER_BYTES:
            raise _no_safetensors(path, file_bytes, start)
        if 8 + header_bytes > file_bytes:
            raise _wrong_length(path, 8 + header_bytes, file_bytes)
        header = _parse_json(path, file.read(header_bytes))
    header.pop("__metadata__", None)
    tensors = {name: _parse_entry(path, 8 + header_bytes, name, entry) for name, entry in header.items()}
    described = max((info.offset + info.bytes for info in tensors.values()), default=8 + header_bytes)
    if described != file_bytes:
        raise _wrong_length(path, described, file_bytes)
    return tensors


def _parse_entry(path: Path, data_offset: int, name: str, entry: Mapping[str, Any]) -> TensorInfo:
    """One header entry; its byte range must be as long as dtype and shape say."""
    try:
        dtype, shape = str(entry["dtype"]), tuple(int(length) for length in entry["shape"])
        start, stop = (int(offset) for offset in entry["data_offsets"])
    except (TypeError, KeyError, ValueError):
        raise CheckpointError(f"{path}: the header's entry for {name} is malformed; download it again") from None
    item_bytes = np.dtype(STORED_DTYPES[dtype]).itemsize if dtype in STORED_DTYPES else None
    wrong = item_bytes is not None and stop - start != math.prod(shape) * item_bytes
    if wrong or start < 0 or stop < start or min(shape, default=0) < 0:
        raise CheckpointError(
            f"{path}: the header puts {name}, {dtype} {list(shape)}, in bytes {start} to {stop}, "
            "which cannot hold it; download it again"
        )
    return TensorInfo(name, dtype, shape, path, data_offset + start, stop - start)


def _parse_json(path: Path, raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except ValueError as error:
        raise CheckpointError(f"{path}: unreadable header or index ({error}); download it again") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: found a {type(value).__name__}, expected a JSON object; download it again")
    return value


def _no_safetensors(path: Path, file_bytes: int, start: bytes) -> CheckpointError:
    if start == b"version ":
        return CheckpointError(f"{path} is a Git LFS pointer, not the weights; run git lfs pull in its directory")
    return CheckpointError(f"{path} ({file_bytes} bytes) does not begin like a safetensors file; download it again")


def _wrong_length(path: Path, described: int, found: int) -> CheckpointError:
    fault = "is truncated" if found < described else "has bytes its header does not describe"
    return CheckpointError(
        f"{path} {fault}: the header says {described} bytes, the file has {found}; download it again"
    )


def _read_into(path: Path, offset: int, values: NDArray[Any]) -> None:
    """Fills `values` from byte `offset` of `path`; one read may return less than asked for."""
    unread = values.reshape(-1).view(np.uint8).data
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        while unread:
            read = file.readinto(unread)
            if not read:
                raise CheckpointError(f"{path} ended {len(unread)} bytes early: it changed while it was being read")
            unread = unread[read:]
