"""What weight inputs become in a bundle: typed constants, with their bytes in memory or in a codes file."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from edge_mtp.convert.packing import packed_bytes
from edge_mtp.convert.quantize import QuantizedTensor
from edge_mtp.errors import BundleError

ConstantType = Literal["float32", "int32", "int8", "int4", "int2"]

_BITS: Final[dict[ConstantType, int]] = {"float32": 32, "int32": 32, "int8": 8, "int4": 4, "int2": 2}


@dataclass(frozen=True)
class StoredBytes:
    """`size` bytes at `offset` of the file at `path`."""

    path: Path
    offset: int
    size: int


@dataclass(frozen=True)
class Constant:
    """A constant tensor of `shape`; `scales` make its codes stand for floats.

    Scales are [rows] float32, or [rows, columns / block] float16, or None: then the graph reads the
    stored values themselves.
    """

    name: str
    dtype: ConstantType
    shape: tuple[int, ...]
    data: StoredBytes | bytes
    scales: npt.NDArray[Any] | None = None

    def __post_init__(self) -> None:
        """Refuses data of another size than shape and type need."""
        needed = packed_bytes(math.prod(self.shape), _BITS[self.dtype])
        if self.size != needed:
            raise BundleError(
                f"{self.name}: {self.size} bytes stored, but {self.dtype} {list(self.shape)} takes {needed}; "
                "quantize this weight again"
            )

    @property
    def size(self) -> int:
        """Bytes of the stored values, scales not counted."""
        return self.data.size if isinstance(self.data, StoredBytes) else len(self.data)

    @property
    def block(self) -> int:
        """Columns that share a scale, or 0 where a whole row does (or there are no scales)."""
        if self.scales is None or self.scales.ndim == 1:
            return 0
        return self.shape[1] // int(self.scales.shape[1])


def weight_constant(tensor: QuantizedTensor, codes: Path) -> Constant:
    """A quantized (or float32) weight, to be read by FULLY_CONNECTED, EMBEDDING_LOOKUP or plainly."""
    return Constant(tensor.name, tensor.format.dtype, tensor.shape, _stored(tensor, codes), tensor.scales)


def raw_codes_constant(tensor: QuantizedTensor, codes: Path) -> Constant:
    """The weight's integer codes as such, for a graph that multiplies by the scales itself."""
    return Constant(tensor.name, tensor.format.dtype, tensor.shape, _stored(tensor, codes))


def array_constant(name: str, values: npt.NDArray[Any]) -> Constant:
    """A float32 or int32 array as it is."""
    if values.dtype not in (np.float32, np.int32):
        raise BundleError(f"{name}: an array constant is float32 or int32, found {values.dtype}; convert it first")
    dtype: ConstantType = "float32" if values.dtype == np.float32 else "int32"
    return Constant(name, dtype, values.shape, values.tobytes())


def _stored(tensor: QuantizedTensor, codes: Path) -> StoredBytes:
    return StoredBytes(codes, tensor.codes_offset, tensor.codes_bytes)
