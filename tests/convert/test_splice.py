import os
from dataclasses import replace

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edge_mtp.convert import flatbuffer
from edge_mtp.convert.constants import Constant, StoredBytes, array_constant, raw_codes_constant, weight_constant
from edge_mtp.convert.splice import splice
from edge_mtp.recipe import WeightFormat
from tests.convert.reference import dequantize
from tests.convert.small_model import (
    FLOAT32,
    IDS,
    INPUTS,
    RANDOM,
    VOCABULARY,
    WEIGHTS,
    WIDTH,
    error_of_output,
    interpret,
    parse,
    quantize_all,
    run_compiled,
    spliced,
)

# Every form the runtime has FULLY_CONNECTED and EMBEDDING_LOOKUP kernels for; lookup alone also has int2/32.
FORMATS = [FLOAT32, *map(WeightFormat, ("int8", "int4", "int2"))] + [
    WeightFormat("int4", block) for block in (32, 64, 128)
]
DYNAMIC_RANGE_TOLERANCE = 0.015  # of the output's range: activations are rounded to 8 bits at run time


@pytest.mark.parametrize("run", [interpret, run_compiled])
@pytest.mark.parametrize(
    ("linear", "embedding"),
    [*((each, each) for each in FORMATS), (WeightFormat("int8"), WeightFormat("int2", 32))],
    ids=lambda each: each.label,
)
def test_the_runtime_computes_with_the_dequantized_weights(lowered, tmp_path, run, linear, embedding):
    path, weights, _ = spliced(lowered, tmp_path, linear, embedding)
    for signature, ids in IDS.items():
        result = run(path, signature, ids=ids)
        np.testing.assert_array_equal(result["rows"].reshape(-1, WIDTH), weights["embedding"][ids])
        np.testing.assert_array_equal(result["next"].reshape(-1), ids[0] + WEIGHTS["slots"])
        tolerance = 1e-6 if linear == FLOAT32 else DYNAMIC_RANGE_TOLERANCE
        assert error_of_output(result, weights, ids) < tolerance


@pytest.mark.parametrize("label", ["int4", "int2", "int4/32"])
def test_codes_in_the_wrong_order_are_noticed(lowered, tmp_path, label):
    """Nibbles (or quarter bytes) swapped, scales kept: the tolerance above must tell."""
    dtype, _, block = label.partition("/")
    weight_format = WeightFormat(dtype, int(block or 0))
    path, weights, constants = spliced(lowered, tmp_path, weight_format, weight_format)
    constants = {name: swapped(constant) for name, constant in constants.items()}
    splice([lowered], INPUTS, constants, path)
    result = interpret(path, "prefill", ids=IDS["prefill"])
    assert (result["rows"] != weights["embedding"][IDS["prefill"]]).any()
    assert error_of_output(result, weights, IDS["prefill"]) > 10 * DYNAMIC_RANGE_TOLERANCE


def swapped(constant: Constant) -> Constant:
    if constant.scales is None:
        return constant
    stored = constant.data
    data = np.frombuffer(stored.path.read_bytes()[stored.offset :][: stored.size], np.uint8)
    return replace(constant, data=((data >> 4) | (data << 4)).tobytes())


def test_block_scales_of_the_neighbour_are_noticed(lowered, tmp_path):
    weight_format = WeightFormat("int4", 32)
    path, weights, constants = spliced(lowered, tmp_path, weight_format, weight_format)
    linear = constants["linear"]
    constants["linear"] = Constant("linear", linear.dtype, linear.shape, linear.data, np.roll(linear.scales, 1, axis=1))
    splice([lowered], INPUTS, constants, path)
    result = interpret(path, "prefill", ids=IDS["prefill"])
    assert error_of_output(result, weights, IDS["prefill"]) > DYNAMIC_RANGE_TOLERANCE


@pytest.mark.parametrize("run", [interpret, run_compiled])
@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_raw_codes_are_gathered_as_they_are(lowered_gather, tmp_path, run, dtype):
    codes, path = tmp_path / "codes", tmp_path / "model.tflite"
    tensor = quantize_all(codes, {"embedding": WeightFormat(dtype)})["embedding"]
    constants = {"codes": raw_codes_constant(tensor, codes), "scales": array_constant("scales", tensor.scales)}
    splice([lowered_gather], {"run": {"weights_codes": "codes", "weights_scales": "scales"}}, constants, path)
    ids, x = np.array([1, 5, 39, 0, 7, 7], np.int32), RANDOM.standard_normal((1, WIDTH), dtype=np.float32)
    expected = (dequantize(tensor, codes)[ids] * x).sum(-1)
    np.testing.assert_allclose(run(path, "run", ids=ids, x=x)["out"], expected, rtol=1e-4, atol=1e-4)
    tensors = parse(path).subgraphs[0].tensors
    typed = [tensor for tensor in tensors if tensor.type == getattr(schema.TensorType, dtype.upper())]
    assert len(typed) == 2  # the codes and the rows gathered from them


def test_a_weight_beyond_four_gigabytes_is_found(lower, tmp_path, monkeypatch):
    """A sparse file stands for the 4.5 GB in front; the table behind them must still be read right."""
    import torch

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.front = torch.nn.Embedding(1100, 1 << 22, device="meta")
            self.behind = torch.nn.Embedding(VOCABULARY, WIDTH, device="meta")

        def forward(self, ids):
            return {"rows": self.behind(ids), "front": self.front(ids)[:, :4]}

    def leave_a_hole(payload, out):
        if isinstance(payload, StoredBytes) and payload.size > 1 << 32:
            out.seek(payload.size, os.SEEK_CUR)
        else:
            write_payload(payload, out)

    write_payload = flatbuffer._write_payload
    monkeypatch.setattr(flatbuffer, "_write_payload", leave_a_hole)
    lowered = lower({"run": (Model(), {"ids": torch.zeros(1, dtype=torch.int32)})})
    codes, path = tmp_path / "codes", tmp_path / "model.tflite"
    tensor = quantize_all(codes, {"embedding": WeightFormat("int4")})["embedding"]
    front = StoredBytes(codes, 0, 1100 << 22)
    constants = {
        "front": Constant("front", "int8", (1100, 1 << 22), front, np.ones(1100, np.float32)),
        "embedding": weight_constant(tensor, codes),
    }
    bindings = {"run": {"weights_front.weight": "front", "weights_behind.weight": "embedding"}}
    size = splice([lowered], bindings, constants, path)
    assert size == path.stat().st_size > 1 << 32
    ids = np.array([17], np.int32)
    rows = interpret(path, "run", ids=ids)["rows"]
    path.unlink()  # sparse, but not every tool that copies or counts it knows
    np.testing.assert_array_equal(rows, dequantize(tensor, codes)[ids])
