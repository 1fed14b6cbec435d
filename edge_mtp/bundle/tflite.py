"""Summary of a `.tflite` flatbuffer: signatures, stored types, weights and operators, without loading the weights.

The interpreter shows INT4 and INT2 weights as int8; here they are read from the flatbuffer as stored.
Python's flatbuffers package has no verifier, so counts are bounded here and every error that garbage can
raise is turned into BundleError at one border, `border.refusing_garbage`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from edge_mtp.bundle.border import refusing_garbage
from edge_mtp.bundle.operators import Graph, Operator
from edge_mtp.bundle.summary import ModelSummary, Signature, Tensor, Weight

IDENTIFIER = b"TFL3"
COMPOSITE = "STABLEHLO_COMPOSITE"
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
    codes = list(_all(model.OperatorCodes, model.OperatorCodesLength()))
    ops, composites, customs = _count_ops(codes, subgraphs)
    definitions = list(_all(model.SignatureDefs, model.SignatureDefsLength()))
    return ModelSummary(
        description=_text(model.Description()),
        signatures=tuple(_signature(subgraphs, one) for one in definitions),
        weights=tuple(_weights(subgraphs, buffers, externals)),
        ops=ops,
        composites=composites,
        customs=customs,
        graphs={
            _text(one.SignatureKey()): _graph(codes, subgraphs[one.SubgraphIndex()], one, buffers, externals)
            for one in definitions
        },
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


def _count_ops(codes: Sequence[Any], subgraphs: Sequence[Any]) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Ops of all subgraphs by builtin name, composites by their name, custom ops by theirs."""
    ops, composites, customs = Counter[str](), Counter[str](), Counter[str]()
    for graph in subgraphs:
        for operator in _all(graph.Operators, graph.OperatorsLength()):
            builtin, name = _names_of(codes, operator)
            counter = {"CUSTOM": customs, COMPOSITE: composites}.get(builtin, ops)
            counter[name] += 1
    return ops, composites, customs


def _names_of(codes: Sequence[Any], operator: Any) -> tuple[str, str]:
    """Name of the builtin, and the operator's own: that of the composite or custom op where it is one."""
    code = codes[operator.OpcodeIndex()]
    builtin = BUILTIN_NAMES[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
    if builtin == "CUSTOM":
        return builtin, _text(code.CustomCode())
    if builtin == COMPOSITE:
        options = _composite(operator)
        return builtin, "unnamed" if options is None else _text(options.Name())
    return builtin, builtin


def _composite(operator: Any) -> Any:
    """Options of a composite, None where it has none."""
    union = operator.BuiltinOptions2()
    if union is None or operator.BuiltinOptions2Type() != schema.BuiltinOptions2.StableHLOCompositeOptions:
        return None
    options = schema.StableHLOCompositeOptions()
    options.Init(union.Bytes, union.Pos)
    return options


def _graph(
    codes: Sequence[Any], graph: Any, definition: Any, buffers: Sequence[int], externals: Mapping[int, Any]
) -> Graph:
    tensors = list(_all(graph.Tensors, graph.TensorsLength()))
    return Graph(
        operators=tuple(_operator(codes, one) for one in _all(graph.Operators, graph.OperatorsLength())),
        shapes=tuple(_shape(tensor) for tensor in tensors),
        constants=frozenset(i for i, tensor in enumerate(tensors) if _place(tensor, buffers, externals)[1]),
        inputs=_indices_by_name(_all(definition.Inputs, definition.InputsLength())),
        outputs=_indices_by_name(_all(definition.Outputs, definition.OutputsLength())),
    )


def _operator(codes: Sequence[Any], operator: Any) -> Operator:
    builtin, name = _names_of(codes, operator)
    return Operator(
        name=name,
        inputs=tuple(int(operator.Inputs(i)) for i in _indices(operator.InputsLength())),
        outputs=tuple(int(operator.Outputs(i)) for i in _indices(operator.OutputsLength())),
        is_builtin=builtin == name,
        attributes=_attributes(_composite(operator)) if builtin == COMPOSITE else {},
    )


def _attributes(options: Any) -> dict[str, object]:
    """A composite's attributes that are booleans, numbers or texts; nested ones are left aside."""
    if options is None or not options.CompositeAttributesLength():
        return {}
    root = flexbuffers.GetRoot(options.CompositeAttributesAsNumpy().tobytes())
    if not root.IsMap:
        return {}
    found = root.AsMap
    entries = ((key.AsKey, value) for key, value in zip(found.Keys, found.Values, strict=True))
    return {str(key): value.Value for key, value in entries if value.IsBool or value.IsNumeric or value.IsString}


def _indices_by_name(entries: Iterator[Any]) -> dict[str, int]:
    return {_text(entry.Name()): int(entry.TensorIndex()) for entry in entries}


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
