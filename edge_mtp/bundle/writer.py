"""Writes a `.litertlm` container: same plan, same bytes.

litert-lm-builder's own builder stamps a random uuid and the time of day, and offers no way around it. So
the header is made with that package's schema objects, the uuid is derived from the content, and there is
no timestamp.
Layout: magic, version, header end (u64 at byte 24), header from byte 32, sections aligned to 16 KiB.
"""

import hashlib
import struct
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BufferedRandom, BytesIO
from os import fsync
from pathlib import Path

import flatbuffers
from litert_lm_builder import litertlm_core as core
from litert_lm_builder import litertlm_header_schema_py_generated as schema
from litert_lm_builder.runtime.proto.executor_metadata_pb2 import ExecutorMetadata
from litert_lm_builder.runtime.proto.llm_metadata_pb2 import LlmMetadata

from edge_mtp import names
from edge_mtp.bundle.tokenizer import BundleTokenizer, TokenizerKind
from edge_mtp.errors import BundleError, ResourceError
from edge_mtp.recipe import Activation

LLM_METADATA = "llm_metadata"
EXECUTOR_METADATA = "executor_metadata"
TOKENIZER = "tokenizer"
UUID_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "edge-mtp")
CHUNK_BYTES = 4 << 20

Progress = Callable[[int], None]


@dataclass(frozen=True)
class BundlePlan:
    """Everything a bundle holds; `models` maps names of `names.SECTIONS` to finished .tflite files.

    `activation` is written on the sections a GPU may run (target and drafter). No section ever gets a
    `backend_constraint`: on the drafter it crashes GPU use.
    """

    models: Mapping[str, Path]
    tokenizer: BundleTokenizer
    llm_metadata: LlmMetadata
    executor_metadata: ExecutorMetadata | None = None
    activation: Activation | None = None
    recipe_sha256: str = ""


@dataclass(frozen=True)
class WrittenSection:
    """One section as written: `sha256` of its `size` bytes at `offset`."""

    name: str
    offset: int
    size: int
    sha256: str


@dataclass(frozen=True)
class WrittenBundle:
    """A complete bundle under its temporary `path`; the caller renames it."""

    path: Path
    size: int
    sha256: str
    uuid: str
    sections: tuple[WrittenSection, ...]


@dataclass(frozen=True)
class _Section:
    name: str
    data_type: int
    attributes: Mapping[str, str]
    payload: bytes | Path

    @property
    def size(self) -> int:
        return len(self.payload) if isinstance(self.payload, bytes) else self.payload.stat().st_size


def partial_path(output: Path) -> Path:
    """Where `write_bundle` writes before the caller renames: beside `output`, so that renaming is atomic.

    The suffix stays the last one, because the engine opens nothing that does not end in .litertlm.
    """
    return output.with_name(f"{output.stem}.partial{output.suffix}")


def bundle_bytes(plan: BundlePlan) -> int:
    """Size of the finished bundle in bytes, for disk checks and progress."""
    offset: int = core.BLOCK_SIZE
    for section in _sections(plan):
        offset = _align(offset) + section.size
    return offset


def write_bundle(plan: BundlePlan, output: Path, progress: Progress = lambda count: None) -> WrittenBundle:
    """Write `plan` to `partial_path(output)`, synced to disk; `progress` is told the bytes of each step.

    BundleError where the plan is incomplete, ResourceError where the disk refuses; neither leaves a file.
    """
    sections = _sections(plan)
    needed = bundle_bytes(plan)
    path = partial_path(output)
    try:
        with path.open("w+b") as out:
            written, identity = _write(out, sections, plan.recipe_sha256, progress)
            size, digest = _sync_and_hash(out)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise ResourceError(f"cannot write {path}: {error.strerror or error}; {needed} bytes are needed") from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return WrittenBundle(path, size, digest, identity, written)


def _sections(plan: BundlePlan) -> list[_Section]:
    """The plan as sections, in file order: metadata, tokenizer, then the models as in `names.SECTIONS`."""
    unknown = sorted(set(plan.models) - set(names.SECTIONS))
    absent = sorted(str(path) for path in plan.models.values() if not path.is_file())
    if unknown or absent or names.TARGET not in plan.models:
        raise BundleError(
            f"a bundle takes sections {', '.join(names.SECTIONS)} and needs {names.TARGET}; found "
            f"{', '.join(plan.models) or 'none'}, unknown {unknown}, files missing {absent}"
        )
    types = schema.AnySectionDataType
    protos = [_Section(LLM_METADATA, types.LlmMetadataProto, {}, _serialized(plan.llm_metadata))]
    if plan.executor_metadata is not None:
        protos.append(_Section(EXECUTOR_METADATA, types.ExecutorMetadataProto, {}, _serialized(plan.executor_metadata)))
    is_piece = plan.tokenizer.kind is TokenizerKind.SENTENCEPIECE
    tokenizer_type = types.SP_Tokenizer if is_piece else types.HF_Tokenizer_Zlib
    tokenizer = _Section(TOKENIZER, tokenizer_type, {}, plan.tokenizer.payload)
    models = [
        _Section(name, types.TFLiteModel, _attributes(name, plan.activation), plan.models[name])
        for name in names.SECTIONS
        if name in plan.models
    ]
    return [*protos, tokenizer, *models]


def _attributes(name: str, activation: Activation | None) -> dict[str, str]:
    attributes = {"model_type": names.MODEL_TYPES[name]}
    if activation is not None and name in (names.TARGET, names.DRAFTER):
        attributes["prefer_activation_type"] = activation
    return attributes


def _write(
    out: BufferedRandom, sections: list[_Section], recipe_sha256: str, progress: Progress
) -> tuple[tuple[WrittenSection, ...], str]:
    """Copy the sections behind the header's space, then write the header with their places and the uuid."""
    size = len(_pack_header(sections, [(1, 1)] * len(sections), str(uuid.UUID(int=0))))
    offset = _align(core.HEADER_BEGIN_BYTE_OFFSET + size)
    written = []
    for section in sections:
        out.seek(offset)
        digest, count = _copy(section.payload, out, progress)
        written.append(WrittenSection(section.name, offset, count, digest))
        offset = _align(offset + count)
    content = "\n".join([recipe_sha256, *(f"{one.name} {one.sha256}" for one in written)])
    identity = str(uuid.uuid5(UUID_NAMESPACE, content))
    header = _pack_header(sections, [(one.offset, one.offset + one.size) for one in written], identity)
    out.seek(0)
    out.write(_preamble(len(header)) + header)
    return tuple(written), identity


def _preamble(header_bytes: int) -> bytes:
    """The 32 bytes before the header: magic, version, where the header ends."""
    version = (core.LITERTLM_MAJOR_VERSION, core.LITERTLM_MINOR_VERSION, core.LITERTLM_PATCH_VERSION)
    end = core.HEADER_BEGIN_BYTE_OFFSET + header_bytes
    return struct.pack("<8s3I4xQ", core.HEADER_MAGIC_BYTES, *version, end)


def _pack_header(sections: list[_Section], spans: list[tuple[int, int]], identity: str) -> bytes:
    """sections and their (begin, end) -> header flatbuffer; its length does not depend on the numbers."""
    objects = [
        schema.SectionObjectT(
            items=[_text_entry(key, value) for key, value in section.attributes.items()],
            beginOffset=begin,
            endOffset=end,
            dataType=section.data_type,
        )
        for section, (begin, end) in zip(sections, spans, strict=True)
    ]
    root = schema.LiteRTLMMetaDataT(
        systemMetadata=schema.SystemMetadataT(
            entries=[_text_entry("Authors", "edge_mtp"), _text_entry("uuid", identity)]
        ),
        sectionMetadata=schema.SectionMetadataT(objects=objects),
    )
    builder = flatbuffers.Builder(core.BLOCK_SIZE)
    builder.Finish(root.Pack(builder))
    return bytes(builder.Output())


def _text_entry(key: str, value: str) -> schema.KeyValuePairT:
    return schema.KeyValuePairT(key=key, valueType=schema.VData.StringValue, value=schema.StringValueT(value))


def _copy(payload: bytes | Path, out: BufferedRandom, progress: Progress) -> tuple[str, int]:
    """Append `payload` to `out`; its sha256 and size."""
    digest, count = hashlib.sha256(), 0
    with BytesIO(payload) if isinstance(payload, bytes) else payload.open("rb") as source:
        while chunk := source.read(CHUNK_BYTES):
            digest.update(chunk)
            out.write(chunk)
            count += len(chunk)
            progress(len(chunk))
    return digest.hexdigest(), count


def _sync_and_hash(out: BufferedRandom) -> tuple[int, str]:
    """Flush `out` to disk; its size and sha256."""
    out.flush()
    fsync(out.fileno())
    out.seek(0)
    digest = hashlib.file_digest(out, "sha256").hexdigest()
    return out.tell(), digest


def _serialized(proto: LlmMetadata | ExecutorMetadata) -> bytes:
    return bytes(proto.SerializeToString(deterministic=True))


def _align(offset: int) -> int:
    """`offset` rounded up to the next section boundary."""
    block: int = core.BLOCK_SIZE
    return -(-offset // block) * block
