import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edge_mtp.convert.constants import Constant, array_constant
from edge_mtp.convert.splice import splice
from edge_mtp.errors import BundleError
from edge_mtp.recipe import WeightFormat
from tests.convert.small_model import (
    FLOAT32,
    IDS,
    INPUTS,
    OUT,
    VOCABULARY,
    WIDTH,
    interpret,
    parse,
    spliced,
)


def test_signatures_share_every_weight(lowered, tmp_path):
    path, weights, constants = spliced(lowered, tmp_path, WeightFormat("int4"), WeightFormat("int4", 64))
    data = path.read_bytes()
    for constant in constants.values():
        stored = constant.data
        raw = stored if isinstance(stored, bytes) else stored.path.read_bytes()[stored.offset :][: stored.size]
        assert data.count(raw) == 1
        assert constant.scales is None or data.count(constant.scales.tobytes()) == 1
    # One byte of the shared buffer, changed, shows in both signatures.
    model = parse(path)
    embedding = next(tensor for tensor in model.subgraphs[0].tensors if tensor.name == b"embedding")
    broken = bytearray(data)
    broken[model.buffers[embedding.buffer].offset + 38 * WIDTH // 2] ^= 0x77
    broken[model.buffers[embedding.buffer].offset + 39 * WIDTH // 2] ^= 0x77
    path.write_bytes(broken)
    for signature, ids in IDS.items():
        assert (interpret(path, signature, ids=ids)["rows"] != weights["embedding"][ids]).any()


def test_what_is_not_read_leaves_no_trace(lowered, tmp_path):
    assert b"unread" in lowered
    path, _, constants = spliced(lowered, tmp_path, WeightFormat("int4", 32), WeightFormat("int8"))
    before = path.read_bytes()
    assert b"unread" not in before
    constants["unread"] = array_constant("unread", np.full((24, WIDTH), 0.125, np.float32))
    splice([lowered], INPUTS, constants, path)
    assert path.read_bytes() == before


def test_the_same_arguments_give_the_same_bytes(lowered, tmp_path):
    paths = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        paths.append(spliced(lowered, tmp_path / name, WeightFormat("int4", 32), WeightFormat("int2"))[0])
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_data_are_aligned_and_quantization_is_what_the_runtime_reads(lowered, tmp_path):
    path, _, constants = spliced(lowered, tmp_path, WeightFormat("int4", 32), WeightFormat("int8"))
    model, data = parse(path), path.read_bytes()
    root = schema.Model.GetRootAs(data, 0)
    external = [buffer for buffer in model.buffers if buffer.offset]
    assert len(external) == len(constants) + 1  # and the block scales
    assert all(buffer.offset % 64 == 0 and buffer.offset + buffer.size <= len(data) for buffer in external)
    assert external[-1].offset + external[-1].size == len(data)
    for index, buffer in enumerate(model.buffers):
        if buffer.data is not None:
            vector = root.Buffers(index)._tab
            assert vector.Vector(vector.Offset(4)) % 16 == 0
    for subgraph in model.subgraphs:
        named = {tensor.name.decode(): tensor for tensor in subgraph.tensors}
        linear, embedding = named["linear"], named["embedding"]
        assert (linear.type, embedding.type) == (schema.TensorType.INT4, schema.TensorType.INT8)
        details = linear.quantization.details
        assert (details.blockSize, details.zeroPoints) == (32, -1)
        scales = subgraph.tensors[details.scales]
        assert (scales.type, list(scales.shape)) == (schema.TensorType.FLOAT16, [OUT, WIDTH // 32])
        np.testing.assert_array_equal(embedding.quantization.scale, constants["embedding"].scales)
        np.testing.assert_array_equal(embedding.quantization.zeroPoint, np.zeros(VOCABULARY))
        assert embedding.quantization.quantizedDimension == 0


def refused(lowered: bytes, folder: Path, changed: Mapping[str, Constant | None], bindings=None) -> str:
    _, _, constants = spliced(lowered, folder, FLOAT32, FLOAT32)
    constants = {name: constant for name, constant in {**constants, **changed}.items() if constant is not None}
    with pytest.raises(BundleError) as caught:
        splice([lowered], bindings or INPUTS, constants, folder / "refused.tflite")
    return str(caught.value)


def made_up(dtype: str, shape: tuple[int, int], block: int = 0, *, raw: bool = False) -> Constant:
    size = shape[0] * shape[1] * {"int8": 8, "int4": 4, "int2": 2}[dtype] // 8
    scales = np.ones((shape[0], shape[1] // block), np.float16) if block else np.ones(shape[0], np.float32)
    return Constant("linear", dtype, shape, bytes(size), None if raw else scales)


def test_what_does_not_fit_the_graph_is_refused_by_name(lowered, tmp_path):
    shape = (OUT, WIDTH)
    assert "reads weight norm, which was not quantized" in refused(lowered, tmp_path, {"norm": None})
    message = refused(lowered, tmp_path, {"linear": made_up("int8", (OUT, WIDTH // 2))})
    assert "linear: the graph takes FLOAT32 [48, 256], the weight is int8 [48, 128]" in message
    message = refused(lowered, tmp_path, {"linear": made_up("int8", shape, 32)})
    assert "linear: int8 in blocks of 32 is read by FULLY_CONNECTED, for which" in message
    message = refused(lowered, tmp_path, {"linear": made_up("int8", shape, raw=True)})
    assert "takes FLOAT32 [48, 256], the weight is int8" in message
    message = refused(lowered, tmp_path, {}, {**INPUTS, "verify": {}})
    assert "bound to signatures ['verify'], the graph has ['decode', 'prefill']" in message
    message = refused(lowered, tmp_path, {}, {"decode": {"weights_nothing": "norm"}})
    assert "decode has no inputs ['weights_nothing']" in message
    with pytest.raises(BundleError, match="found b'junk'"):
        splice([b"12345678junk"[4:]], {}, {}, tmp_path / "refused.tflite")


def test_a_vector_in_codes_is_refused(lowered, tmp_path):
    """Only operators that dequantize may read codes; a plain MUL would take them for values."""
    norm = Constant("norm", "int8", (WIDTH,), bytes(WIDTH), np.ones(WIDTH, np.float32))
    assert "norm: int8 is read by MUL, for which the runtime" in refused(lowered, tmp_path, {"norm": norm})


def test_raw_int2_is_refused(lowered_gather, tmp_path):
    codes = Constant("codes", "int2", (VOCABULARY, WIDTH), bytes(VOCABULARY * WIDTH // 4))
    constants = {"codes": codes, "scales": array_constant("scales", np.ones(VOCABULARY, np.float32))}
    bindings = {"run": {"weights_codes": "codes", "weights_scales": "scales"}}
    with pytest.raises(BundleError, match="codes: raw int2 is read by GATHER, for which the runtime has no"):
        splice([lowered_gather], bindings, constants, tmp_path / "refused.tflite")


def test_a_cut_codes_file_is_refused(lowered, tmp_path):
    path, _, constants = spliced(lowered, tmp_path, FLOAT32, WeightFormat("int8"))
    codes = tmp_path / "codes"
    os.truncate(codes, codes.stat().st_size - WIDTH * 4 - 9)
    with pytest.raises(BundleError, match="ends 9 bytes before offset 49152 \\+ 10240; it was cut"):
        splice([lowered], INPUTS, constants, path)


def test_constants_check_their_own_size():
    with pytest.raises(BundleError, match=r"w: 3 bytes stored, but int4 \[2, 4\] takes 4"):
        Constant("w", "int4", (2, 4), b"123")
    with pytest.raises(BundleError, match="w: an array constant is float32 or int32, found float64"):
        array_constant("w", np.zeros(2))
