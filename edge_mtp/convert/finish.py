"""The end of an export: lint, smoke run, manifest, and only then the bundle's own name."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from edge_mtp import __version__, names
from edge_mtp.bundle import manifest
from edge_mtp.bundle.findings import Finding, Severity
from edge_mtp.bundle.inspection import Inspection, inspect_bundle
from edge_mtp.checkpoint.hub import ResolvedCheckpoint
from edge_mtp.convert.pipeline import Built, Prepared, open_sources
from edge_mtp.convert.preflight import check_resources
from edge_mtp.convert.schedule import Reporter
from edge_mtp.convert.smoke import SmokeResult, smoke_run
from edge_mtp.convert.stages import written_whole

TOOLS: Final = ("litert-torch", "litert-converter", "torch", "ai-edge-litert", "litert-lm-api", "litert-lm-builder")


@dataclass(frozen=True)
class ExportResult:
    """What an export made: where it lies, its manifest, what the linter and the engine said."""

    bundle: Path
    manifest: manifest.Manifest
    findings: tuple[Finding, ...]
    smoke: SmokeResult

    @property
    def fault(self) -> str | None:
        """Why the bundle must not ship; None where it may."""
        return _lint_fault(self.findings) or self.smoke.fault


def check_only(prepared: Prepared) -> None:
    """What `--dry-run` adds to preparing: disk and memory."""
    check_resources(prepared.plan, prepared.request.work, prepared.request.output)


def finish(prepared: Prepared, built: Built, reporter: Reporter) -> ExportResult:
    """Checks and runs the bundle, then gives it and its manifest their names.

    A bundle that fails is kept as `NAME.failed.litertlm`, and what OUTPUT held before stays as it was.
    """
    with _removed_if_cut_off(built.bundle.path):
        inspection = inspect_bundle(built.bundle.path)
        smoke = _smoke(prepared, built, reporter)
    held = _lint_fault(inspection.findings) is None and smoke.passed
    output = prepared.request.output
    final = output if held else output.with_name(f"{output.stem}.failed{output.suffix}")
    record = make_manifest(prepared, built, inspection, smoke, final)
    with written_whole(manifest.manifest_path(final)) as part:
        part.write_text(manifest.to_json(record), encoding="utf-8")
    built.bundle.path.replace(final)
    if held and prepared.request.work_dir is None:
        built.work.clear()
    return ExportResult(final, record, inspection.findings, smoke)


@contextmanager
def _removed_if_cut_off(partial: Path) -> Iterator[None]:
    """The next run writes the bundle anew, so a partial one would only take space."""
    try:
        yield
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _smoke(prepared: Prepared, built: Built, reporter: Reporter) -> SmokeResult:
    task = "smoke run in LiteRT-LM"
    reporter.start(task, None)
    started = time.monotonic()
    smoke = smoke_run(built.bundle.path, prepared.plan.lengths.context, built.work.directory)
    reporter.finish(task, time.monotonic() - started)
    return smoke


def make_manifest(
    prepared: Prepared, built: Built, inspection: Inspection, smoke: SmokeResult, final: Path
) -> manifest.Manifest:
    """The sidecar's content; nothing in it depends on when or where the export ran."""
    plan, recipe = prepared.plan, prepared.plan.recipe
    sections = manifest.section_records(built.bundle, inspection.contents)
    parameters, bits = manifest.overall_bits(sections)
    return manifest.Manifest(
        schema_version=manifest.SCHEMA_VERSION,
        bundle=final.name,
        size_bytes=built.bundle.size,
        sha256=built.bundle.sha256,
        uuid=built.bundle.uuid,
        edge_mtp_version=__version__,
        tools=tuple(manifest.ToolRecord(tool, _version(tool)) for tool in TOOLS),
        sources=tuple(_sources(prepared, built)),
        recipe=manifest.RecipeRecord(recipe.name, recipe.sha256, prepared.recipe_text),
        sections=sections,
        parameters=parameters,
        bits_per_weight=bits,
        worst_tensors=manifest.worst_tensors(
            manifest.TensorRecord(name, tensor.name, tensor.format.label, round(tensor.snr_db, 2))
            for name, tensors in built.tensors.items()
            for tensor in tensors.values()
        ),
        has_drafter=True,
        draft_steps=plan.lengths.draft_steps,
        context_tokens=plan.lengths.context,
        prefill_lengths=plan.lengths.prefill,
        smoke=manifest.SmokeRecord(smoke.prompts, smoke.differing == 0, smoke.acceptance_rate),
    )


def _sources(prepared: Prepared, built: Built) -> Iterator[manifest.SourceRecord]:
    resolved: dict[str, ResolvedCheckpoint] = {names.TARGET: prepared.target, names.DRAFTER: prepared.drafter}
    for role, checkpoint in open_sources(prepared).items():
        files = tuple(
            manifest.FileRecord(path.name, path.stat().st_size, built.source_digests[role][path.name])
            for path in checkpoint.files
        )
        yield manifest.SourceRecord(role, resolved[role].source, resolved[role].revision, files)


def _lint_fault(findings: tuple[Finding, ...]) -> str | None:
    """The first error of the linter as a sentence."""
    found = [finding for finding in findings if finding.severity is Severity.ERROR]
    return f"{found[0].where}: {found[0].message} ({found[0].code})" if found else None


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
