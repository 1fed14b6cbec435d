"""The sidecar `BUNDLE.litertlm.json`: what went into a bundle, so that anyone can tell how it was made.

No times and no paths, so that the same export writes the same manifest.
"""

import json
import types
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from edge_mtp.bundle.border import refusing_garbage
from edge_mtp.bundle.contents import Contents
from edge_mtp.bundle.writer import WrittenBundle
from edge_mtp.errors import BundleError

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class ToolRecord:
    """A package that took part, and its version."""

    name: str
    version: str


@dataclass(frozen=True)
class FileRecord:
    """A source file by its name within the checkpoint."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class SourceRecord:
    """A checkpoint: `role` target or drafter, `name` its hub id or directory name, `revision` where known."""

    role: str
    name: str
    revision: str | None
    files: tuple[FileRecord, ...]


@dataclass(frozen=True)
class RecipeRecord:
    """The recipe in full."""

    name: str
    sha256: str
    text: str


@dataclass(frozen=True)
class SectionRecord:
    """One section of the bundle; `parameters` is 0 where a section has no weights."""

    name: str
    size_bytes: int
    sha256: str
    parameters: int
    bits_per_weight: float


@dataclass(frozen=True)
class TensorRecord:
    """How well one weight survived quantization."""

    section: str
    name: str
    format: str
    snr_db: float


@dataclass(frozen=True)
class SmokeRecord:
    """The engine's run of the finished bundle; `acceptance_rate` is accepted ÷ drafted, as it prints it."""

    prompts: int
    texts_equal: bool
    acceptance_rate: float | None


@dataclass(frozen=True)
class Manifest:
    """Everything the sidecar holds."""

    schema_version: int
    bundle: str
    size_bytes: int
    sha256: str
    uuid: str
    edge_mtp_version: str
    tools: tuple[ToolRecord, ...]
    sources: tuple[SourceRecord, ...]
    recipe: RecipeRecord
    sections: tuple[SectionRecord, ...]
    parameters: int
    bits_per_weight: float
    worst_tensors: tuple[TensorRecord, ...]
    has_drafter: bool
    draft_steps: int | None
    context_tokens: int
    prefill_lengths: tuple[int, ...]
    smoke: SmokeRecord | None


def manifest_path(bundle: Path) -> Path:
    """Where the manifest of `bundle` lies: beside it, `.json` behind its name."""
    return bundle.with_name(bundle.name + ".json")


def section_records(written: WrittenBundle, contents: Contents) -> tuple[SectionRecord, ...]:
    """Records of the sections as written, with the figures of their models."""
    records = []
    for section in written.sections:
        model = contents.models.get(section.name)
        parameters, bits = (0, 0.0) if model is None else (model.parameters, round(model.bits_per_weight, 4))
        records.append(SectionRecord(section.name, section.size, section.sha256, parameters, bits))
    return tuple(records)


def overall_bits(sections: Sequence[SectionRecord]) -> tuple[int, float]:
    """sections -> parameters of all, and bits per weight over all."""
    parameters = sum(section.parameters for section in sections)
    bits = sum(section.parameters * section.bits_per_weight for section in sections)
    return parameters, round(bits / parameters, 4) if parameters else 0.0


def worst_tensors(tensors: Iterable[TensorRecord], count: int = 10) -> tuple[TensorRecord, ...]:
    """The `count` weights with the lowest signal-to-noise ratio; those stored exactly are left out."""
    lossy = [tensor for tensor in tensors if isfinite(tensor.snr_db)]
    return tuple(sorted(lossy, key=lambda tensor: (tensor.snr_db, tensor.section, tensor.name))[:count])


def to_json(manifest: Manifest) -> str:
    """The manifest as JSON text, keys in the order of the fields."""
    return json.dumps(asdict(manifest), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_manifest(path: Path) -> Manifest:
    """The manifest in `path`; BundleError where it is missing, damaged or of another schema version."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BundleError(f"cannot read the manifest {path}: {error.strerror}; export the bundle again") from error
    with refusing_garbage(f"the manifest {path}"):
        value = json.loads(text)
        if value["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema version {value['schema_version']}, expected {SCHEMA_VERSION}")
        manifest = _decode(Manifest, value)
        assert isinstance(manifest, Manifest)
        return manifest


def _decode(kind: Any, value: Any) -> Any:
    """JSON value -> value of `kind`: a dataclass, a tuple of one kind, an optional, or a plain type."""
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        return kind(**{one.name: _decode(hints[one.name], value[one.name]) for one in fields(kind)})
    if get_origin(kind) is tuple:
        return tuple(_decode(get_args(kind)[0], one) for one in value)
    if get_origin(kind) in (types.UnionType, Union):
        plain = next(one for one in get_args(kind) if one is not types.NoneType)
        return None if value is None else _decode(plain, value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise TypeError(f"found {value!r}, expected {kind.__name__}")
    return value
