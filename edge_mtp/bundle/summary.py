"""Values that describe one `.tflite` model: signatures, weights as stored, ops."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from edge_mtp.bundle.operators import Graph

_TYPES_BY_BITS = {
    64: ("FLOAT64", "INT64", "UINT64", "COMPLEX64"),
    32: ("FLOAT32", "INT32", "UINT32"),
    16: ("FLOAT16", "BFLOAT16", "INT16", "UINT16"),
    8: ("INT8", "UINT8", "BOOL", "FLOAT8_E4M3FN", "FLOAT8_E5M2"),
    4: ("INT4", "UINT4"),
    2: ("INT2",),
}
TYPE_BITS = {name: bits for bits, members in _TYPES_BY_BITS.items() for name in members}


@dataclass(frozen=True)
class Tensor:
    """An input or output of a signature: its name there, shape, and type as stored (`INT4`, `FLOAT32`, …)."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def size_bytes(self) -> int:
        """Bytes of the tensor at its declared shape."""
        return packed_bytes(self.shape, self.dtype)

    def __str__(self) -> str:
        return f"{self.name} [{','.join(map(str, self.shape))}] {self.dtype.lower()}"


@dataclass(frozen=True)
class Signature:
    """One entry point of a model."""

    key: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def input(self, name: str) -> Tensor | None:
        """The input called `name`, if there is one."""
        return next((tensor for tensor in self.inputs if tensor.name == name), None)

    def output(self, name: str) -> Tensor | None:
        """The output called `name`, if there is one."""
        return next((tensor for tensor in self.outputs if tensor.name == name), None)


@dataclass(frozen=True)
class Weight:
    """A constant: `data_bytes` as stored, `scale_bytes` of its scales, `block` columns a scale (0: rows).

    `bad_scales` counts row scales that are zero or not finite; the scales of blocks lie among the weights
    and are not read.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    data_bytes: int
    scale_bytes: int = 0
    block: int = 0
    bad_scales: int = 0

    @property
    def elements(self) -> int:
        """Number of values."""
        return prod(self.shape)

    @property
    def is_parameter(self) -> bool:
        """Whether the constant can be a trained weight: no scalar, index or flag."""
        return bool(self.shape) and self.dtype not in ("INT32", "INT64", "BOOL", "STRING")

    @property
    def stored_as(self) -> str:
        """Stored type as recipes spell it: `int4/32` is INT4 with a scale for each 32 columns."""
        return self.dtype.lower() + (f"/{self.block}" if self.block else "")


@dataclass(frozen=True)
class WeightGroup:
    """All weights of one name pattern and stored type; layer numbers are written `*`."""

    pattern: str
    stored_as: str
    tensors: int
    elements: int
    data_bytes: int
    scale_bytes: int
    is_parameter: bool

    @property
    def bits_per_weight(self) -> float:
        """Bits per weight, scales included."""
        return 8 * (self.data_bytes + self.scale_bytes) / self.elements if self.elements else 0.0


@dataclass(frozen=True)
class ModelSummary:
    """What one `.tflite` holds.

    `ops`, `composites` and `customs` count the ops of all subgraphs, the latter two by the name they carry. `graphs`
    are the signatures' own, by key.
    """

    description: str
    signatures: tuple[Signature, ...]
    weights: tuple[Weight, ...]
    ops: Mapping[str, int]
    composites: Mapping[str, int]
    customs: Mapping[str, int]
    graphs: Mapping[str, Graph]

    @property
    def groups(self) -> tuple[WeightGroup, ...]:
        """The weights by name pattern and stored type, the largest first."""
        return group_weights(self.weights, [signature.key for signature in self.signatures])

    def signature(self, key: str) -> Signature | None:
        """The signature called `key`, if there is one."""
        return next((signature for signature in self.signatures if signature.key == key), None)

    @property
    def parameters(self) -> int:
        """Number of values in all trained weights."""
        return sum(weight.elements for weight in self.weights if weight.is_parameter)

    @property
    def bits_per_weight(self) -> float:
        """Bits per trained weight, scales included."""
        stored = sum(weight.data_bytes + weight.scale_bytes for weight in self.weights if weight.is_parameter)
        return 8 * stored / self.parameters if self.parameters else 0.0


def packed_bytes(shape: Sequence[int], dtype: str) -> int:
    """Bytes of a tensor of `shape`; sub-byte types are packed."""
    return -(-prod(shape) * TYPE_BITS.get(dtype, 0) // 8)


def group_weights(weights: Sequence[Weight], prefixes: Sequence[str] = ()) -> tuple[WeightGroup, ...]:
    """Weights by name pattern and stored type, the largest first.

    `prefixes` are signature keys: converters put the first signature that uses a weight before its name.
    """
    lead = "|".join(map(re.escape, prefixes))
    groups: dict[tuple[str, str], list[Weight]] = {}
    for weight in weights:
        name = re.sub(rf"^(?:{lead})_", "", weight.name) if prefixes else weight.name
        groups.setdefault((re.sub(r"\d+", "*", name), weight.stored_as), []).append(weight)
    found = [
        WeightGroup(
            pattern=pattern,
            stored_as=stored_as,
            tensors=len(members),
            elements=sum(member.elements for member in members),
            data_bytes=sum(member.data_bytes for member in members),
            scale_bytes=sum(member.scale_bytes for member in members),
            is_parameter=members[0].is_parameter,
        )
        for (pattern, stored_as), members in groups.items()
    ]
    return tuple(sorted(found, key=lambda group: (-group.data_bytes, group.pattern)))
