"""A model of two signatures over shared weights: its weights, how to splice them in, how to run it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edge_mtp.convert.constants import Constant, array_constant, weight_constant
from edge_mtp.convert.quantize import QuantizedTensor, quantize_weight
from edge_mtp.convert.splice import splice
from edge_mtp.recipe import WeightFormat
from tests.convert.reference import dequantize, rows_of

VOCABULARY, WIDTH, OUT = 40, 256, 48
FLOAT32 = WeightFormat("float32")
RANDOM = np.random.default_rng(3)
WEIGHTS = {
    "linear": RANDOM.standard_normal((OUT, WIDTH), dtype=np.float32),
    "embedding": RANDOM.standard_normal((VOCABULARY, WIDTH), dtype=np.float32),
    "norm": RANDOM.standard_normal(WIDTH, dtype=np.float32),
    "slots": np.array([5, 3], np.int32),
}
INPUTS = {
    "decode": {"weights_linear.weight": "linear", "weights_embedding.weight": "embedding"},
    "prefill": {"weights_linear.weight": "linear", "weights_embedding.weight": "embedding"},
}
for bound in INPUTS.values():
    bound.update({"weights_norm": "norm", "weights_slots": "slots", "weights_unread.weight": "unread"})
IDS = {"decode": np.array([39], np.int32), "prefill": np.array([1, 2, 38, 0], np.int32)}


def quantize_all(codes: Path, formats: Mapping[str, WeightFormat]) -> dict[str, QuantizedTensor]:
    with codes.open("wb") as out:
        return {
            name: quantize_weight(rows_of(name, WEIGHTS[name]), weight_format, out)
            for name, weight_format in formats.items()
        }


def spliced(
    lowered: bytes, folder: Path, linear: WeightFormat, embedding: WeightFormat
) -> tuple[Path, dict[str, np.ndarray], dict[str, Constant]]:
    """(the `.tflite`, the weights it stands for, the constants put in)."""
    codes, path = folder / "codes", folder / "model.tflite"
    tensors = quantize_all(codes, {"linear": linear, "embedding": embedding, "norm": FLOAT32})
    constants = {"slots": array_constant("slots", WEIGHTS["slots"])}
    constants |= {name: weight_constant(tensor, codes) for name, tensor in tensors.items()}
    splice([lowered], INPUTS, constants, path)
    return path, {name: dequantize(tensor, codes) for name, tensor in tensors.items()}, constants


def interpret(path: Path, signature: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(path), num_threads=1).get_signature_runner(signature)
    assert set(runner.get_input_details()) == set(inputs)
    return {name: np.array(value) for name, value in runner(**inputs).items()}


def run_compiled(path: Path, signature: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    from ai_edge_litert.compiled_model import CompiledModel

    model = CompiledModel.from_file(str(path))
    index = model.get_signature_index(signature)
    names = model.get_signature_by_index(index)
    assert set(names["inputs"]) == set(inputs)
    given, results = model.create_input_buffers(index), model.create_output_buffers(index)
    for name, buffer in zip(names["inputs"], given, strict=True):
        buffer.write(inputs[name])
    model.run_by_index(index, given, results)
    count = inputs["ids"].size
    sizes = {"rows": count * WIDTH, "out": count * (1 if signature == "run" else OUT), "next": 2}
    return {
        name: buffer.read(sizes[name], np.int32 if name == "next" else np.float32)
        for name, buffer in zip(names["outputs"], results, strict=True)
    }


def error_of_output(result: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray], ids: np.ndarray) -> float:
    """Largest error of `out` against float arithmetic on `weights`, over the output's range."""
    expected = (weights["embedding"][ids] * weights["norm"]) @ weights["linear"].T
    return float(np.abs(result["out"].reshape(expected.shape) - expected).max() / np.ptp(expected))


def parse(path: Path):
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
