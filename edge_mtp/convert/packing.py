"""Integer codes packed to 8, 4 or 2 bits, as LiteRT stores them.

Codes are packed over the whole tensor, not row by row: int4 fills the low nibble first, int2 the
lowest two bits first, and the last byte is filled up with zeros.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

CODES_PER_WORD = 4  # a chunk that holds a multiple of this many codes ends on a byte at every width


def packed_bytes(values: int, bits: int) -> int:
    """Bytes that `values` codes of `bits` bits take."""
    return (values * bits + 7) // 8


def pack_codes(codes: npt.NDArray[np.int8], bits: int) -> npt.NDArray[np.uint8]:
    """Codes [n] int8, in the range of `bits` bits -> packed [ceil(n * bits / 8)] uint8."""
    if bits == 8:
        return codes.view(np.uint8)
    packed = _pack_pairs(_whole_words(codes)) if bits == 4 else _pack_quads(_whole_words(codes))
    return packed[: packed_bytes(codes.size, bits)]


def _whole_words(codes: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    missing = -codes.size % CODES_PER_WORD
    return np.pad(codes, (0, missing)) if missing else codes


def _pack_pairs(codes: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    pairs: npt.NDArray[Any] = codes.view("<u2")
    merged: npt.NDArray[Any] = ((pairs >> 4) & 0xF0) | (pairs & 0x0F)
    return merged.astype(np.uint8)


def _pack_quads(codes: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    quads: npt.NDArray[Any] = codes.view("<u4") & 0x03030303
    pairs = quads | (quads >> 6)
    merged: npt.NDArray[Any] = pairs | (pairs >> 12)
    return merged.astype(np.uint8)
