"""Min-max rounding of one chunk of a weight to symmetric integer codes.

Codes and scales equal those of ai-edge-quantizer's min-max recipes, bit for bit: scale = largest
magnitude / largest code, code = value / scale rounded half to even; a blockwise scale is rounded to
bfloat16 and kept as float16. Groups are rows, or blocks of columns within a row.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge_mtp.recipe import WeightFormat

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int8]
Stored = npt.NDArray[Any]

SMALLEST_PEAK: Final = np.float32(1e-9)  # an all-zero row still gets a scale
SMALLEST_NORMAL_HALF: Final = 2.0**-14  # finer float16 scales lose digits: codes may pass the range
LARGEST_SCALE: Final = 65280.0  # the largest bfloat16 that float16 holds
# Adding this to a float32 rounds it to an integer, half to even, that its low bits then hold.
_ROUNDER: Final = np.float32(1.5 * 2**23)
_FEW_COLUMNS: Final = (32, 64)


@dataclass(frozen=True)
class Scratch:
    """Buffers for one chunk, used again for every chunk: fresh ones would cost more than the arithmetic."""

    values: Floats
    ratios: Floats
    spare: Floats
    codes: Codes

    @classmethod
    def for_values(cls, count: int) -> "Scratch":
        """Buffers for chunks of at most `count` values."""
        values, ratios, spare = np.empty((3, count), np.float32)
        return cls(values, ratios, spare, np.empty(count, np.int8))


def largest_code(weight_format: WeightFormat) -> np.float32:
    """The code of a group's largest magnitude: 127, 7 or 1."""
    return np.float32(2 ** (weight_format.bits - 1) - 1)


def widen(stored: Stored, scratch: Scratch) -> Floats:
    """Stored [rows, columns] float, or bfloat16 seen as uint16 -> the same float32, in `scratch.values`."""
    values = scratch.values[: stored.size].reshape(stored.shape)
    if stored.dtype != np.uint16:
        np.copyto(values, stored)
        return values
    widened = values.view(np.uint32)
    np.copyto(widened, stored)
    widened <<= 16
    return values


def find_peaks(stored: Stored, group: int, scratch: Scratch) -> Floats:
    """Bfloat16 or float32 values -> the largest magnitude of each `group` of them [groups] float32.

    NaN counts as larger than infinity. Works on the bits, and in `scratch.ratios` and `scratch.spare`.
    """
    unsigned, magnitude = (np.uint16, 0x7FFF) if stored.dtype == np.uint16 else (np.uint32, 0x7FFFFFFF)
    bits, spare = (buffer.view(unsigned)[: stored.size] for buffer in (scratch.ratios, scratch.spare))
    np.bitwise_and(stored.reshape(-1).view(unsigned), magnitude, out=bits)
    largest = _largest(bits, group, spare)
    return (largest.astype(np.uint32) << 16 if unsigned is np.uint16 else largest).view(np.float32)


def _largest(magnitudes: npt.NDArray[Any], group: int, spare: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Magnitudes [groups * group] unsigned -> the maximum of each group [groups]; overwrites both buffers.

    numpy is slow at reducing few values; sliding the flat array over itself is not.
    """
    if group not in _FEW_COLUMNS:
        largest: npt.NDArray[Any] = magnitudes.reshape(-1, group).max(axis=1)
        return largest
    size, reach = magnitudes.size, group // 2
    while reach:
        size -= reach
        np.maximum(magnitudes[:size], magnitudes[reach : reach + size], out=spare[:size])
        magnitudes, spare = spare, magnitudes
        reach //= 2
    return magnitudes[:size:group].copy()


def scales_of(peaks: Floats, weight_format: WeightFormat) -> Floats:
    """Peaks [groups] -> scales [groups] float32, blockwise ones exact in float16."""
    scales = np.maximum(peaks, SMALLEST_PEAK)
    scales /= largest_code(weight_format)
    if not weight_format.block:
        return scales
    bits = scales.view(np.uint32)
    to_bfloat16 = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return to_bfloat16.view(np.float32).astype(np.float16).astype(np.float32)


def round_to_codes(
    values: Floats, scales: Floats, weight_format: WeightFormat, scratch: Scratch
) -> tuple[Codes, float]:
    """Values [groups, n] over scales [groups] -> codes [groups * n], energy of the error.

    Overwrites `values`; the codes lie in `scratch.codes`.
    """
    codes = scratch.codes[: values.size]
    ratios = _ratios(values, scales, weight_format, scratch.ratios[: values.size].reshape(values.shape))
    rounded = np.add(ratios, _ROUNDER, out=values)
    np.copyto(codes, rounded.view(np.int32).reshape(-1), casting="unsafe")
    rounded -= _ROUNDER
    ratios -= rounded
    return codes, float(np.vdot(np.vecdot(ratios, ratios), np.square(scales, dtype=np.float64)))


def _ratios(values: Floats, scales: Floats, weight_format: WeightFormat, out: Floats) -> Floats:
    """Values [groups, n] over scales [groups], kept in the codes' range where rounding may leave it."""
    if not weight_format.block or scales.min() >= SMALLEST_NORMAL_HALF:
        np.divide(values, scales[:, None], out=out)
        return out
    with np.errstate(divide="ignore", invalid="ignore"):  # a scale may be 0: then its codes mean nothing
        np.divide(values, scales[:, None], out=out)
    np.clip(out, -largest_code(weight_format) - 1, largest_code(weight_format), out=out)
    out[np.isnan(out)] = 0.0
    return out
