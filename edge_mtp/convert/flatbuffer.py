"""Reads `.tflite` files into objects and writes it back with large buffers behind the flatbuffer.

A buffer behind the flatbuffer is addressed by 64-bit offset and size from the start of the model, so
a model may exceed 2 GB, and the runtime maps it without copying.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from edge_mtp.convert.constants import StoredBytes
from edge_mtp.errors import BundleError

EXTERNAL_ALIGNMENT: Final = 64
INLINE_ALIGNMENT: Final = 16  # `force_align` of Buffer.data in the schema; the object API forgets it
FILE_IDENTIFIER: Final = b"TFL3"
UNPLACED: Final = 1  # stands for an offset until the flatbuffer's length is known; 0 would not be stored
COPY_BYTES: Final = 1 << 20
_BUFFER_OFFSET_FIELD: Final = 6  # place of Buffer.offset in its vtable

Payload = StoredBytes | bytes


class _AlignedBuffer:
    """Packs a buffer so that its inline data is aligned. `Pack` is the name the generated code calls."""

    def __init__(self, buffer: Any) -> None:
        self._buffer = buffer

    def Pack(self, builder: Any) -> int:
        if self._buffer.data is not None:
            builder.Prep(INLINE_ALIGNMENT, len(self._buffer.data))
        return int(self._buffer.Pack(builder))


class SharedTable:
    """Packs a table once and lets every other owner point at the same bytes.

    `Pack` is the name the generated code calls.
    """

    def __init__(self, table: Any) -> None:
        self._table = table
        self._packed: tuple[Any, int] | None = None

    def Pack(self, builder: Any) -> int:
        """Offset of the table in `builder`."""
        if self._packed is None or self._packed[0] is not builder:
            self._packed = builder, int(self._table.Pack(builder))
        return self._packed[1]


def read_model(data: bytes) -> Any:
    """A `.tflite` file's bytes -> its object tree (schema.ModelT)."""
    if data[4:8] != FILE_IDENTIFIER:
        raise BundleError(f"found {data[4:8]!r} where a .tflite file has {FILE_IDENTIFIER!r}; lower the graph again")
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))


def read_models(files: Sequence[bytes]) -> Any:
    """Several `.tflite` files -> one object tree with the subgraphs and signatures of all, in their order."""
    first, *rest = (read_model(data) for data in files)
    for model in rest:
        _append_model(first, model)
    return first


def _append_model(into: Any, model: Any) -> None:
    """Moves subgraphs and signatures of `model` into `into`, renumbering what they refer to.

    Buffer 0 is the empty one in every file; file-wide metadata stay those of `into`.
    """
    codes, buffers, graphs = len(into.operatorCodes), len(into.buffers), len(into.subgraphs)
    into.operatorCodes.extend(model.operatorCodes)
    into.buffers.extend(model.buffers[1:])
    for subgraph in model.subgraphs:
        for tensor in subgraph.tensors:
            tensor.buffer += buffers - 1 if tensor.buffer else 0
        for operator in subgraph.operators:
            operator.opcodeIndex += codes
            if isinstance(operator.builtinOptions2, schema.StableHLOCompositeOptionsT):
                operator.builtinOptions2.decompositionSubgraphIndex += graphs
    for signature in model.signatureDefs:
        signature.subgraphIndex += graphs
    into.subgraphs.extend(model.subgraphs)
    into.signatureDefs.extend(model.signatureDefs)


def add_external_buffer(model: Any, size: int) -> int:
    """Index of a new buffer of `size` bytes, whose payload `write_model` will take."""
    model.buffers.append(schema.BufferT(offset=UNPLACED, size=size))
    return len(model.buffers) - 1


def write_model(model: Any, payloads: Mapping[int, Payload], path: Path) -> int:
    """Writes `model` to `path`, the payloads (by buffer index) behind it; returns the file's bytes."""
    packed = _pack(model)
    places = dict(_places(payloads, len(packed)))
    _patch_offsets(packed, places)
    with path.open("wb") as out:
        out.write(packed)
        for index, payload in payloads.items():
            out.write(bytes(places[index] - out.tell()))
            _write_payload(payload, out)
        return out.tell()


def _pack(model: Any) -> bytearray:
    inline, model.buffers = model.buffers, [_AlignedBuffer(buffer) for buffer in model.buffers]
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    model.buffers = inline
    return bytearray(builder.Output())


def _places(payloads: Mapping[int, Payload], start: int) -> Iterator[tuple[int, int]]:
    """(buffer index, offset) of each payload, in order, behind `start` bytes of flatbuffer."""
    for index, payload in payloads.items():
        start += -start % EXTERNAL_ALIGNMENT
        yield index, start
        start += payload.size if isinstance(payload, StoredBytes) else len(payload)


def _patch_offsets(packed: bytearray, places: Mapping[int, int]) -> None:
    root = schema.Model.GetRootAs(packed, 0)
    for index, offset in places.items():
        table = root.Buffers(index)._tab
        struct.pack_into("<Q", packed, table.Pos + table.Offset(_BUFFER_OFFSET_FIELD), offset)


def _write_payload(payload: Payload, out: BinaryIO) -> None:
    if isinstance(payload, bytes):
        out.write(payload)
        return
    with payload.path.open("rb", buffering=0) as source:
        source.seek(payload.offset)
        left, window = payload.size, memoryview(bytearray(min(COPY_BYTES, payload.size)))
        while left:
            count = source.readinto(window[:left])
            if not count:
                raise BundleError(
                    f"{payload.path}: ends {left} bytes before offset {payload.offset} + {payload.size}; "
                    "it was cut, quantize again"
                )
            out.write(window[:count])
            left -= count
