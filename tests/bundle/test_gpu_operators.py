"""The delegate itself says which operators it takes, where there is a Vulkan driver; lint must say the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ai_edge_litert import schema_py_generated as tfl

from edge_mtp.bundle.gpu_operators import refusals
from edge_mtp.bundle.tflite import summarize
from tests.bundle.flatbuffer import OperatorSpec, SignatureSpec, TensorSpec, build_tflite
from tests.gpu.driver import find_driver

ENVIRONMENT, DRIVER = find_driver()

A, RESULT = TensorSpec("a", (1, 4)), TensorSpec("result", (1, 4))
ONE, INDEX = TensorSpec("one", (1,)), TensorSpec("index", (2, 1), "INT32")
SCALAR, MIDDLE = TensorSpec("scalar", ()), TensorSpec("middle", (1, 4))
WEIGHT, OTHER = TensorSpec("weight", (1, 4), values=(1, 2, 3, 4)), TensorSpec("other", (1, 4), values=(1, 1, 1, 1))
ROW = TensorSpec("row", (4,), values=(1, 2, 3, 4))
NUMBER = TensorSpec("number", (), values=(2,))
HALF = TensorSpec("half", (1, 4), "FLOAT16", values=(1, 2, 3, 4))
WHOLE = TensorSpec("whole", (1, 4), "INT32", values=(1, 2, 3, 4))
ZERO = TensorSpec("zero", (1,), "INT32", values=(0,))
ORDER = TensorSpec("order", (2,), "INT32", values=(1, 0))
CORNER, EXTENT = TensorSpec("at", (2,), "INT32", values=(0, 0)), TensorSpec("by", (2,), "INT32", values=(1, 4))
SQUARE = TensorSpec("square", (4, 4), values=(1,) * 16)
TALL = TensorSpec("tall", (4, 1), values=(1, 2, 3, 4))
SEEN, PAIR = TensorSpec("seen", (1, 4), "BOOL"), TensorSpec("pair", (2, 4))
ADD, MUL, SELECT = tfl.AddOptionsT(), tfl.MulOptionsT(), tfl.SelectV2OptionsT()
REDUCE, KEEP = tfl.ReducerOptionsT(keepDims=False), tfl.ReducerOptionsT(keepDims=True)
AS_ROW, AS_SCALAR, AS_ONE = (tfl.ReshapeOptionsT(newShape=shape) for shape in ([1, 4], [], [1, 1]))
ONES, FOUR = TensorSpec("ones", (2,), values=(1, 1)), TensorSpec("four", (1,), "INT32", values=(4,))
NEGATED, BACK = TensorSpec("negated", ()), TensorSpec("back", (1, 1))
FIVE = TensorSpec("five", (1, 1, 1, 1, 4))


def add(left: TensorSpec, right: TensorSpec = MIDDLE) -> OperatorSpec:
    return OperatorSpec("ADD", (left, right), (RESULT,), options=ADD)


def to_middle(name: str, *operands: TensorSpec, options: object = None) -> tuple[OperatorSpec, ...]:
    """`name` over constants, its result added to an input."""
    return OperatorSpec(name, operands, (MIDDLE,), options=options), add(A)


GRAPHS = {
    "plain": (OperatorSpec("RELU", (A,), (RESULT,)),),
    "sum kept": (OperatorSpec("SUM", (A, ZERO), (MIDDLE,), options=KEEP), add(A)),
    "sum to rank 0": (OperatorSpec("SUM", (ONE, ZERO), (SCALAR,), options=REDUCE), add(A, SCALAR)),
    "rank 0 reshaped": (
        OperatorSpec("RESHAPE", (ONE,), (SCALAR,), options=AS_SCALAR),
        OperatorSpec("NEG", (SCALAR,), (NEGATED,), options=tfl.NegOptionsT()),
        OperatorSpec("RESHAPE", (NEGATED,), (BACK,), options=AS_ONE),
        add(A, BACK),
    ),
    "constant of rank 0": (add(A, NUMBER),),
    "product of constants": to_middle("MUL", WEIGHT, OTHER, options=MUL),
    "constants side by side": to_middle("CONCATENATION", WEIGHT, OTHER, options=tfl.ConcatenationOptionsT(axis=0)),
    "constant of float16": to_middle("DEQUANTIZE", HALF, options=tfl.DequantizeOptionsT()),
    "constant reshaped": to_middle("RESHAPE", ROW, options=AS_ROW),
    "constant turned": to_middle("TRANSPOSE", TALL, ORDER, options=tfl.TransposeOptionsT()),
    "constant negated": to_middle("NEG", WEIGHT, options=tfl.NegOptionsT()),
    "constant cast": to_middle("CAST", WHOLE, options=tfl.CastOptionsT(inDataType=tfl.TensorType.INT32)),
    "constant gathered": to_middle("GATHER", WEIGHT, ZERO, options=tfl.GatherOptionsT()),
    "constant cut": to_middle("SLICE", WEIGHT, CORNER, EXTENT, options=tfl.SliceOptionsT()),
    "matmul of constants": to_middle("FULLY_CONNECTED", WEIGHT, SQUARE, options=tfl.FullyConnectedOptionsT()),
    "constants summed": to_middle("SUM", WEIGHT, ZERO, options=KEEP),
    "select with a number": (OperatorSpec("SELECT_V2", (SEEN, PAIR, NUMBER), (PAIR,), options=SELECT),),
    "select with a row": (OperatorSpec("SELECT_V2", (SEEN, PAIR, A), (PAIR,), options=SELECT),),
    "five dimensions": (OperatorSpec("RELU", (FIVE,), (RESULT,)),),
    "gathered by tuples": (
        OperatorSpec("GATHER_ND", (A, INDEX), (TensorSpec("rows", (2, 4)),), options=tfl.GatherNdOptionsT()),
    ),
    "scattered": (
        OperatorSpec("SCATTER_ND", (INDEX, ONES, FOUR), (TensorSpec("flat", (4,)),), options=tfl.ScatterNdOptionsT()),
    ),
    "a dimension more": (
        OperatorSpec("EXPAND_DIMS", (TensorSpec("flat", (4,)), ZERO), (MIDDLE,), options=tfl.ExpandDimsOptionsT()),
        add(A),
    ),
}
TAKEN_WHOLE = {
    "plain",
    "sum kept",
    "rank 0 reshaped",
    "constant of rank 0",
    "product of constants",
    "constants side by side",
    "constant of float16",
    "select with a number",
}
INPUTS = (A, ONE, INDEX, FIVE, SEEN, PAIR, TensorSpec("flat", (4,)))
WEIGHTS = (WEIGHT, OTHER, ROW, NUMBER, HALF, WHOLE, ZERO, ORDER, TALL, CORNER, EXTENT, SQUARE, ONES, FOUR)

PROBE = """
import os, sys
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.hardware_accelerator import HardwareAccelerator

for path in sys.argv[1:]:
    print("GRAPH", path, file=sys.stderr, flush=True)
    CompiledModel.from_file(path, hardware_accel=HardwareAccelerator.GPU | HardwareAccelerator.CPU)
os._exit(0)
"""


def model_of(operators: tuple[OperatorSpec, ...]) -> bytes:
    """The graph with those inputs and weights alone that it reads."""
    read = {operand.name for operator in operators for operand in operator.inputs}
    return build_tflite(
        [
            SignatureSpec(
                "main",
                tuple(one for one in INPUTS if one.name in read),
                operators[-1].outputs,
                tuple(one for one in WEIGHTS if one.name in read),
                ops=(),
                operators=operators,
            )
        ]
    )


def refused_by_lint(data: bytes) -> bool:
    graph = summarize(memoryview(data)).graphs["main"]
    return any(refusal for operator in graph.operators for refusal in refusals(graph, operator))


def test_lint_refuses_what_the_table_says():
    assert {name for name, operators in GRAPHS.items() if not refused_by_lint(model_of(operators))} == TAKEN_WHOLE


@pytest.mark.skipif(not ENVIRONMENT, reason=DRIVER)
def test_the_delegate_refuses_what_the_table_says(tmp_path: Path):
    paths = {name: tmp_path / f"{name.replace(' ', '-')}.tflite" for name in GRAPHS}
    for name, path in paths.items():
        path.write_bytes(model_of(GRAPHS[name]))
    command = [sys.executable, "-c", PROBE, *map(str, paths.values())]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **ENVIRONMENT})
    assert done.returncode == 0, done.stderr[-2000:]
    said = {Path(part.split("\n", 1)[0]): part for part in done.stderr.split("GRAPH ")[1:]}
    taken = {name for name, path in paths.items() if "are not supported by GPU delegate" not in said[path]}
    assert taken == TAKEN_WHOLE
