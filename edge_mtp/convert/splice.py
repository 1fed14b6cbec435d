"""Turns the weight inputs of lowered, weightless `.tflite` files into constants of one file.

Every signature's subgraph keeps its own tensor for a weight, but all of them point at one buffer
behind the flatbuffer. Weights that a signature does not read leave it without a trace.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edge_mtp.convert.constants import Constant
from edge_mtp.convert.flatbuffer import Payload, SharedTable, add_external_buffer, read_models, write_model
from edge_mtp.errors import BundleError

_TYPES: Final = {
    "float32": schema.TensorType.FLOAT32,
    "int32": schema.TensorType.INT32,
    "int8": schema.TensorType.INT8,
    "int4": schema.TensorType.INT4,
    "int2": schema.TensorType.INT2,
}
_TYPE_NAMES: Final = {value: name for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
_OP_NAMES: Final = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
# (operator, operand) pairs for which the stock CPU runtime has a kernel, by the weight's form.
_GATHER: Final = ("GATHER", 0)
_LOOKUP: Final = ("EMBEDDING_LOOKUP", 1)
_MATMUL: Final = ("FULLY_CONNECTED", 1)
_READS_CODES: Final = {"int8": (_GATHER,), "int4": (_GATHER,)}
_READS_ROW_SCALES: Final = {
    "int8": (_LOOKUP, _MATMUL),
    "int4": (_LOOKUP, _MATMUL),
    "int2": (_LOOKUP, _MATMUL),
}
_READS_BLOCK_SCALES: Final = {"int4": (_LOOKUP, _MATMUL), "int2": (_LOOKUP,)}


@dataclass(frozen=True)
class _Reader:
    """An operator that takes a tensor as operand number `operand`."""

    operator: Any
    op_name: str
    operand: int


@dataclass(frozen=True)
class _BoundGraph:
    """A signature with its subgraph; `weights` is tensor index -> constant, `unread` those nobody needs."""

    signature: Any
    subgraph: Any
    weights: Mapping[int, Constant]
    unread: frozenset[int]
    readers: Mapping[int, Sequence[_Reader]]


@dataclass(frozen=True)
class _Placed:
    """Where a constant lies in the model: buffer indices, and the per-row quantization all graphs share."""

    data: int
    block_scales: int | None
    row_quantization: SharedTable | None


def splice(
    lowered: Sequence[bytes],
    bindings: Mapping[str, Mapping[str, str]],
    constants: Mapping[str, Constant],
    path: Path,
) -> int:
    """Writes the signatures of all `lowered` files, weight inputs made constants, to `path`; returns its bytes.

    `bindings` maps signature -> signature input -> weight name, `constants` weight name -> constant.
    The data lie in the order of `constants`; constants that no signature reads are not written. The
    same arguments give the same bytes.
    """
    model = read_models(lowered)
    _check_signatures(model, bindings)
    graphs = [
        _bind(model, signature, bindings.get(signature.signatureKey.decode(), {}), constants)
        for signature in model.signatureDefs
    ]
    read = {constant.name for graph in graphs for constant in graph.weights.values()}
    payloads: dict[int, Payload] = {}
    placed = {
        constant.name: _place(model, constant, payloads) for constant in constants.values() if constant.name in read
    }
    for graph in graphs:
        for index, constant in graph.weights.items():
            _make_constant(graph, index, constant, placed[constant.name])
        _drop_inputs(graph)
        _drop_tensors(graph)
    return write_model(model, payloads, path)


def _check_signatures(model: Any, bindings: Mapping[str, Mapping[str, str]]) -> None:
    found = {signature.signatureKey.decode() for signature in model.signatureDefs}
    if missing := sorted(set(bindings) - found):
        raise BundleError(f"weights are bound to signatures {missing}, the graph has {sorted(found)}; lower it again")


def _bind(model: Any, signature: Any, inputs: Mapping[str, str], constants: Mapping[str, Constant]) -> _BoundGraph:
    subgraph = model.subgraphs[signature.subgraphIndex]
    readers = _readers(model, subgraph)
    weights, unread = {}, set()
    for input_name, index in _indices_of(signature, inputs).items():
        if index in readers:
            constant = _constant_for(inputs[input_name], constants)
            _check_fit(constant, subgraph.tensors[index], readers[index])
            weights[index] = constant
        else:
            unread.add(index)
    return _BoundGraph(signature, subgraph, weights, frozenset(unread), readers)


def _readers(model: Any, subgraph: Any) -> dict[int, list[_Reader]]:
    readers: dict[int, list[_Reader]] = {}
    for operator in subgraph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        name = _OP_NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]
        for operand, index in enumerate(operator.inputs):
            readers.setdefault(int(index), []).append(_Reader(operator, name, operand))
    return readers


def _indices_of(signature: Any, inputs: Mapping[str, str]) -> dict[str, int]:
    found = {entry.name.decode(): int(entry.tensorIndex) for entry in signature.inputs}
    if missing := sorted(set(inputs) - set(found)):
        raise BundleError(f"signature {signature.signatureKey.decode()} has no inputs {missing}; lower the graph again")
    return {name: index for name, index in found.items() if name in inputs}


def _constant_for(name: str, constants: Mapping[str, Constant]) -> Constant:
    if name not in constants:
        raise BundleError(f"the graph reads weight {name}, which was not quantized; quantize it first")
    return constants[name]


def _check_fit(constant: Constant, tensor: Any, readers: Sequence[_Reader]) -> None:
    """The lowered input must have the constant's shape, and readers that understand its form."""
    lowered = tuple(int(size) for size in tensor.shape), _TYPE_NAMES[tensor.type]
    if lowered != (constant.shape, _lowered_type(constant)):
        raise BundleError(
            f"{constant.name}: the graph takes {lowered[1]} {list(lowered[0])}, "
            f"the weight is {constant.dtype} {list(constant.shape)}; lower the graph for this checkpoint"
        )
    if constant.dtype in ("float32", "int32"):
        return
    form, allowed = _allowed_readers(constant)
    if wrong := sorted({reader.op_name for reader in readers if (reader.op_name, reader.operand) not in allowed}):
        raise BundleError(
            f"{constant.name}: {form} is read by {', '.join(wrong)}, for which the runtime has no kernel; "
            "give this weight another format"
        )


def _lowered_type(constant: Constant) -> str:
    if constant.dtype == "int32":
        return "INT32"
    return "FLOAT32" if constant.dtype == "float32" or constant.scales is not None else "INT8"


def _allowed_readers(constant: Constant) -> tuple[str, Sequence[tuple[str, int]]]:
    """The form of integer codes in words, and the (operator, operand) pairs that may read it."""
    if constant.scales is None:
        return f"raw {constant.dtype}", _READS_CODES.get(constant.dtype, ())
    if constant.block:
        return f"{constant.dtype} in blocks of {constant.block}", _READS_BLOCK_SCALES.get(constant.dtype, ())
    return constant.dtype, _READS_ROW_SCALES.get(constant.dtype, ())


def _place(model: Any, constant: Constant, payloads: dict[int, Payload]) -> _Placed:
    data = add_external_buffer(model, constant.size)
    payloads[data] = constant.data
    if constant.scales is None:
        return _Placed(data, None, None)
    if not constant.block:
        return _Placed(data, None, SharedTable(_row_quantization(constant)))
    scales = add_external_buffer(model, constant.scales.nbytes)
    payloads[scales] = constant.scales.tobytes()
    return _Placed(data, scales, None)


def _row_quantization(constant: Constant) -> Any:
    return schema.QuantizationParametersT(
        scale=constant.scales, zeroPoint=np.zeros(constant.shape[0], np.int64), quantizedDimension=0
    )


def _make_constant(graph: _BoundGraph, index: int, constant: Constant, placed: _Placed) -> None:
    tensor = graph.subgraph.tensors[index]
    tensor.name, tensor.buffer, tensor.type = constant.name.encode(), placed.data, _TYPES[constant.dtype]
    tensor.quantization = placed.row_quantization
    if placed.block_scales is not None:
        tensor.quantization = _block_quantization(graph.subgraph, tensor, constant.block, placed.block_scales)
    if constant.scales is None:
        for reader in graph.readers[index]:
            _retype_gathered(graph, reader, tensor.type)


def _block_quantization(subgraph: Any, tensor: Any, block: int, buffer: int) -> Any:
    """Adds the scales [rows, columns / block] float16 of `tensor` to `subgraph` and refers to them."""
    rows, columns = tensor.shape
    subgraph.tensors.append(
        schema.TensorT(
            shape=np.array([rows, columns // block], np.int32),
            type=schema.TensorType.FLOAT16,
            buffer=buffer,
            name=tensor.name + b"_scales",
            hasRank=True,
        )
    )
    return schema.QuantizationParametersT(
        detailsType=schema.QuantizationDetails.BlockwiseQuantization,
        details=schema.BlockwiseQuantizationT(scales=len(subgraph.tensors) - 1, zeroPoints=-1, blockSize=block),
        quantizedDimension=0,
    )


def _retype_gathered(graph: _BoundGraph, reader: _Reader, tensor_type: int) -> None:
    """Rows gathered from raw codes have the codes' type; torch knows no int4, so it lowered them as int8."""
    if reader.op_name == "GATHER" and reader.operand == 0:
        for output in reader.operator.outputs:
            graph.subgraph.tensors[output].type = tensor_type


def _drop_inputs(graph: _BoundGraph) -> None:
    gone = graph.unread | graph.weights.keys()
    graph.subgraph.inputs = _int32(index for index in graph.subgraph.inputs if index not in gone)
    graph.signature.inputs = [entry for entry in graph.signature.inputs if entry.tensorIndex not in gone]


def _drop_tensors(graph: _BoundGraph) -> None:
    """Removes the unread tensors and renumbers what refers to the others."""
    subgraph, signature = graph.subgraph, graph.signature
    kept = [index for index in range(len(subgraph.tensors)) if index not in graph.unread]
    new = {old: index for index, old in enumerate(kept)} | {-1: -1}
    subgraph.tensors = [subgraph.tensors[index] for index in kept]
    for owner in (subgraph, *subgraph.operators):
        owner.inputs = _int32(new[index] for index in owner.inputs)
        owner.outputs = _int32(new[index] for index in owner.outputs)
    for operator in subgraph.operators:
        if operator.intermediates is not None:
            operator.intermediates = _int32(new[index] for index in operator.intermediates)
    for entry in (*signature.inputs, *signature.outputs):
        entry.tensorIndex = new[entry.tensorIndex]
    for tensor in subgraph.tensors:
        details = getattr(tensor.quantization, "details", None)
        if isinstance(details, schema.BlockwiseQuantizationT):
            details.scales = new[details.scales]


def _int32(indices: Iterator[int]) -> Any:
    return np.fromiter(indices, np.int32)
