"""Which operators LiteRT's GPU delegate takes. It must take a graph whole, or LiteRT-LM does not start.

The rules were tried operator by operator on ai-edge-litert 2.3.0's WebGPU delegate, which is what
tests/bundle/test_gpu_operators.py does. Names beyond those are from `NewOperationParser` in
ml_drift_delegate/tflite/model_builder.cc of https://github.com/google-ai-edge/LiteRT at f674577. Types of tensors are
not looked at.
"""

from collections.abc import Iterator
from math import prod
from typing import Final

from edge_mtp.bundle.operators import Graph, Operator

MOST_DIMENSIONS: Final = 4
EMBEDDING_LOOKUP: Final = "EMBEDDING_LOOKUP"
SELECTS: Final = ("SELECT", "SELECT_V2")

BINARY: Final = frozenset(
    name
    for row in (
        ("ADD", "DIV", "FLOOR_DIV", "FLOOR_MOD", "MAXIMUM", "MINIMUM", "MUL", "POW", "SQUARED_DIFFERENCE", "SUB"),
        ("EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "NOT_EQUAL"),
    )
    for name in row
)
"""Operators that refuse a computed operand of rank 0; a constant one they take."""

CONSTANTS_ONLY: Final = BINARY | {"CONCATENATION", "DEQUANTIZE"}
"""Operators taken with nothing but constants for operands. Of the others that were tried none was."""

TAKEN: Final = BINARY | frozenset(
    name
    for row in (
        ("ABS", "ADD_N", "ARG_MAX", "ATAN2", "AVERAGE_POOL_2D", "BATCH_MATMUL", "BITCAST", "BITWISE_XOR", "CAST"),
        ("CEIL", "CONCATENATION", "CONV_2D", "COS", "CUMSUM", "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE", "DEQUANTIZE"),
        ("DYNAMIC_UPDATE_SLICE", "ELU", "EXP", "FLOOR", "FULLY_CONNECTED", "GATHER", "GELU", "HARD_SWISH"),
        ("LEAKY_RELU", "LOG", "LOGICAL_AND", "LOGICAL_NOT", "LOGICAL_OR", "LOGISTIC", "LSTM", "MAX_POOL_2D", "MEAN"),
        ("MIRROR_PAD", "NEG", "ONE_HOT", "PACK", "PAD", "PADV2", "PRELU", "QUANTIZE", "REDUCE_ALL", "REDUCE_ANY"),
        ("REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "RESHAPE"),
        ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "REVERSE_V2", "RIGHT_SHIFT", "ROUND", "RSQRT", "SELECT"),
        ("SELECT_V2", "SIGN", "SIN", "SLICE", "SOFTMAX", "SPACE_TO_DEPTH", "SPLIT", "SPLIT_V", "SQRT", "SQUARE"),
        ("STABLEHLO_BROADCAST_IN_DIM", "STABLEHLO_CBRT", "STABLEHLO_CLAMP", "STABLEHLO_REMAINDER"),
        ("STABLEHLO_SHIFT_LEFT", "STRIDED_SLICE", "SUM", "TANH", "TILE", "TOPK_V2", "TRANSPOSE", "TRANSPOSE_CONV"),
        ("UNPACK",),
    )
    for name in row
)
"""Builtins that the delegate knows, but EMBEDDING_LOOKUP, which it takes and then fails with."""


def refusals(graph: Graph, operator: Operator) -> Iterator[str]:
    """Why the delegate would not take a builtin, in words that name it; nothing where it would."""
    name = operator.name
    given = graph.given(operator)
    if name == EMBEDDING_LOOKUP:
        yield f"{name} outside the embedders' sections, with float rows it ends the process"
    elif name not in TAKEN:
        yield f"{name} is unknown to it"
    if operator.inputs and not given and name not in CONSTANTS_ONLY:
        yield f"{name} of constants only"
    if name in BINARY and any(not graph.shapes[index] for index in given):
        yield f"{name} with a computed operand of rank 0, keep its dimension"
    if name in SELECTS and any(_broadcasts(graph, operator, index) for index in operator.inputs[1:]):
        yield f"{name} that broadcasts more than a constant number"
    if any(len(graph.shapes[index]) > MOST_DIMENSIONS for index in (*given, *operator.outputs)):
        yield f"{name} with more than {MOST_DIMENSIONS} dimensions"


def _broadcasts(graph: Graph, select: Operator, index: int) -> bool:
    """Whether an operand has neither the result's shape nor is one number that the file holds."""
    shape = graph.shapes[index]
    number = index in graph.constants and prod(shape) == 1
    return not number and shape != graph.shapes[select.outputs[0]]
