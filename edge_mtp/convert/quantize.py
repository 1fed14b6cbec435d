"""Quantizes one weight, streamed from its stored rows to packed codes in a file.

Work goes in chunks small enough for a core's own cache, so it costs little more than reading the
checkpoint, and memory does not grow with the tensor. Errors are measured on the way.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from edge_mtp.convert.minmax import (
    LARGEST_SCALE,
    Floats,
    Scratch,
    Stored,
    find_peaks,
    largest_code,
    round_to_codes,
    scales_of,
    widen,
)
from edge_mtp.convert.packing import CODES_PER_WORD, pack_codes
from edge_mtp.errors import CheckpointError
from edge_mtp.recipe import WeightFormat

VALUES_PER_CHUNK: Final = 1 << 16


@dataclass(frozen=True)
class WeightRows:
    """A weight [rows, ...] whose rows start..stop-1 `read(start, stop)` gives.

    Rows come as float32, float16, or bfloat16 seen as uint16. `origin` says in messages where they
    come from.
    """

    name: str
    shape: tuple[int, ...]
    read: Callable[[int, int], Stored]
    origin: str

    @property
    def rows(self) -> int:
        """Length of the first axis; 1 for a scalar."""
        return self.shape[0] if self.shape else 1

    @property
    def columns(self) -> int:
        """Values in a row."""
        return math.prod(self.shape[1:])


@dataclass(frozen=True)
class QuantizedTensor:
    """One written weight: `codes_bytes` bytes at `codes_offset` of the codes file, and its scales.

    Scales are [rows] float32, [rows, columns / block] float16, or None for a float32 weight. The
    energies are sums of squares over the whole tensor, of the weight and of its error.
    """

    name: str
    shape: tuple[int, ...]
    format: WeightFormat
    codes_offset: int
    codes_bytes: int
    scales: npt.NDArray[Any] | None
    weight_energy: float
    error_energy: float

    @property
    def relative_error(self) -> float:
        """Root of error energy over weight energy; 0 is exact."""
        return math.sqrt(self.error_energy / self.weight_energy) if self.error_energy else 0.0

    @property
    def snr_db(self) -> float:
        """Signal-to-noise ratio of the stored weight; infinite where nothing was lost."""
        return -20.0 * math.log10(self.relative_error) if self.relative_error else math.inf


@dataclass(frozen=True)
class _Chunk:
    """What one chunk of rows became."""

    packed: npt.NDArray[np.uint8]
    scales: Floats
    weight_energy: float
    error_energy: float


def quantize_weight(
    weight: WeightRows,
    weight_format: WeightFormat,
    out: BinaryIO,
    on_bytes: Callable[[int], None] | None = None,
) -> QuantizedTensor:
    """Weight [rows, ...] -> its codes appended to `out`, scales and error returned.

    `on_bytes` hears the number of checkpoint bytes after each chunk. Raises CheckpointError where a
    row holds NaN or infinity; what `out` then holds behind its old end is worthless.
    """
    offset = out.tell()
    bounds = list(chunk_bounds(weight.rows, weight.columns))
    scratch = Scratch.for_values(bounds[0][1] * weight.columns)
    scales: list[Floats] = []
    weight_energy = error_energy = 0.0
    for start, stop in bounds:
        stored = np.ascontiguousarray(weight.read(start, stop)).reshape(stop - start, weight.columns)
        chunk = _encode(stored, weight_format, partial(_refuse, weight, start), scratch)
        out.write(chunk.packed.data)
        scales.append(chunk.scales)
        weight_energy += chunk.weight_energy
        error_energy += chunk.error_energy
        if on_bytes:
            on_bytes(stored.nbytes)
    return QuantizedTensor(
        name=weight.name,
        shape=weight.shape,
        format=weight_format,
        codes_offset=offset,
        codes_bytes=out.tell() - offset,
        scales=_stored_scales(np.concatenate(scales), weight.rows, weight_format),
        weight_energy=weight_energy,
        error_energy=error_energy,
    )


def chunk_bounds(rows: int, columns: int) -> Iterator[tuple[int, int]]:
    """Row ranges (start, stop) of about VALUES_PER_CHUNK values; all but the last end on a whole byte."""
    step = max(VALUES_PER_CHUNK // columns // CODES_PER_WORD, 1) * CODES_PER_WORD
    return ((start, min(start + step, rows)) for start in range(0, rows, step))


def _encode(
    stored: Stored,
    weight_format: WeightFormat,
    check: Callable[[Floats, WeightFormat], None],
    scratch: Scratch,
) -> _Chunk:
    """Stored [rows, columns] -> codes and scales; `check` sees the peaks [rows, groups] first."""
    group = weight_format.block or stored.shape[1]
    values = widen(stored, scratch)
    peaks = find_peaks(stored if stored.dtype == np.uint16 else values, group, scratch)
    check(peaks.reshape(len(stored), -1), weight_format)
    energy = float(np.vdot(values, values))
    if weight_format.dtype == "float32":
        return _Chunk(values.reshape(-1).view(np.uint8), peaks[:0], energy, 0.0)
    scales = scales_of(peaks, weight_format)
    codes, error_energy = round_to_codes(values.reshape(-1, group), scales, weight_format, scratch)
    return _Chunk(pack_codes(codes, weight_format.bits), scales, energy, error_energy)


def _refuse(weight: WeightRows, start: int, peaks: Floats, weight_format: WeightFormat) -> None:
    """Peaks [rows, groups] of the rows from `start` on must be finite, and fit the scales' type."""
    if not np.isfinite(peaks).all():
        bad_row = start + int(np.flatnonzero(~np.isfinite(peaks).all(axis=1))[0])
        raise CheckpointError(
            f"{weight.origin}: row {bad_row} holds NaN or infinity, weights must be finite; "
            "download the checkpoint again, or use one that training left whole"
        )
    if weight_format.block and peaks.max() > LARGEST_SCALE * largest_code(weight_format):
        raise CheckpointError(
            f"{weight.origin}: magnitude {peaks.max():g} needs a scale beyond {LARGEST_SCALE:g}, the most "
            f"that {weight_format.label} stores in float16; give this weight a format without blocks"
        )


def _stored_scales(scales: Floats, rows: int, weight_format: WeightFormat) -> npt.NDArray[Any] | None:
    if weight_format.dtype == "float32":
        return None
    return scales.reshape(rows, -1).astype(np.float16) if weight_format.block else scales
