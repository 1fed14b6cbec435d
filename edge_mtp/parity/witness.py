"""A second way to run a signature's torch graph: exported by `torch.onnx`, computed by onnxruntime.

Where a float `.tflite` and torch differ, this says on which side the fault lies. What makes it independent:

* torch.onnx translates the traced graph. Of litert-torch it uses only the operators that the graphs call, for their
  names and shapes while tracing; what they compute is written down here once more, in ONNX operators. So is what
  `edge_mtp.graphs.ops` computes, and where there is another form, in that: a division by a root, a Split, a
  ScatterElements. What a mark says to LiteRT's delegates is left out.
* onnxruntime computes with kernels of its own: no torch, no XNNPACK, no LiteRT.
* Neither optimizes. Fusing and folding is where float runtimes differ and err, and a witness should have no ideas of
  its own: each node is one operator of the ONNX specification, run as it stands.

Weights are graph inputs, fed from the section's own memory, so a session holds the graph alone: all signatures of a
section share one copy of its weights. As initializers onnxruntime would load them once for each session.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import litert_torch.generative.custom_ops.dynamic_update_slice
import torch
from litert_torch.backend.composite import mark_tensor
from litert_torch.backend.experimental import torch_tfl
from numpy.typing import NDArray

import edge_mtp.graphs.ops
from edge_mtp.bundle.writer import partial_path
from edge_mtp.graphs.signatures import Section, Signature
from edge_mtp.parity.results import CouldNotCheckError

Array = NDArray[Any]
SignatureCall = Callable[[Mapping[str, Array]], dict[str, Array]]
"""Runs one signature: inputs by name -> outputs by name. Inputs that it does not have are left aside."""

REGISTERS_OPS = (litert_torch.generative.custom_ops.dynamic_update_slice, mark_tensor, torch_tfl, edge_mtp.graphs.ops)
"""Imported for the torch operators they register: `litert_torch::*`, `tfl::*`, `edge_mtp::*`."""

PACKAGES: Final = ("onnx", "onnxscript", "onnxruntime")
OPSET: Final = 20
"""The version of the ONNX operators; the first that has Gelu with tanh."""
INT32: Final = 6
INT64: Final = 7
"""Element types, as the ONNX specification numbers them (TensorProto.DataType)."""


def onnx_call(section: Section, signature: str, directory: Path, *, threads: int = 1) -> SignatureCall:
    """Exports `signature` of `section`, whose float weights are loaded, and opens it in onnxruntime on the CPU.

    Writes the graph without weights to `directory` as `<section>_<signature>.onnx`. Weights are read at every call
    from where `section` has them, so a change made in place shows. KeyError for a signature that `section` does not
    have; CouldNotCheckError where the packages of the extra are missing.
    """
    _require_packages()
    wanted = {found.name: found for found in section.signatures}[signature]
    weights = {name: tensor.numpy() for name, tensor in wanted.module.state_dict().items()}
    path = directory / f"{section.name}_{signature}.onnx"
    outputs = _export(wanted, path)
    session = _open(path, threads)
    fed = [each.name for each in session.get_inputs()]

    def call(inputs: Mapping[str, Array]) -> dict[str, Array]:
        feed = {name: weights[name] if name in weights else inputs[name] for name in fed}
        return dict(zip(outputs, session.run(None, feed), strict=True))

    return call


def _require_packages() -> None:
    for package in PACKAGES:
        try:
            import_module(package)
        except ImportError as error:
            raise CouldNotCheckError(
                f"the ONNX witness needs {', '.join(PACKAGES)}, and {package} cannot be imported ({error}); "
                "pip install 'edge-mtp[onnx]'"
            ) from error


def _export(signature: Signature, path: Path) -> tuple[str, ...]:
    """Writes the graph, weights as inputs under their names in the signature's module; the outputs' names in order.

    In the file outputs are called `out.<name>`: caches go in and out under one name, which ONNX forbids.
    """
    samples = {name: torch.zeros(shape, dtype=dtype) for name, (shape, dtype) in signature.inputs.items()}
    with torch.no_grad(), _quiet():
        traced = torch.export.export(signature.module, (samples,), strict=False)
        (inputs,), _ = traced.call_spec.in_spec.unflatten(traced.graph_signature.user_inputs)
        outputs = tuple(traced.call_spec.out_spec.unflatten(traced.graph_signature.user_outputs))
        program = torch.onnx.export(
            traced,
            input_names=list(inputs),
            output_names=[f"out.{name}" for name in outputs],
            opset_version=OPSET,
            custom_translation_table=_translations(),
            optimize=False,
            verbose=False,
        )
    assert program is not None
    program.save(partial_path(path), include_initializers=False, keep_initializers_as_inputs=True)
    partial_path(path).replace(path)
    return outputs


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps from users what torch 2.13 says at each export: that torchvision is missing, that its own code is dated."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore", category=FutureWarning):
            yield
    finally:
        logger.setLevel(level)


def _open(path: Path, threads: int) -> Any:
    """The onnxruntime session of a graph: unoptimized, and without an arena that would keep what a call needed."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """The operators that torch.onnx cannot translate; and linear, whose weight it would transpose into a copy."""
    ops = torch.ops
    return {
        ops.aten.linear.default: _linear,
        ops.edge_mtp.rms_norm.default: _rms_norm,
        ops.edge_mtp.rotate.default: _rotate,
        ops.edge_mtp.scale.default: _scale,
        ops.tfl.batch_matmul.default: _batch_matmul,
        ops.tfl.topk_v2.default: _top_k,
        ops.tfl.gather.default: _gather,
        ops.litert_torch.dynamic_update_slice.default: _dynamic_update_slice,
        ops.litert_torch.mark_tensor.default: _mark_tensor,
    }


# torch.onnx reads these functions' annotations: `Any` is a tensor of the graph, a number an attribute.


def _opset() -> Any:
    """The ONNX operators, which torch.onnx records as they are called."""
    from onnxscript import opset20

    assert opset20.version == OPSET
    return opset20


def _linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """x [..., in], weight [out, in] -> [..., out]."""
    assert bias is None, "no linear of these graphs has a bias"
    op = _opset()
    product = op.Gemm(op.Reshape(x, [-1, x.shape[-1]]), weight, transB=1)
    return op.Reshape(product, [*x.shape[:-1], weight.shape[0]])


def _rms_norm(x: Any, epsilon: float) -> Any:
    """x / sqrt(mean(x²) + epsilon) along the last axis."""
    op = _opset()
    return op.Div(x, op.Sqrt(op.Add(op.ReduceMean(op.Mul(x, x), [-1], keepdims=1), epsilon)))


def _rotate(x: Any, cos: Any, sin: Any) -> Any:
    """x cos + (-second half, first half) sin along the last axis."""
    op = _opset()
    first, second = op.Split(x, num_outputs=2, axis=-1)
    return op.Add(op.Mul(x, cos), op.Mul(op.Concat(op.Neg(second), first, axis=-1), sin))


def _scale(x: Any, factor: Any) -> Any:
    """x times the one number in factor [1]."""
    return _opset().Mul(x, factor)


def _batch_matmul(x: Any, y: Any, adj_x: bool = False, adj_y: bool = False) -> Any:
    """x y over the last two axes, each transposed first where told so."""
    return _opset().MatMul(_transposed(x) if adj_x else x, _transposed(y) if adj_y else y)


def _transposed(x: Any) -> Any:
    *batch, row, column = range(len(x.shape))
    return _opset().Transpose(x, perm=[*batch, column, row])


def _top_k(x: Any, k: int) -> Any:
    """The k largest along the last axis, in descending order, and their int32 places."""
    op = _opset()
    values, places = op.TopK(x, [k], axis=-1)
    return values, op.Cast(places, to=INT32)


def _gather(x: Any, indices: Any, axis: int) -> Any:
    """The slices of x at `indices` along `axis`."""
    return _opset().Gather(x, indices, axis=axis)


def _dynamic_update_slice(x: Any, update: Any, starts: Sequence[Any]) -> Any:
    """x with `update` written from `starts` on; x and `update` differ in length along one axis, that of the tokens."""
    op = _opset()
    lengths = list(update.shape)
    axis = next((axis for axis, length in enumerate(x.shape) if length != lengths[axis]), 0)
    first = op.Cast(starts[axis], to=INT64)
    rows = op.Add(first, op.Constant(value_ints=list(range(lengths[axis]))))
    column = [length if place == axis else 1 for place, length in enumerate(lengths)]
    return op.ScatterElements(x, op.Expand(op.Reshape(rows, column), lengths), update, axis=axis)


def _mark_tensor(x: Any, name: str, pos: int, id: str, is_input: bool, attr: Any = None) -> Any:
    """x itself: a mark tells LiteRT's delegates where a piece of the graph begins or ends, and computes nothing."""
    return _opset().Identity(x)
