"""What LiteRT's WebGPU delegate cannot take, looked for in a `.tflite` file. Found by running LiteRT-LM 0.18.1.

It must take a graph whole, or the engine does not start. The operators behind a signature are read; the bodies of
composites are not, since the delegate has operators of its own for those.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from edge_mtp.bundle.tflite import BUILTIN_NAMES
from edge_mtp.convert.flatbuffer import read_model

LACKING = frozenset({"SCATTER_ND"})

ON_THE_CPU = "EMBEDDING_LOOKUP"
"""Its float form aborts the process. The runtime keeps both embedders on the CPU, so there it may stand."""

RESHAPING = frozenset({"RESHAPE", "TRANSPOSE", "BROADCAST_TO"})
"""Of a constant: "Expected 1 runtime input"."""

ABSENT = -1
"""Index of an operand that is left out, such as a bias."""

FLOATS = (schema.TensorType.FLOAT32, schema.TensorType.FLOAT16)


@dataclass(frozen=True)
class Composite:
    """A marked piece: its name, the names of its operands and results, and what it tells the delegate."""

    name: str
    operands: tuple[str, ...]
    results: tuple[str, ...]
    attributes: Mapping[str, Any]


def refusals(data: bytes, *, weights: str, embedder: bool = False) -> list[str]:
    """A line for each operator that the delegate would refuse; empty where it takes the graphs whole.

    A constant is a tensor with data, or a signature's input whose name begins with `weights`: it becomes one.
    """
    model = read_model(data)
    return [wrong for signature in model.signatureDefs for wrong in _refusals_of(model, signature, weights, embedder)]


def composites(data: bytes) -> list[Composite]:
    """The marked pieces of all signatures, in the order they run."""
    model = read_model(data)
    graphs = [model.subgraphs[signature.subgraphIndex] for signature in model.signatureDefs]
    return [
        _composite(graph, operator)
        for graph in graphs
        for operator in graph.operators
        if _op_name(model, operator) == "STABLEHLO_COMPOSITE"
    ]


def unmarked_users(data: bytes, words: Sequence[str]) -> list[str]:
    """A line for each operator outside a composite that reads or writes a tensor with one of `words` in its name."""
    model, found = read_model(data), []
    for graph in (model.subgraphs[signature.subgraphIndex] for signature in model.signatureDefs):
        for operator in graph.operators:
            tensors = [_tensor_name(graph, i) for i in (*operator.inputs, *operator.outputs) if i != ABSENT]
            touched = [tensor for tensor in tensors if any(word in tensor for word in words)]
            if touched and _op_name(model, operator) != "STABLEHLO_COMPOSITE":
                found.append(f"{_op_name(model, operator)}: {', '.join(touched)}")
    return found


def _refusals_of(model: Any, signature: Any, weights: str, embedder: bool) -> Iterator[str]:
    graph = model.subgraphs[signature.subgraphIndex]
    constants = {index for index, tensor in enumerate(graph.tensors) if _has_data(model.buffers[tensor.buffer])}
    constants |= {one.tensorIndex for one in signature.inputs if one.name.decode().startswith(weights)}
    for operator in graph.operators:
        name = _op_name(model, operator)
        if name in LACKING or (name == ON_THE_CPU and not embedder):
            yield name
        if name in RESHAPING and operator.inputs[0] in constants:
            yield f"{name} of constant {_tensor_name(graph, operator.inputs[0])}"
        for index in operator.outputs:
            if graph.tensors[index].type in FLOATS and _rank(graph.tensors[index]) == 0:
                yield f"{name} gives a scalar"


def _composite(graph: Any, operator: Any) -> Composite:
    options = operator.builtinOptions2
    return Composite(
        name=options.name.decode(),
        operands=tuple(_tensor_name(graph, index) for index in operator.inputs),
        results=tuple(_tensor_name(graph, index) for index in operator.outputs),
        attributes=flexbuffers.Loads(bytes(options.compositeAttributes)),
    )


def _op_name(model: Any, operator: Any) -> str:
    code = model.operatorCodes[operator.opcodeIndex]
    return BUILTIN_NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]


def _tensor_name(graph: Any, index: int) -> str:
    return graph.tensors[index].name.decode()


def _has_data(buffer: Any) -> bool:
    return bool(buffer.offset) or (buffer.data is not None and len(buffer.data) > 0)


def _rank(tensor: Any) -> int:
    return 0 if tensor.shape is None else len(tensor.shape)
