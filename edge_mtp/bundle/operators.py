"""The operators behind a signature, enough to follow a cache through them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property


@dataclass(frozen=True)
class Operator:
    """One operator: the name of the builtin or, of a composite or custom operator, its own.

    `inputs` and `outputs` are indices into the graph's tensors, −1 for an operand left out. `attributes` are a
    composite's plain ones: booleans, numbers and texts.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    is_builtin: bool = True
    attributes: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """A signature's graph; what composites fall back to on the CPU is not in it.

    `shapes` are those of all tensors, `constants` the tensors that hold data in the file, `inputs` and `outputs` the
    tensors behind the signature's names.
    """

    operators: tuple[Operator, ...]
    shapes: tuple[tuple[int, ...], ...]
    constants: frozenset[int]
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]

    @cached_property
    def producers(self) -> Mapping[int, Operator]:
        """The operator that writes a tensor, for each that one does."""
        return {index: operator for operator in self.operators for index in operator.outputs}

    @cached_property
    def readers(self) -> Mapping[int, tuple[Operator, ...]]:
        """The operators that read a tensor, for each that one does."""
        found: dict[int, list[Operator]] = {}
        for operator in self.operators:
            for index in dict.fromkeys(operator.inputs):
                found.setdefault(index, []).append(operator)
        return {index: tuple(operators) for index, operators in found.items()}

    def given(self, operator: Operator) -> tuple[int, ...]:
        """The operands of `operator` that are neither left out nor constants."""
        return tuple(index for index in operator.inputs if index >= 0 and index not in self.constants)
