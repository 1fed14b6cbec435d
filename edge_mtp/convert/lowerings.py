"""How `edge_mtp.graphs.ops` are lowered: to the LiteRT operators that litert-torch would make of the plain forms."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from litert_converter.mlir import ir
from litert_converter.mlir.dialects import stablehlo
from litert_torch.backend import lowerings

import edge_mtp.graphs.ops

REGISTERS_OPS = (edge_mtp.graphs.ops,)


@lowerings.lower(torch.ops.edge_mtp.rms_norm)
def _rms_norm(context: Any, x: Any, epsilon: float) -> Any:
    """MUL, MEAN, ADD, RSQRT, MUL."""
    shape = list(x.type.shape)
    summed = [*shape[:-1], 1]
    square = _op("tfl.mul", shape, [x, x], fused_activation_function="NONE")
    axis = _constant(np.array([len(shape) - 1], np.int32))
    mean = _op("tfl.mean", summed, [square, axis], keep_dims=True)
    floor = _constant(np.full([1] * len(shape), epsilon, np.float32))
    shifted = _op("tfl.add", summed, [mean, floor], fused_activation_function="NONE")
    return _op("tfl.mul", shape, [x, _op("tfl.rsqrt", summed, [shifted])], fused_activation_function="NONE")


@lowerings.lower(torch.ops.edge_mtp.rotate)
def _rotate(context: Any, x: Any, cos: Any, sin: Any) -> Any:
    """Two SLICEs, NEG, CONCATENATION, then MUL, MUL, ADD."""
    shape = list(x.type.shape)
    half = shape[-1] // 2
    first, second = (_halved(x, shape, start) for start in (0, half))
    turned = stablehlo.concatenate([stablehlo.negate(second), first], len(shape) - 1)
    along = _op("tfl.mul", shape, [x, cos], fused_activation_function="NONE")
    across = _op("tfl.mul", shape, [turned, sin], fused_activation_function="NONE")
    return _op("tfl.add", shape, [along, across], fused_activation_function="NONE")


@lowerings.lower(torch.ops.edge_mtp.scale)
def _scale(context: Any, x: Any, factor: Any) -> Any:
    """MUL, which broadcasts the factor by itself."""
    return _op("tfl.mul", list(x.type.shape), [x, factor], fused_activation_function="NONE")


def _halved(x: Any, shape: Sequence[int], start: int) -> Any:
    """Half of the last axis of x, from `start` on."""
    starts = [0] * (len(shape) - 1) + [start]
    limits = [*shape[:-1], start + shape[-1] // 2]
    return stablehlo.slice(x, starts, limits, [1] * len(shape))


def _op(name: str, shape: Sequence[int], operands: Sequence[Any], **attributes: bool | str) -> Any:
    """A LiteRT operator with one float32 result of `shape`, carried through StableHLO as litert-torch does."""
    spelt = {
        key: ir.BoolAttr.get(value) if isinstance(value, bool) else ir.StringAttr.get(value)
        for key, value in attributes.items()
    }
    return stablehlo.custom_call(
        result=[ir.RankedTensorType.get(list(shape), ir.F32Type.get())],
        inputs=list(operands),
        call_target_name=ir.StringAttr.get(name),
        has_side_effect=ir.BoolAttr.get(False),
        backend_config=ir.StringAttr.get(str(ir.DictAttr.get(spelt))),
    )


def _constant(values: Any) -> Any:
    return lowerings.utils.numpy_array_constant(values)
