"""What LiteRT's number formats mean, written down a second time and slowly, for tests to compare with."""

from pathlib import Path

import numpy as np

from edge_mtp.convert.quantize import QuantizedTensor, WeightRows


def unpack(packed: bytes, bits: int, count: int) -> np.ndarray:
    """Packed codes -> [count] int64; int4 low nibble first, int2 lowest bits first."""
    planes = np.unpackbits(np.frombuffer(packed, np.uint8), bitorder="little")[: count * bits]
    unsigned = planes.reshape(count, bits) @ (1 << np.arange(bits))
    return np.where(unsigned >= 1 << (bits - 1), unsigned - (1 << bits), unsigned)


def dequantize(tensor: QuantizedTensor, codes: Path) -> np.ndarray:
    """The weight [rows, ...] float32 that the codes and scales stand for."""
    raw = codes.read_bytes()[tensor.codes_offset :][: tensor.codes_bytes]
    if tensor.scales is None:
        return np.frombuffer(raw, np.float32).reshape(tensor.shape)
    values = unpack(raw, tensor.format.bits, int(np.prod(tensor.shape))).astype(np.float32)
    groups = values.reshape(-1, tensor.format.block or tensor.shape[1])
    return (groups * tensor.scales.astype(np.float32).reshape(-1, 1)).reshape(tensor.shape)


def to_bfloat16(values: np.ndarray) -> np.ndarray:
    """Float32 cut to bfloat16, as the uint16 a checkpoint gives."""
    return (values.view(np.uint32) >> 16).astype(np.uint16)


def rows_of(name: str, stored: np.ndarray) -> WeightRows:
    """An array as a weight to quantize."""
    rows = np.atleast_1d(stored)
    return WeightRows(name, stored.shape, lambda start, stop: rows[start:stop], f"shard.safetensors: {name}")
