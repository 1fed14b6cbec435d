import io
import math
import tracemalloc

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edge_mtp.convert import quantize
from edge_mtp.convert.constants import array_constant
from edge_mtp.convert.quantize import QuantizedTensor, WeightRows, quantize_weight
from edge_mtp.convert.splice import splice
from edge_mtp.errors import CheckpointError
from edge_mtp.recipe import WeightFormat
from tests.convert.reference import dequantize, rows_of, to_bfloat16, unpack

COLUMNS = 256
FORMATS = [WeightFormat(dtype) for dtype in ("int8", "int4", "int2")] + [
    WeightFormat(dtype, block) for dtype in ("int4", "int2") for block in (32, 64, 128)
]
NO_PEER = {("embedding", WeightFormat("int2", block)) for block in (32, 64, 128)}  # its policy leaves these out


def hard_values(rows: int, seed: int) -> np.ndarray:
    """Values [rows, COLUMNS] float32 with rows at every edge of the arithmetic."""
    random = np.random.default_rng(seed)
    values = random.standard_normal((rows, COLUMNS), dtype=np.float32) * np.float32(0.03)
    values[0] = 0
    values[1] *= 1e-9  # below the smallest peak
    values[2] = np.arange(COLUMNS) - 128  # integers: halves of a scale abound
    values[3] = random.integers(-14, 15, COLUMNS) / 2  # ties for int4
    values[4] *= 1e-4  # block scales are denormal in float16
    values[5, :128] *= 1e-7  # ... or zero, beside ordinary ones
    values[5, :32] = 0
    values[6] = -np.abs(values[6])
    values[7] *= 3e5
    values[8] = np.where(np.arange(COLUMNS) == 9, 3.0, 0.0)
    values = cut_to_bfloat16(values)
    values[9:11] *= np.float32(0.01)
    values[9, ::32], values[10, ::32] = 7 * (1 + 1 / 256), 7 * (1 + 3 / 256)  # int4 scales between two bfloat16
    return values


def cut_to_bfloat16(values: np.ndarray) -> np.ndarray:
    return (to_bfloat16(values).astype(np.uint32) << 16).view(np.float32)


WEIGHTS = {"linear": hard_values(48, 1), "embedding": hard_values(40, 2)}


def quantize_array(stored: np.ndarray, weight_format: WeightFormat) -> tuple[QuantizedTensor, bytes]:
    out = io.BytesIO()
    return quantize_weight(rows_of("w", stored), weight_format, out), out.getvalue()


@pytest.fixture(scope="module")
def float_model(lower, tmp_path_factory):
    """A float32 `.tflite` with one FULLY_CONNECTED and one EMBEDDING_LOOKUP of WEIGHTS."""
    import torch

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(COLUMNS, 48, bias=False)
            self.embedding = torch.nn.Embedding(40, COLUMNS)

        def forward(self, ids):
            return {"out": self.linear(self.embedding(ids))}

    lowered = lower({"run": (Model(), {"ids": torch.zeros(2, dtype=torch.int32)})})
    path = tmp_path_factory.mktemp("peer") / "float.tflite"
    bindings = {"run": {f"weights_{name}.weight": name for name in WEIGHTS}}
    splice([lowered], bindings, {name: array_constant(name, values) for name, values in WEIGHTS.items()}, path)
    return inline_buffers(path.read_bytes())


def inline_buffers(data: bytes) -> bytes:
    """The same model with all data inside the flatbuffer, where ai-edge-quantizer looks for it."""
    import flatbuffers

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    for buffer in model.buffers:
        if buffer.offset:
            buffer.data = np.frombuffer(data, np.uint8)[buffer.offset :][: buffer.size].copy()
            buffer.offset = buffer.size = 0
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def peer_quantize(model: bytes, weight_format: WeightFormat) -> dict[str, tuple[bytes, np.ndarray]]:
    """Runs ai-edge-quantizer; weight name -> (packed codes, scales) out of the file it wrote."""
    from ai_edge_quantizer import qtyping, quantizer, recipe_manager

    granularity = f"BLOCKWISE_{weight_format.block}" if weight_format.block else "CHANNELWISE"
    recipe = recipe_manager.RecipeManager()
    recipe.add_dynamic_config(
        regex=".*",
        operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
        num_bits=weight_format.bits,
        granularity=qtyping.QuantGranularity(granularity),
    )
    written = quantizer.Quantizer(bytearray(model), recipe.get_quantization_recipe()).quantize().quantized_model
    result = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytes(written), 0))
    tensors = result.subgraphs[0].tensors
    found = {}
    for tensor in tensors:
        name = next(
            (name for name in WEIGHTS if name == tensor.name.decode() or f"weights_{name}" in tensor.name.decode()),
            None,
        )
        quantization = tensor.quantization
        if name and quantization is not None and quantization.details is not None:
            scales = result.buffers[tensors[quantization.details.scales].buffer].data.view(np.float16)
            found[name] = result.buffers[tensor.buffer].data.tobytes(), scales
        elif name and quantization is not None and quantization.scale is not None:
            found[name] = result.buffers[tensor.buffer].data.tobytes(), quantization.scale
    return found


@pytest.mark.filterwarnings("ignore:(divide by zero|invalid value):RuntimeWarning")  # the peer's, on zero scales
@pytest.mark.parametrize("weight_format", FORMATS, ids=lambda weight_format: weight_format.label)
def test_codes_and_scales_equal_ai_edge_quantizers(float_model, weight_format):
    peer = peer_quantize(float_model, weight_format)
    expected = {name for name in WEIGHTS if (name, weight_format) not in NO_PEER}
    assert set(peer) == expected
    for name in expected:
        codes, scales = peer[name]
        tensor, packed = quantize_array(WEIGHTS[name], weight_format)
        assert tensor.scales.dtype == scales.dtype
        np.testing.assert_array_equal(tensor.scales.reshape(-1), scales)
        assert packed == codes


def test_the_comparison_tells_division_from_its_shortcuts(float_model):
    """Codes made with the reciprocal, or with halves rounded up, differ from the peer's on WEIGHTS."""
    codes, scales = peer_quantize(float_model, WeightFormat("int4"))["linear"]
    expected = unpack(codes, 4, 48 * COLUMNS).reshape(48, COLUMNS)
    values = WEIGHTS["linear"]
    np.testing.assert_array_equal(np.rint(values / scales[:, None]), expected)
    assert (np.rint(values * (np.float32(1) / scales)[:, None]) != expected).any()
    assert (np.floor(values / scales[:, None] + np.float32(0.5)) != expected).any()


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (7, 3), (5, 4), (2, 9)])
def test_packing_equals_ai_edge_quantizers(bits, shape):
    from ai_edge_quantizer.transformations.transformation_utils import pack_data

    values = np.random.default_rng(bits).standard_normal(shape, dtype=np.float32)
    tensor, packed = quantize_array(values, WeightFormat(f"int{bits}"))
    codes = np.rint(values / tensor.scales[:, None]).astype(np.int8)
    assert packed == pack_data(bits, codes.reshape(-1)).tobytes()
    np.testing.assert_array_equal(unpack(packed, bits, codes.size), codes.reshape(-1))


def test_nibbles_in_the_other_order_are_noticed():
    _, packed = quantize_array(WEIGHTS["linear"], WeightFormat("int4"))
    swapped = bytes((byte >> 4) | (byte & 15) << 4 for byte in packed)
    assert (unpack(packed, 4, 48 * COLUMNS) != unpack(swapped, 4, 48 * COLUMNS)).any()


@pytest.mark.parametrize("weight_format", [*FORMATS, WeightFormat("float32")], ids=lambda each: each.label)
def test_chunks_and_stored_types_do_not_change_the_result(weight_format, monkeypatch):
    values = WEIGHTS["linear"]
    cut, half = cut_to_bfloat16(values), values.astype(np.float16).astype(np.float32)
    whole, whole_packed = zip(*(quantize_array(each, weight_format) for each in (values, cut, half)), strict=True)
    monkeypatch.setattr(quantize, "VALUES_PER_CHUNK", 4 * COLUMNS)
    as_stored = values, to_bfloat16(cut), half.astype(np.float16)
    for stored, expected, expected_packed in zip(as_stored, whole, whole_packed, strict=True):
        tensor, again = quantize_array(stored, weight_format)
        assert again == expected_packed
        if weight_format.dtype != "float32":
            np.testing.assert_array_equal(tensor.scales, expected.scales)


@pytest.mark.parametrize("dtype", ["int2", "int4"])
def test_odd_rows_are_packed_across_chunks(dtype, monkeypatch):
    values = np.random.default_rng(0).standard_normal((19, 5), dtype=np.float32)
    _, packed = quantize_array(values, WeightFormat(dtype))
    monkeypatch.setattr(quantize, "VALUES_PER_CHUNK", 1)
    assert quantize_array(values, WeightFormat(dtype))[1] == packed


@pytest.mark.parametrize("shape", [(), (1,), (70_001,), (3, 4, 5)])
def test_float32_keeps_every_value_of_any_shape(shape):
    random = np.random.default_rng(0).standard_normal(70_001, dtype=np.float32)
    values = random[: math.prod(shape)].reshape(shape)
    tensor, packed = quantize_array(values, WeightFormat("float32"))
    assert packed == values.tobytes()
    assert (tensor.scales, tensor.relative_error, tensor.snr_db) == (None, 0.0, float("inf"))


@pytest.mark.parametrize("weight_format", FORMATS, ids=lambda weight_format: weight_format.label)
def test_measured_error_is_the_error(weight_format, tmp_path, monkeypatch):
    monkeypatch.setattr(quantize, "VALUES_PER_CHUNK", 20 * COLUMNS)
    values = WEIGHTS["linear"]
    codes = tmp_path / "codes"
    with codes.open("wb") as out:
        out.write(b"x" * 7)  # earlier tensors
        tensor = quantize_weight(rows_of("w", values), weight_format, out)
    lost = values.astype(np.float64) - dequantize(tensor, codes)
    relative = np.linalg.norm(lost) / np.linalg.norm(values.astype(np.float64))
    assert tensor.relative_error == pytest.approx(relative, rel=1e-3)
    assert tensor.snr_db == pytest.approx(-20 * np.log10(relative), abs=0.01)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("label", ["float32", "int8", "int4/32"])
@pytest.mark.parametrize("stored_type", [np.uint16, np.float32, np.float16])
def test_a_value_that_is_not_finite_is_refused_with_its_row(bad, label, stored_type, monkeypatch):
    monkeypatch.setattr(quantize, "VALUES_PER_CHUNK", 4 * 64)
    values = np.ones((21, 64), np.float32)
    values[17, 40] = values[19, 3] = bad
    stored = to_bfloat16(values) if stored_type == np.uint16 else values.astype(stored_type)
    dtype, _, block = label.partition("/")
    with pytest.raises(CheckpointError, match=r"shard\.safetensors: w: row 17 holds NaN or infinity"):
        quantize_array(stored, WeightFormat(dtype, int(block or 0)))


def test_a_magnitude_no_float16_scale_can_hold_is_refused():
    values = np.full((4, 64), 65_500 * 7, np.float32)
    quantize_array(values, WeightFormat("int4"))
    with pytest.raises(CheckpointError, match=r"458500 needs a scale beyond 65280"):
        quantize_array(values, WeightFormat("int4", 32))


def test_memory_stays_with_the_chunk_and_progress_adds_up():
    rows, columns = 4096, 8960
    row = np.random.default_rng(0).integers(0, 0x3F00, columns).astype(np.uint16)
    weight = WeightRows("w", (rows, columns), lambda start, stop: np.tile(row, (stop - start, 1)), "made up")
    seen: list[int] = []

    class Sink(io.BytesIO):
        def write(self, data) -> int:
            self.length = getattr(self, "length", 0) + memoryview(data).nbytes
            return memoryview(data).nbytes

        def tell(self) -> int:
            return getattr(self, "length", 0)

    tracemalloc.start()
    tensor = quantize_weight(weight, WeightFormat("int4"), Sink(), seen.append)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert tensor.codes_bytes == rows * columns // 2
    assert sum(seen) == rows * columns * 2 > 70_000_000
    assert len(seen) > 100
    assert peak_bytes < 4_000_000
