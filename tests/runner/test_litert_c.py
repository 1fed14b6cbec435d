"""The C API on hand-made models: memory that is not taken, tensors in place, refusals."""

import _ctypes
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_mtp import names
from edge_mtp.bundle.reader import Bundle, read_bundle
from edge_mtp.bundle.summary import Tensor
from edge_mtp.errors import BundleError, EngineError
from edge_mtp.runner import litert_c
from edge_mtp.runner.graph import Graph, make_buffer
from edge_mtp.runner.litert_c import ALIGNMENT, CompiledModel, Environment, TensorBuffer, aligned_zeros
from tests.bundle.conftest import publish
from tests.bundle.flatbuffer import SignatureSpec, TensorSpec, build_tflite
from tests.bundle.models import make_plan

WIDTH, LAYERS = 1024, 16
LAYER_BYTES = WIDTH * WIDTH * 4
SECTION_BYTES = LAYERS * LAYER_BYTES
TABLE = SignatureSpec(
    names.EMBED,
    (TensorSpec(names.TOKEN_IDS, (1,), "INT32"),),
    (TensorSpec(names.EMBEDDINGS, (1, WIDTH)),),
    (TensorSpec("table", (LAYERS * WIDTH, WIDTH)),),
    ("EMBEDDING_LOOKUP",),
)

MEASURE = """
import json, sys
from pathlib import Path
from edge_mtp.bundle.reader import read_bundle
from edge_mtp.runner.graph import Graph
from edge_mtp.runner.litert_c import Environment

def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))

path, section, cache = sys.argv[1:]
bundle, environment = read_bundle(Path(path)), Environment()
before = anonymous()
if cache == "copied":
    kept = bytes(bundle.section_bytes(section))
else:
    graph = Graph(bundle, section, bundle.model(section), environment, 1, Path(cache) if cache else None)
    call = graph.call(graph.summary.signatures[0].key, {})
    for _ in range(2):
        call.run()
print(json.dumps(anonymous() - before))
"""


def layer(index: int) -> SignatureSpec:
    weights = (TensorSpec(f"layers.{index}.weight", (WIDTH, WIDTH)),)
    return SignatureSpec(
        f"layer_{index}", (TensorSpec("x", (1, WIDTH)),), (TensorSpec("y", (1, WIDTH)),), weights, ("FULLY_CONNECTED",)
    )


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Bundle:
    """A table, and layers in a signature each, of random numbers."""
    folder = tmp_path_factory.mktemp("large")
    plan = make_plan(folder)
    for section, signatures in ((names.EMBEDDER, [TABLE]), (names.TARGET, [layer(i) for i in range(LAYERS)])):
        content = build_tflite(signatures)
        values = np.random.default_rng(0).standard_normal(SECTION_BYTES // 4, np.float32)
        plan.models[section].write_bytes(content[:-SECTION_BYTES] + values.tobytes())
    return read_bundle(publish(plan, folder / "large.litertlm"))


def grown(bundle: Bundle, section: str, how: str) -> int:
    """Bytes of memory of its own that a process takes to run the first signature of `section` twice."""
    command = [sys.executable, "-c", MEASURE, str(bundle.path), section, how]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(json.loads(done.stdout.splitlines()[-1]))


def test_a_table_is_read_where_it_lies(large):
    assert grown(large, names.EMBEDDER, "") < SECTION_BYTES / 8
    assert grown(large, names.EMBEDDER, "copied") > SECTION_BYTES * 0.9, "a copy would be seen"


def test_repacked_weights_lie_in_a_file(large, tmp_path):
    """LiteRT keeps memory for the largest of them; found again it keeps none. Without a file all are in memory."""
    file = tmp_path / "weights"
    assert LAYER_BYTES <= grown(large, names.TARGET, str(file)) < 2 * LAYER_BYTES
    assert SECTION_BYTES <= file.stat().st_size < SECTION_BYTES * 1.1
    assert grown(large, names.TARGET, str(file)) < LAYER_BYTES / 2
    assert grown(large, names.TARGET, "") > SECTION_BYTES * 0.9


def test_rows_of_the_table_are_right(large):
    graph = Graph(large, names.EMBEDDER, large.model(names.EMBEDDER), Environment(), 1)
    call = graph.call(names.EMBED, {})
    table = np.frombuffer(large.section_bytes(names.EMBEDDER)[-SECTION_BYTES:], np.float32).reshape(-1, WIDTH)
    place = call.outputs[names.EMBEDDINGS].ctypes.data
    for token in (0, 7, len(table) - 1):
        call.inputs[names.TOKEN_IDS][...] = token
        call.run()
        assert np.array_equal(call.outputs[names.EMBEDDINGS][0], table[token])
    assert call.outputs[names.EMBEDDINGS].ctypes.data == place, "results come where the array lies"


def test_a_row_that_is_not_there_is_refused(large):
    call = Graph(large, names.EMBEDDER, large.model(names.EMBEDDER), Environment(), 1).call(names.EMBED, {})
    call.inputs[names.TOKEN_IDS][...] = SECTION_BYTES // (4 * WIDTH)
    with pytest.raises(BundleError, match=r"LiteRT refused: LiteRtRunCompiledModel returned status [1-9]"):
        call.run()


def test_layers_are_multiplied_right(large, tmp_path):
    """With the weights repacked in memory and into a file, and by every signature its own."""
    rows = np.frombuffer(large.section_bytes(names.TARGET)[-SECTION_BYTES:], np.float32).reshape(LAYERS, WIDTH, WIDTH)
    given = np.random.default_rng(1).standard_normal(WIDTH, np.float32)
    for file in (None, tmp_path / "weights"):
        graph = Graph(large, names.TARGET, large.model(names.TARGET), Environment(), 2, file)
        for index in (0, 5, LAYERS - 1):
            call = graph.call(f"layer_{index}", {})
            call.inputs["x"][...] = given
            call.run()
            assert np.allclose(call.outputs["y"][0], rows[index] @ given, rtol=0, atol=1e-2)
        assert not np.allclose(call.outputs["y"][0], rows[1] @ given, rtol=0, atol=1e-2)


@pytest.mark.parametrize("content", [b"no model at all" * 100, b""], ids=["garbage", "nothing"])
def test_what_is_no_model_is_refused(tmp_path, content):
    path = tmp_path / "model"
    path.write_bytes(content + bytes(64))
    with path.open("rb") as file, pytest.raises(BundleError, match=r"LiteRT refused: LiteRtCreate\w+ returned status"):
        CompiledModel(Environment(), file.fileno(), 0, len(content), 1)


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8", "bool", "int8", "float16"])
@pytest.mark.parametrize("shape", [(), (3,), (1, 2, 5, 7)])
def test_memory_is_aligned_and_zero(shape, dtype):
    for array in (aligned_zeros(shape, np.dtype(dtype)), TensorBuffer(shape, np.dtype(dtype)).array):
        assert array.ctypes.data % ALIGNMENT == 0
        assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
        assert not array.any()


def test_a_type_that_numpy_has_not_is_refused():
    with pytest.raises(BundleError, match=r"tensor kv_cache_k_0 \[1,2\] int4 has a type that the runner cannot fill"):
        make_buffer(Tensor(names.kv_key(0), (1, 2), "INT4"))
    assert make_buffer(Tensor(names.kv_key(0), (1, 2), "INT8")).array.dtype == np.int8


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(litert_c, "files", lambda package: tmp_path)
    load = litert_c._library.__wrapped__  # past what was loaded before
    with pytest.raises(EngineError, match=r"has no LiteRT library .*\.so or libLiteRt\.dylib \(no such file\)"):
        load()
    (tmp_path / "libLiteRt.dylib").write_bytes(b"no library")
    with pytest.raises(EngineError, match=r"libLiteRt\.dylib: file too short|invalid ELF header"):
        load()
    shutil.copy(_ctypes.__file__, tmp_path / "libLiteRt.so")
    with pytest.raises(EngineError, match="undefined symbol: LiteRtCreateEnvironment"):
        load()


def test_handles_and_files_are_given_back_in_any_order(large):
    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = open_files()
    graphs = [Graph(large, names.EMBEDDER, large.model(names.EMBEDDER), Environment(), 1) for _ in range(8)]
    calls = [graph.call(names.EMBED, {}) for graph in graphs]
    assert open_files() >= before
    del graphs
    while calls:
        calls[0].run()
        calls.pop()
    assert open_files() == before
