"""Reads any `.litertlm` container, also one made by others, without unpacking it.

The file is mapped, so that a bundle of gigabytes costs only the pages that are looked at. A file that
is no bundle, is cut short or damaged is refused with BundleError; what is odd but readable is left to `lint`.
"""

import mmap
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from litert_lm_builder import litertlm_core as core
from litert_lm_builder import litertlm_header_schema_py_generated as schema
from litert_lm_builder.runtime.proto.executor_metadata_pb2 import ExecutorMetadata
from litert_lm_builder.runtime.proto.llm_metadata_pb2 import LlmMetadata
from tokenizers import Tokenizer

from edge_mtp import names
from edge_mtp.bundle.border import refusing_garbage
from edge_mtp.bundle.summary import ModelSummary
from edge_mtp.bundle.tflite import summarize
from edge_mtp.bundle.tokenizer import TokenizerKind, sentencepiece_ids, unpack_hugging_face
from edge_mtp.errors import BundleError

PREAMBLE = struct.Struct("<8s3I4xQ")
MAX_ENTRIES = 1 << 16
SECTION_NAMES = {model_type: name for name, model_type in names.MODEL_TYPES.items()}
TOKENIZER_KINDS = {
    "SP_Tokenizer": TokenizerKind.SENTENCEPIECE,
    "HF_Tokenizer_Zlib": TokenizerKind.HUGGING_FACE,
}
OTHER_FORMATS = {
    b"PK\x03\x04": "a zip archive (a .task bundle or a PyTorch file)",
    b"GGUF": "a GGUF file of llama.cpp",
    b"version ": "a Git LFS pointer, the file itself was not downloaded",
    b"<!DO": "a web page",
    b"<htm": "a web page",
}

Scalar = str | int | float | bool


@dataclass(frozen=True)
class Section:
    """One section: where it lies, what it is, and its attributes as the header has them."""

    data_type: str
    begin: int
    end: int
    attributes: Mapping[str, Scalar]

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.begin

    @property
    def model_type(self) -> str:
        """`tf_lite_…` of a model section, lower case; empty elsewhere."""
        return str(self.attributes.get("model_type", "")).lower()

    @property
    def name(self) -> str:
        """Name as in `names.SECTIONS` where the section has one, else its model type or data type."""
        if self.data_type != "TFLiteModel":
            return self.data_type + (f" {self.model_type}" if self.model_type else "")
        return SECTION_NAMES.get(self.model_type, self.model_type or self.data_type)

    @property
    def backends(self) -> tuple[str, ...]:
        """Backends the section is constrained to; empty means any."""
        text = str(self.attributes.get("backend_constraint", ""))
        return tuple(part.strip().lower() for part in text.split(",") if part.strip())

    @property
    def activation(self) -> str:
        """`prefer_activation_type`, empty where it is not set."""
        return str(self.attributes.get("prefer_activation_type", "")).lower()


@dataclass(frozen=True)
class Bundle:
    """A mapped `.litertlm`; the mapping is released with the last reference to it."""

    path: Path
    version: tuple[int, int, int]
    header_end: int
    size: int
    system: Mapping[str, Scalar]
    sections: tuple[Section, ...]
    _data: memoryview = field(repr=False, compare=False)

    def find(self, name: str) -> Section | None:
        """The first section called `name`, if there is one."""
        return next((section for section in self.sections if section.name == name), None)

    def section_bytes(self, section: Section | str) -> memoryview:
        """Bytes of a section, mapped and read-only; BundleError where the bundle has none of that name."""
        found = self.find(section) if isinstance(section, str) else section
        if found is None:
            raise BundleError(
                f"{self.path} has no section {section!r}; it has {', '.join(s.name for s in self.sections)}"
            )
        return self._data[found.begin : found.end]

    def model(self, name: str) -> ModelSummary | None:
        """Summary of the model section called `name`, None where there is none."""
        section = self.find(name)
        return None if section is None else summarize(self.section_bytes(section), f"{self.path}: section {name}")

    def llm_metadata(self) -> LlmMetadata | None:
        """The LlmMetadata proto, None where there is none."""
        return self._proto("LlmMetadataProto", LlmMetadata)

    def executor_metadata(self) -> ExecutorMetadata | None:
        """The ExecutorMetadata proto, None where there is none."""
        return self._proto("ExecutorMetadataProto", ExecutorMetadata)

    def tokenizer_kind(self) -> TokenizerKind | None:
        """Which tokenizer the bundle has, None where it has none."""
        return next((TOKENIZER_KINDS[s.data_type] for s in self.sections if s.data_type in TOKENIZER_KINDS), None)

    def token_ids(self) -> dict[str, int]:
        """Ids by token of the bundle's tokenizer, empty where it has none."""
        section = next((s for s in self.sections if s.data_type in TOKENIZER_KINDS), None)
        if section is None:
            return {}
        with refusing_garbage(f"{self.path}: the tokenizer"):
            content = bytes(self.section_bytes(section))
            if section.data_type == "SP_Tokenizer":
                return sentencepiece_ids(content)
            return _hugging_face_ids(unpack_hugging_face(content))

    def _proto(self, data_type: str, kind: Any) -> Any:
        section = next((s for s in self.sections if s.data_type == data_type), None)
        if section is None:
            return None
        with refusing_garbage(f"{self.path}: section {data_type}"):
            return kind.FromString(bytes(self.section_bytes(section)))


def read_bundle(path: Path) -> Bundle:
    """The bundle in `path`; BundleError saying what it is instead, or where it is cut short or damaged."""
    data = _map(path)
    if bytes(data[:8]) != core.HEADER_MAGIC_BYTES:
        raise BundleError(f"{path} is not a .litertlm bundle: {_describe(bytes(data[:8]))}")
    if len(data) < PREAMBLE.size:
        raise BundleError(f"{path} is cut short: {len(data)} bytes, less than the preamble; download it again")
    _, major, minor, patch, header_end = PREAMBLE.unpack(data[: PREAMBLE.size])
    if major != core.LITERTLM_MAJOR_VERSION:
        raise BundleError(
            f"{path} has container version {major}.{minor}.{patch}, expected "
            f"{core.LITERTLM_MAJOR_VERSION}.x; it is damaged or of a newer format"
        )
    if not PREAMBLE.size < header_end <= len(data):
        raise BundleError(
            f"{path} is cut short or damaged: its header ends at byte {header_end}, "
            f"the file has {len(data)} bytes; download it again"
        )
    with refusing_garbage(f"{path}: the header"):
        system, sections = _read_header(data[PREAMBLE.size : header_end])
    for section in sections:
        _check_place(path, section, header_end, len(data))
    return Bundle(path, (major, minor, patch), header_end, len(data), system, sections, data)


def _map(path: Path) -> memoryview:
    try:
        with path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        reason = "it is empty" if isinstance(error, ValueError) else error.strerror
        raise BundleError(f"cannot read {path}: {reason}; expected a .litertlm bundle") from error


def _describe(start: bytes) -> str:
    """What a file that starts with `start` is, as far as one can tell."""
    if start[4:8] == b"TFL3":
        return "it is a single .tflite model; bundles hold several, with tokenizer and metadata"
    known = next((text for prefix, text in OTHER_FORMATS.items() if start.startswith(prefix)), None)
    return f"it is {known}" if known else f"it starts with {start!r}, expected {core.HEADER_MAGIC_BYTES!r}"


def _check_place(path: Path, section: Section, header_end: int, size: int) -> None:
    if section.end > size:
        raise BundleError(
            f"{path} is cut short: section {section.name} ends at byte {section.end}, "
            f"the file has {size} bytes; download it again"
        )
    if not header_end <= section.begin < section.end:
        raise BundleError(
            f"{path} is damaged: section {section.name} runs from byte {section.begin} to {section.end}, "
            f"the header ends at {header_end}; download it again"
        )


def _read_header(header: memoryview) -> tuple[dict[str, Scalar], tuple[Section, ...]]:
    root = schema.LiteRTLMMetaData.GetRootAs(header, 0)
    system, listed = root.SystemMetadata(), root.SectionMetadata()
    entries = {} if system is None else dict(_entries(system.Entries, system.EntriesLength()))
    if listed is None or not listed.ObjectsLength():
        raise ValueError("it lists no sections")
    return entries, tuple(_section(listed.Objects(i)) for i in _indices(listed.ObjectsLength()))


def _section(entry: Any) -> Section:
    return Section(
        data_type=core.any_section_data_type_to_string(entry.DataType()),
        begin=int(entry.BeginOffset()),
        end=int(entry.EndOffset()),
        attributes=dict(_entries(entry.Items, entry.ItemsLength())),
    )


def _entries(get: Any, count: int) -> Iterator[tuple[str, Scalar]]:
    for index in _indices(count):
        entry = get(index)
        value = schema.VdataCreator(entry.ValueType(), entry.Value())
        if value is not None and entry.Key() is not None:
            yield entry.Key().decode("utf-8"), _scalar(value.value)


def _scalar(value: Any) -> Scalar:
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"an attribute holds {value!r}")


def _indices(count: int) -> range:
    if count > MAX_ENTRIES:
        raise ValueError(f"a list claims {count} entries")
    return range(count)


def _hugging_face_ids(content: bytes) -> dict[str, int]:
    try:
        ids: dict[str, int] = Tokenizer.from_buffer(content).get_vocab(with_added_tokens=True)
    except Exception as error:  # (the Rust binding raises nothing narrower)
        raise ValueError(str(error)) from error
    return ids
