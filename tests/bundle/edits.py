"""The sound bundle's signatures with one thing changed."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from edge_mtp import names
from edge_mtp.bundle.metadata import KvCache, build_executor_metadata
from tests.bundle import models
from tests.bundle.flatbuffer import OperatorSpec, SignatureSpec, TensorSpec

TARGET, DRAFTER = models.target_signatures(), (models.drafter_signature(),)

EXECUTOR = build_executor_metadata([KvCache(layer, models.ROWS) for layer in range(models.LAYERS)], models.WINDOW)

Edited = dict[str, tuple[SignatureSpec, ...]]
Rework = Callable[[OperatorSpec], Sequence[OperatorSpec]]


def changed_tensor(tensors: Sequence[TensorSpec], name: str, **changes: object) -> tuple[TensorSpec, ...]:
    """The tensors with fields of `name`'s replaced."""
    return tuple(replace(one, **changes) if one.name == name else one for one in tensors)


def without(tensors: Sequence[TensorSpec], *absent: str) -> tuple[TensorSpec, ...]:
    """The tensors but those named."""
    return tuple(one for one in tensors if one.name not in absent)


def edit(signatures: Sequence[SignatureSpec], key: str, **changes: Callable[..., object]) -> tuple[SignatureSpec, ...]:
    """The signatures with fields of `key`'s replaced; a callable is given the old value."""
    return tuple(
        replace(one, **{name: change(getattr(one, name)) for name, change in changes.items()})
        if one.key == key
        else one
        for one in signatures
    )


def target(key: str, **changes: Callable[..., object]) -> Edited:
    """The target with one signature edited."""
    return {names.TARGET: edit(TARGET, key, **changes)}


def drafter(**changes: Callable[..., object]) -> Edited:
    """The drafter edited."""
    return {names.DRAFTER: edit(DRAFTER, names.DRAFT, **changes)}


def reworked(rework: Rework) -> Callable[[Sequence[OperatorSpec]], tuple[OperatorSpec, ...]]:
    """For `edit(operators=…)`: every operator replaced by those that `rework` makes of it."""
    return lambda operators: tuple(new for old in operators for new in rework(old))


def attributes(name: str, over: str, **changes: object) -> Callable[..., tuple[OperatorSpec, ...]]:
    """For `edit(operators=…)`: composites `name` that read or write `over` get attributes; None takes one away."""

    def rework(old: OperatorSpec) -> Sequence[OperatorSpec]:
        if old.name != name or over not in {one.name for one in (*old.inputs, *old.outputs)}:
            return [old]
        merged = {**(old.attributes or {}), **changes}
        return [replace(old, attributes={key: value for key, value in merged.items() if value is not None})]

    return reworked(rework)


def executor(change: Callable[[Any], None]) -> dict[str, object]:
    """The sound bundle's ExecutorMetadata, changed in place by `change`, as a field of its plan."""
    changed = type(EXECUTOR)()
    changed.CopyFrom(EXECUTOR)
    change(changed.llm_executor_metadata)
    return {"executor_metadata": changed}
