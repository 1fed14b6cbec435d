import struct

import litert_lm_builder
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_mtp import names
from edge_mtp.bundle.inspection import inspect_bundle
from edge_mtp.bundle.reader import read_bundle
from edge_mtp.bundle.tokenizer import TokenizerKind
from edge_mtp.errors import BundleError
from tests.bundle import models


def test_sections_and_their_bytes(plan, bundle_path):
    bundle = read_bundle(bundle_path)
    assert [section.name for section in bundle.sections] == [
        "LlmMetadataProto",
        "ExecutorMetadataProto",
        "HF_Tokenizer_Zlib",
        *names.SECTIONS,
    ]
    for name, path in plan.models.items():
        assert bytes(bundle.section_bytes(name)) == path.read_bytes()
    assert bundle.llm_metadata() == plan.llm_metadata
    assert bundle.executor_metadata() == plan.executor_metadata
    assert bundle.tokenizer_kind() is TokenizerKind.HUGGING_FACE
    assert bundle.token_ids() == plan.tokenizer.ids
    assert bundle.system["Authors"] == "edge_mtp"
    assert bundle.size == bundle_path.stat().st_size


def test_absent_section_is_named(bundle_path):
    with pytest.raises(BundleError, match=r"no section 'vision'; it has .*target"):
        read_bundle(bundle_path).section_bytes("vision")


def test_bundle_of_the_stock_builder_with_every_kind_of_attribute(plan, tmp_path, capsys):
    stock = litert_lm_builder
    (tmp_path / "metadata.pb").write_bytes(plan.llm_metadata.SerializeToString())
    (tmp_path / "tokenizer.model").write_bytes(models.sentencepiece_model(["<pad>", "<eos>"]))
    builder = stock.LitertLmFileBuilder()
    attributes = {"Authors": ("ODML", "STRING"), "count": (7, "INT32"), "ratio": (0.5, "FLOAT32"), "on": (True, "BOOL")}
    for key, (value, kind) in attributes.items():
        builder.add_system_metadata(stock.Metadata(key=key, value=value, dtype=stock.DType[kind]))
    builder.add_llm_metadata(str(tmp_path / "metadata.pb"))
    builder.add_sentencepiece_tokenizer(str(tmp_path / "tokenizer.model"))
    kind = stock.TfLiteModelType.PREFILL_DECODE
    builder.add_tflite_model(str(plan.models[names.TARGET]), kind, "cpu, gpu", prefer_activation_type="fp16")
    with (tmp_path / "stock.litertlm").open("wb") as file:
        builder.build(file)
    bundle = read_bundle(tmp_path / "stock.litertlm")
    target = bundle.find(names.TARGET)
    assert (target.backends, target.activation) == (("cpu", "gpu"), "fp16")
    assert bundle.system.items() >= {"Authors": "ODML", "count": 7, "ratio": 0.5, "on": True}.items()
    assert bundle.token_ids() == {"<pad>": 0, "<eos>": 1}
    assert bundle.executor_metadata() is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"LITERTLM", "cut short"),
        (b"LITERTLM" + b"\0" * 24, "container version 0"),
        (b"PK\x03\x04" + b"\0" * 64, "zip archive"),
        (b"GGUF" + b"\0" * 64, "GGUF"),
        (b"version https://git-lfs", "Git LFS pointer"),
        (b"\x20\0\0\0TFL3" + b"\0" * 64, "single .tflite"),
        (b"\x89PNG" + b"\0" * 64, "it starts with"),
    ],
)
def test_other_files_are_told_apart(tmp_path, content, message):
    path = tmp_path / "x.litertlm"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=message):
        read_bundle(path)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(BundleError, match="cannot read"):
        read_bundle(tmp_path / "absent.litertlm")


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.99])
def test_cut_files_say_so(bundle_path, kept):
    content = bundle_path.read_bytes()
    bundle_path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(BundleError, match=r"cut short: section \w+ ends at byte"):
        read_bundle(bundle_path)


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (8, struct.pack("<I", 9), "container version 9"),
        (24, struct.pack("<Q", 1 << 40), "header ends at byte"),
        (24, struct.pack("<Q", 3), "header ends at byte"),
        (32, b"\xff\xff\xff\x7f", "the header is damaged"),
        (32, b"\0\0\0\0", "damaged"),
    ],
)
def test_damaged_headers_are_refused(bundle_path, offset, value, message):
    content = bytearray(bundle_path.read_bytes())
    content[offset : offset + len(value)] = value
    bundle_path.write_bytes(content)
    with pytest.raises(BundleError, match=message):
        read_bundle(bundle_path)


def test_damaged_protos_tokenizer_and_models_are_named(bundle_path):
    sections = read_bundle(bundle_path).sections
    good = bundle_path.read_bytes()
    for section in sections:
        content = bytearray(good)
        content[section.begin : section.begin + 64] = b"\xff" * 64
        bundle_path.write_bytes(content)
        with pytest.raises(BundleError, match=r"damaged.*; download or export"):
            inspect_bundle(bundle_path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bytes_are_read_or_refused_but_never_crash(bundle_path, data):
    good = bundle_path.with_suffix(".good")
    if not good.exists():
        good.write_bytes(bundle_path.read_bytes())
    content = bytearray(good.read_bytes())
    starts = [0, *range(16384, len(content), 16384)]
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.sampled_from(starts)) + data.draw(st.integers(0, 2000))
        content[min(place, len(content) - 1)] = data.draw(st.integers(0, 255))
    bundle_path.write_bytes(content)
    try:
        inspect_bundle(bundle_path)
    except BundleError as error:
        assert str(bundle_path) in str(error)
