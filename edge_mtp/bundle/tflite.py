"""Summary of a `.tflite` flatbuffer: signatures, stored types, weights and ops, without loading the weights.

The interpreter shows INT4 and INT2 weights as int8; here they are read from the flatbuffer as stored.
Python's flatbuffers package has no verifier, so counts are bounded here and every error that garbage can
raise is turned into BundleError at one border, `border.refusing_garbage`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edge_mtp.bundle.border import refusing_garbage
from edge_mtp.bundle.summary import ModelSummary, Signature, Tensor, Weight

IDENTIFIER = b"TFL3"
MAX_ENTRIES = 1 << 20


def summarize(data: memoryview, what: str = "the model") -> ModelSummary:
    """Bytes of a .tflite -> summary; BundleError naming `what` where they are none or damaged."""
    with refusing_garbage(what):
        if bytes(data[4:8]) != IDENTIFIER:
            raise ValueError(f"found {bytes(data[4:8])!r} at byte 4, expected {IDENTIFIER!r}")
        return _summarize(schema.Model.GetRootAs(data, 0), len(data))


def _summarize(model: Any, size: int) -> ModelSummary:
    subgraphs = list(_all(model.Subgraphs, model.SubgraphsLength()))
    if not subgraphs:
        raise ValueError("it has no graphs")
    externals = {one.Id(): one for one in _all(model.ExternalBuffers, model.ExternalBuffersLength())}
    buffers = [_buffer_bytes(one, size) for one in _all(model.Buffers, model.BuffersLength())]
    ops, composites, customs = _count_ops(model, subgraphs)
    return ModelSummary(
        description=_text(model.Description()),
        signatures=tuple(_signature(subgraphs, one) for one in _all(model.SignatureDefs, model.SignatureDefsLength())),
        weights=tuple(_weights(subgraphs, buffers, externals)),
        ops=ops,
        composites=composites,
        customs=customs,
    )


def _signature(subgraphs: Sequence[Any], definition: Any) -> Signature:
    graph = subgraphs[definition.SubgraphIndex()]
    return Signature(
        key=_text(definition.SignatureKey()),
        inputs=tuple(_tensor(graph, one) for one in _all(definition.Inputs, definition.InputsLength())),
        outputs=tuple(_tensor(graph, one) for one in _all(definition.Outputs, definition.OutputsLength())),
    )


def _tensor(graph: Any, entry: Any) -> Tensor:
    if not 0 <= entry.TensorIndex() < graph.TensorsLength():
        raise IndexError(f"a signature names tensor {entry.TensorIndex()} of {graph.TensorsLength()}")
    tensor = graph.Tensors(entry.TensorIndex())
    return Tensor(_text(entry.Name()), _shape(tensor), _dtype(tensor))


def _weights(subgraphs: Sequence[Any], buffers: Sequence[int], externals: Mapping[int, Any]) -> Iterator[Weight]:
    """Every constant once, however many signatures share it; block scales are counted with their weight."""
    seen: set[tuple[str, int]] = set()
    for graph in subgraphs:
        tensors = list(_all(graph.Tensors, graph.TensorsLength()))
        scales = {details.Scales() for tensor in tensors if (details := _blocks(tensor)) is not None}
        for index, tensor in enumerate(tensors):
            key, size = _place(tensor, buffers, externals)
            if size and index not in scales and key not in seen:
                seen.add(key)
                yield _weight(tensors, tensor, size, buffers)


def _weight(tensors: Sequence[Any], tensor: Any, size: int, buffers: Sequence[int]) -> Weight:
    blocks = _blocks(tensor)
    row_scales = _row_scales(tensor)
    return Weight(
        name=_text(tensor.Name()),
        shape=_shape(tensor),
        dtype=_dtype(tensor),
        data_bytes=size,
        scale_bytes=row_scales.nbytes if blocks is None else buffers[tensors[blocks.Scales()].Buffer()],
        block=0 if blocks is None else int(blocks.BlockSize()),
        bad_scales=int(np.count_nonzero(~(np.isfinite(row_scales) & (row_scales != 0)))),
    )


def _place(tensor: Any, buffers: Sequence[int], externals: Mapping[int, Any]) -> tuple[tuple[str, int], int]:
    """Where a tensor's data lies (a key that shared data shares) and how many bytes it has."""
    external = tensor.ExternalBuffer()
    if external and external in externals:
        return ("external", external), int(externals[external].Length())
    return ("buffer", tensor.Buffer()), buffers[tensor.Buffer()]


def _blocks(tensor: Any) -> Any:
    """Blockwise quantization of a tensor, None where there is none."""
    quantization = tensor.Quantization()
    if quantization is None or quantization.DetailsType() != schema.QuantizationDetails.BlockwiseQuantization:
        return None
    union = quantization.Details()
    details = schema.BlockwiseQuantization()
    details.Init(union.Bytes, union.Pos)
    return details


def _row_scales(tensor: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    quantization = tensor.Quantization()
    if quantization is None or not quantization.ScaleLength():
        return np.empty(0, np.float32)
    return np.asarray(quantization.ScaleAsNumpy(), np.float32)


def _buffer_bytes(buffer: Any, size: int) -> int:
    """Bytes of a buffer, inside the flatbuffer or behind it; ValueError where it does not lie in the file."""
    if buffer.Offset() > 1:
        if buffer.Offset() + buffer.Size() > size:
            raise ValueError(f"a weight ends at byte {buffer.Offset() + buffer.Size()}, the model has {size}")
        return int(buffer.Size())
    if buffer.DataLength() > size:
        raise ValueError(f"a weight has {buffer.DataLength()} bytes, the model has {size}")
    return int(buffer.DataLength())


def _count_ops(model: Any, subgraphs: Sequence[Any]) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Ops of all subgraphs by builtin name, composites by their name, custom ops by theirs."""
    codes = list(_all(model.OperatorCodes, model.OperatorCodesLength()))
    ops, composites, customs = Counter[str](), Counter[str](), Counter[str]()
    for graph in subgraphs:
        for operator in _all(graph.Operators, graph.OperatorsLength()):
            code = codes[operator.OpcodeIndex()]
            name = BUILTIN_NAMES[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
            if name == "CUSTOM":
                customs[_text(code.CustomCode())] += 1
            elif name == "STABLEHLO_COMPOSITE":
                composites[_composite_name(operator)] += 1
            else:
                ops[name] += 1
    return ops, composites, customs


def _composite_name(operator: Any) -> str:
    union = operator.BuiltinOptions2()
    if union is None or operator.BuiltinOptions2Type() != schema.BuiltinOptions2.StableHLOCompositeOptions:
        return "unnamed"
    options = schema.StableHLOCompositeOptions()
    options.Init(union.Bytes, union.Pos)
    return _text(options.Name())


def _all(get: Any, count: int) -> Iterator[Any]:
    for index in _indices(count):
        yield get(index)


def _indices(count: int) -> range:
    if count > MAX_ENTRIES:
        raise ValueError(f"a list claims {count} entries")
    return range(count)


def _shape(tensor: Any) -> tuple[int, ...]:
    return tuple(int(tensor.Shape(i)) for i in _indices(tensor.ShapeLength()))


def _dtype(tensor: Any) -> str:
    return TYPE_NAMES[tensor.Type()]


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("utf-8")


def _names(enumeration: type) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}


TYPE_NAMES = _names(schema.TensorType)
BUILTIN_NAMES = _names(schema.BuiltinOperator)
