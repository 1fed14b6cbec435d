"""`inspect`'s logic: everything worth saying about a bundle as one value, and that value as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from edge_mtp.bundle.contents import Contents, KvMemory, kv_memory, read_contents
from edge_mtp.bundle.contract import MtpVerdict, check_mtp, check_target, judge_mtp
from edge_mtp.bundle.findings import Finding
from edge_mtp.bundle.gpu import GpuVerdict, judge_gpu
from edge_mtp.bundle.lint import lint
from edge_mtp.bundle.summary import Signature, WeightGroup

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Inspection:
    """A bundle's contents with what follows from them; `groups` are weights by section and name pattern."""

    contents: Contents
    groups: Mapping[str, tuple[WeightGroup, ...]]
    kv: KvMemory | None
    mtp: MtpVerdict
    gpu: GpuVerdict
    findings: tuple[Finding, ...]


def inspect_bundle(path: Path) -> Inspection:
    """Inspection of the bundle at `path`; BundleError where it is no bundle or damaged."""
    contents = read_contents(path)
    mtp = judge_mtp(contents, [*check_target(contents), *check_mtp(contents)])
    findings = tuple(lint(contents))
    return Inspection(
        contents=contents,
        groups={name: model.groups for name, model in contents.models.items()},
        kv=kv_memory(contents),
        mtp=mtp,
        gpu=judge_gpu(mtp, findings),
        findings=findings,
    )


def to_json(inspection: Inspection) -> dict[str, Any]:
    """The inspection as plain JSON values; names of keys are stable within a schema version."""
    contents = inspection.contents
    bundle = contents.bundle
    return {
        "schema_version": SCHEMA_VERSION,
        "bundle": bundle.path.name,
        "size_bytes": bundle.size,
        "container_version": ".".join(map(str, bundle.version)),
        "system": dict(bundle.system),
        "sections": [_section_json(inspection, index) for index in range(len(bundle.sections))],
        "tokenizer": {"kind": contents.tokenizer_kind, "entries": len(contents.tokens)},
        "llm_metadata": _proto_json(contents.llm_metadata),
        "executor_metadata": _proto_json(contents.executor_metadata),
        "kv_cache": None if inspection.kv is None else asdict(inspection.kv),
        "mtp": asdict(inspection.mtp),
        "mtp_on_gpu": asdict(inspection.gpu),
        "findings": [asdict(finding) for finding in inspection.findings],
    }


def _section_json(inspection: Inspection, index: int) -> dict[str, Any]:
    section = inspection.contents.bundle.sections[index]
    model = inspection.contents.models.get(section.name) if section.data_type == "TFLiteModel" else None
    plain = {
        "name": section.name,
        "data_type": section.data_type,
        "offset": section.begin,
        "size_bytes": section.size,
        "attributes": dict(section.attributes),
    }
    if model is None:
        return plain
    groups = inspection.groups[section.name]
    return plain | {
        "parameters": model.parameters,
        "bits_per_weight": round(model.bits_per_weight, 3),
        "signatures": [_signature_json(signature) for signature in model.signatures],
        "weights": [asdict(group) | {"bits_per_weight": round(group.bits_per_weight, 3)} for group in groups],
        "ops": dict(sorted(model.ops.items())),
        "composites": dict(sorted(model.composites.items())),
        "customs": dict(sorted(model.customs.items())),
    }


def _signature_json(signature: Signature) -> dict[str, Any]:
    return {
        "key": signature.key,
        "inputs": [asdict(tensor) for tensor in signature.inputs],
        "outputs": [asdict(tensor) for tensor in signature.outputs],
    }


def _proto_json(proto: Any) -> Any:
    return None if proto is None else json_format.MessageToDict(proto, preserving_proto_field_name=True)
