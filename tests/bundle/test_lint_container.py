"""Negative controls for what lint says of the container: places, attributes, duplicates, header."""

import struct
from pathlib import Path

import litert_lm_builder as stock

from edge_mtp import names
from edge_mtp.bundle.contents import read_contents
from edge_mtp.bundle.findings import Severity
from edge_mtp.bundle.inspection import inspect_bundle
from edge_mtp.bundle.lint import lint
from edge_mtp.bundle.reader import read_bundle


def findings(path):
    return lint(read_contents(path))


def codes(path):
    return {finding.code for finding in findings(path)}


def _patch_section(path: Path, name: str, **changes: int) -> Path:
    """Overwrites `begin` or `end` of a section in the header, found by its present value."""
    content, section = bytearray(path.read_bytes()), read_bundle(path).find(name)
    for field, value in changes.items():
        place = content.index(struct.pack("<Q", getattr(section, field)), 32, 16384)
        content[place : place + 8] = struct.pack("<Q", value)
    path.write_bytes(content)
    return path


def test_unaligned_section(bundle_path):
    embedder = read_bundle(bundle_path).find("HF_Tokenizer_Zlib")
    content = bytearray(bundle_path.read_bytes())
    content[embedder.begin + 8 : embedder.end + 8] = content[embedder.begin : embedder.end]
    bundle_path.write_bytes(content)
    _patch_section(bundle_path, "HF_Tokenizer_Zlib", begin=embedder.begin + 8, end=embedder.end + 8)
    assert codes(bundle_path) == {"unaligned-section"}


def test_overlapping_sections(bundle_path):
    bundle = read_bundle(bundle_path)
    _patch_section(bundle_path, names.EMBEDDER, end=bundle.find(names.PER_LAYER_EMBEDDER).begin + 100)
    assert codes(bundle_path) == {"overlapping-section"}


def _stock_bundle(plan, path, constraint=None, times=1, padding=0):
    """The same sections through the stock builder, which writes what our writer never does."""
    for name, proto in (("llm", plan.llm_metadata), ("executor", plan.executor_metadata)):
        (path.parent / f"{name}.pb").write_bytes(proto.SerializeToString())
    builder = stock.LitertLmFileBuilder()
    if padding:
        builder.add_system_metadata(stock.Metadata(key="note", value="x" * padding, dtype=stock.DType.STRING))
    builder.add_llm_metadata(str(path.parent / "llm.pb"))
    builder.add_executor_metadata(str(path.parent / "executor.pb"))
    builder.add_hf_tokenizer(str(plan.tokenizer.path))
    for name, model in plan.models.items():
        for _ in range(times if name == names.DRAFTER else 1):
            builder.add_tflite_model(
                str(model),
                stock.TfLiteModelType(names.MODEL_TYPES[name]),
                constraint if name == names.DRAFTER else None,
                prefer_activation_type="fp32",
            )
    with path.open("wb") as file:
        builder.build(file)
    return path


def test_cpu_constraint_on_the_drafter_is_an_error(plan, tmp_path):
    assert codes(_stock_bundle(plan, tmp_path / "x.litertlm")) == set()
    (finding,) = findings(_stock_bundle(plan, tmp_path / "x.litertlm", constraint="cpu"))
    assert (finding.code, finding.severity, finding.where) == ("drafter-cpu-constraint", Severity.ERROR, names.DRAFTER)
    assert "gallery#791" in finding.message


def test_cpu_constraint_on_the_drafter_is_in_the_way_of_the_gpu(plan, tmp_path):
    assert inspect_bundle(_stock_bundle(plan, tmp_path / "x.litertlm")).gpu.possible
    inspection = inspect_bundle(_stock_bundle(plan, tmp_path / "x.litertlm", constraint="cpu"))
    assert inspection.mtp.possible and not inspection.gpu.possible
    assert inspection.gpu.missing[0].startswith("drafter: backend_constraint=cpu")


def test_duplicate_section(plan, tmp_path):
    assert codes(_stock_bundle(plan, tmp_path / "x.litertlm", times=2)) == {"duplicate-section"}


def test_long_header(plan, tmp_path):
    assert codes(_stock_bundle(plan, tmp_path / "x.litertlm", padding=20000)) == {"long-header"}
