"""Builds `.tflite` files by hand from specifications, so that tests can break any detail."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as tfl
from flatbuffers import flexbuffers


@dataclass(frozen=True)
class TensorSpec:
    """A tensor of a signature or a weight; `scales` makes a weight quantized, `block` makes it blockwise.

    `values` are a weight's, which otherwise holds bytes of no meaning.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "FLOAT32"
    scales: tuple[float, ...] = ()
    block: int = 0
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class OperatorSpec:
    """An operator of a signature: a composite where it has attributes, else a builtin with the schema's `options`.

    An operand is the last tensor of that name that an earlier operator wrote, else the signature's input or weight;
    a result is the signature's output of that name. Tensors that the signature does not have are its own.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    attributes: Mapping[str, object] | None = None
    options: Any = None


@dataclass(frozen=True)
class SignatureSpec:
    """One signature and the subgraph behind it.

    `ops`, `composites` and `customs` are for tests that count names: they join the first input, and ops the weights,
    to the first output. `operators` come before them.
    """

    key: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    weights: tuple[TensorSpec, ...] = ()
    ops: tuple[str, ...] = ("FULLY_CONNECTED",)
    composites: tuple[str, ...] = ()
    customs: tuple[str, ...] = ()
    operators: tuple[OperatorSpec, ...] = ()


@dataclass
class _Builder:
    model: tfl.ModelT
    external: list[bytes] = field(default_factory=list)


def build_tflite(signatures: Sequence[SignatureSpec]) -> bytes:
    """Signatures -> .tflite bytes with the weights behind the flatbuffer, as the exporter writes them."""
    model = tfl.ModelT(
        version=3,
        description=b"test",
        subgraphs=[],
        signatureDefs=[],
        operatorCodes=[],
        buffers=[tfl.BufferT()],
    )
    builder = _Builder(model)
    for signature in signatures:
        _add_signature(builder, signature)
    shared = _pack(model)
    start = -(-len(shared) // 64) * 64
    offsets = []
    for data in builder.external:
        offsets.append(start)
        start = -(-(start + len(data)) // 64) * 64
    placed = [buffer for buffer in model.buffers if buffer.size > 1]
    for buffer, offset in zip(placed, offsets, strict=True):
        buffer.offset = offset
    packed = bytearray(_pack(model))
    assert len(packed) == len(shared)
    for data, offset in zip(builder.external, offsets, strict=True):
        packed.extend(b"\0" * (offset - len(packed)))
        packed.extend(data)
    return bytes(packed)


def _pack(model: tfl.ModelT) -> bytes:
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _add_signature(builder: _Builder, signature: SignatureSpec) -> None:
    graph = tfl.SubGraphT(tensors=[], inputs=[], outputs=[], operators=[], name=signature.key)
    inputs = [_add_tensor(builder, graph, tensor) for tensor in signature.inputs]
    outputs = [_add_tensor(builder, graph, tensor) for tensor in signature.outputs]
    weights = [_add_weight(builder, graph, weight) for weight in signature.weights]
    graph.inputs, graph.outputs = inputs, outputs
    _add_operators(builder, graph, signature, [*inputs, *weights], outputs)
    for name in signature.ops:
        graph.operators.append(_operator(builder, name, [*inputs[:1], *weights], outputs[:1]))
    for name in signature.composites:
        graph.operators.append(_composite(builder, name, {}, inputs[:1], outputs[:1]))
    for name in signature.customs:
        graph.operators.append(_operator(builder, "CUSTOM", inputs[:1], outputs[:1], custom=name))
    builder.model.subgraphs.append(graph)
    builder.model.signatureDefs.append(
        tfl.SignatureDefT(
            signatureKey=signature.key,
            subgraphIndex=len(builder.model.subgraphs) - 1,
            inputs=[tfl.TensorMapT(t.name, i) for t, i in zip(signature.inputs, inputs, strict=True)],
            outputs=[tfl.TensorMapT(t.name, i) for t, i in zip(signature.outputs, outputs, strict=True)],
        )
    )


def _add_operators(
    builder: _Builder, graph: tfl.SubGraphT, signature: SignatureSpec, given: list[int], results: list[int]
) -> None:
    known = {spec.name: index for spec, index in zip((*signature.inputs, *signature.weights), given, strict=True)}
    returned = {spec.name: index for spec, index in zip(signature.outputs, results, strict=True)}
    for spec in signature.operators:
        for operand in spec.inputs:
            if operand.name not in known:
                known[operand.name] = _add_tensor(builder, graph, operand)
        inputs = [known[operand.name] for operand in spec.inputs]
        outputs = [
            returned[one.name] if one.name in returned else _add_tensor(builder, graph, one) for one in spec.outputs
        ]
        known.update(zip((one.name for one in spec.outputs), outputs, strict=True))
        if spec.attributes is not None:
            graph.operators.append(_composite(builder, spec.name, spec.attributes, inputs, outputs))
            continue
        operator = _operator(builder, spec.name, inputs, outputs)
        if spec.options is not None:
            operator.builtinOptionsType = getattr(tfl.BuiltinOptions, type(spec.options).__name__.removesuffix("T"))
            operator.builtinOptions = spec.options
        graph.operators.append(operator)


def _composite(
    builder: _Builder, name: str, attributes: Mapping[str, object], inputs: list[int], outputs: list[int]
) -> tfl.OperatorT:
    operator = _operator(builder, "STABLEHLO_COMPOSITE", inputs, outputs)
    operator.builtinOptions2Type = tfl.BuiltinOptions2.StableHLOCompositeOptions
    packed = list(flexbuffers.Dumps(dict(attributes))) if attributes else None
    operator.builtinOptions2 = tfl.StableHLOCompositeOptionsT(name=name, compositeAttributes=packed)
    return operator


def _operator(
    builder: _Builder, name: str, inputs: list[int], outputs: list[int], custom: str | None = None
) -> tfl.OperatorT:
    code = getattr(tfl.BuiltinOperator, name)
    builder.model.operatorCodes.append(
        tfl.OperatorCodeT(deprecatedBuiltinCode=min(code, 127), builtinCode=code, version=1, customCode=custom)
    )
    return tfl.OperatorT(opcodeIndex=len(builder.model.operatorCodes) - 1, inputs=inputs, outputs=outputs)


def _add_tensor(builder: _Builder, graph: tfl.SubGraphT, spec: TensorSpec) -> int:
    graph.tensors.append(
        tfl.TensorT(
            name=spec.name,
            shape=list(spec.shape),
            type=getattr(tfl.TensorType, spec.dtype),
            buffer=0,
            hasRank=True,
        )
    )
    return len(graph.tensors) - 1


def _add_weight(builder: _Builder, graph: tfl.SubGraphT, spec: TensorSpec) -> int:
    """A constant; the same name in two signatures shares one buffer."""
    index = _add_tensor(builder, graph, spec)
    tensor = graph.tensors[index]
    tensor.quantization = _quantization(builder, graph, spec)
    for other in builder.model.subgraphs:
        for known in other.tensors:
            if known.name == spec.name and known.buffer:
                tensor.buffer = known.buffer
                return index
    bits = {"FLOAT32": 32, "INT32": 32, "FLOAT16": 16, "INT8": 8, "INT4": 4, "INT2": 2}[spec.dtype]
    size = -(-int(np.prod(spec.shape)) * bits // 8)
    filler = (bytes(range(256)) * (size // 256 + 1))[:size]
    builder.external.append(np.asarray(spec.values, spec.dtype.lower()).tobytes() if spec.values else filler)
    builder.model.buffers.append(tfl.BufferT(offset=2, size=size))
    tensor.buffer = len(builder.model.buffers) - 1
    return index


def _quantization(builder: _Builder, graph: tfl.SubGraphT, spec: TensorSpec) -> tfl.QuantizationParametersT | None:
    if not spec.scales:
        return None
    if not spec.block:
        return tfl.QuantizationParametersT(scale=list(spec.scales), zeroPoint=[0] * len(spec.scales))
    data = np.asarray(spec.scales, np.float16).tobytes()
    builder.model.buffers.append(tfl.BufferT(data=list(data)))
    graph.tensors.append(
        tfl.TensorT(
            name=spec.name + ".scales",
            shape=[spec.shape[0], spec.shape[1] // spec.block],
            type=tfl.TensorType.FLOAT16,
            buffer=len(builder.model.buffers) - 1,
        )
    )
    return tfl.QuantizationParametersT(
        detailsType=tfl.QuantizationDetails.BlockwiseQuantization,
        details=tfl.BlockwiseQuantizationT(scales=len(graph.tensors) - 1, zeroPoints=-1, blockSize=spec.block),
    )
