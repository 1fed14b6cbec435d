"""Climbs the ladder: every rung asked for, judged one by one, and the report of it all."""

import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from edge_mtp import __version__
from edge_mtp.errors import EdgeMtpError
from edge_mtp.parity.advice import advise, cost_figures, with_speed_ups
from edge_mtp.parity.measured import Measured
from edge_mtp.parity.report import BundleFacts, Environment, Report, Settings, SuiteFile, WorstTensor
from edge_mtp.parity.results import (
    CouldNotCheckError,
    Finding,
    RungResult,
    Verdict,
    exit_code,
    first_failure,
    judge,
)
from edge_mtp.parity.workbench import SAMPLED, Workbench
from edge_mtp.runner.native_log import quiet_stderr

Check = Callable[[Workbench, Measured], Finding]
PACKAGES: Final = ("litert-lm-api", "ai-edge-litert", "torch", "transformers", "litert-torch", "onnxruntime", "numpy")


@dataclass(frozen=True)
class Rung:
    """One rung: what it claims, and the stage that is at fault where it fails. `module` in `rungs` checks it."""

    number: int
    name: str
    claim: str
    stage: str
    module: str


RUNGS: Final = (
    Rung(
        0, "pair", "Target and drafter fit, and the bundle was made from them", "the choice of checkpoints", "pairing"
    ),
    Rung(1, "graphs", "Our float graphs compute what transformers computes", "our graphs", "graphs"),
    Rung(2, "conversion", "The converted float graphs compute what torch computes", "conversion", "conversion"),
    Rung(3, "quantization", "The bundle says what the float checkpoint says", "quantization", "quantization"),
    Rung(4, "verify", "verify says of K + 1 tokens what decode says one by one", "the verify graph", "verification"),
    Rung(5, "lossless", "MTP on writes what MTP off writes", "acceptance", "losslessness"),
    Rung(6, "acceptance", "Drafts are accepted, and quantization took little of it", "the drafter", "acceptance"),
    Rung(7, "engine", "LiteRT-LM writes and accepts what our runner does", "the engine or the metadata", "engine"),
)


def climb(bench: Workbench, numbers: Sequence[int], told: Callable[[RungResult], None]) -> Report:
    """Runs the rungs `numbers`, telling each result as it comes. A rung that fails does not keep later ones from it."""
    measured, results = Measured(), []
    for rung in RUNGS:
        if rung.number in numbers:
            results.append(_climb(rung, bench, measured))
            told(results[-1])
    return _report(bench, measured, tuple(results))


def _climb(rung: Rung, bench: Workbench, measured: Measured) -> RungResult:
    started = time.monotonic()
    finding = Finding((), ())
    try:
        finding = _check_of(rung)(bench, measured)
        verdict, reason = judge(finding)
    except (CouldNotCheckError, EdgeMtpError) as error:
        verdict, reason = Verdict.COULD_NOT_CHECK, str(error)
    return RungResult(
        number=rung.number,
        name=rung.name,
        claim=rung.claim,
        stage=rung.stage,
        verdict=verdict,
        reason=reason,
        figures=finding.figures,
        controls=finding.controls,
        seconds=round(time.monotonic() - started, 2),
    )


def _check_of(rung: Rung) -> Check:
    """Imported late, because some rungs need torch; CouldNotCheckError where it is not installed."""
    try:
        with quiet_stderr():
            check: Check = import_module(f"edge_mtp.parity.rungs.{rung.module}").check
    except ModuleNotFoundError as error:
        raise CouldNotCheckError(
            f"this rung needs {error.name}, which is not installed; pip install 'edge-mtp[export,oracle]'"
        ) from None
    return check


def _report(bench: Workbench, measured: Measured, results: tuple[RungResult, ...]) -> Report:
    code, failed = exit_code(results), first_failure(results)
    replies = bench.replies if "replies" in vars(bench) else ()
    cost = cost_figures(replies, bench.target.max_draft_steps) if replies else None
    ratios = bench.request.costs or (None if cost is None else (cost.draft_ratio, cost.verify_ratio))
    lengths = measured.draft_lengths
    return Report(
        wall_time=datetime.now(UTC).isoformat(timespec="seconds"),
        edge_mtp_version=__version__,
        outcome=_outcome(results),
        exit_code=int(code),
        first_failed=None if failed is None else failed.stage,
        bundle=_bundle_facts(bench),
        environment=environment(bench.request.threads),
        settings=_settings(bench),
        rungs=results,
        acceptance=measured.acceptance,
        draft_lengths=with_speed_ups(lengths, *ratios) if ratios else lengths,
        quality=measured.quality,
        kl_histogram=measured.kl_histogram,
        divergences=measured.divergences,
        worst_tensors=_worst(bench),
        cost=cost,
        engine=measured.engine,
        advice=tuple(advise(replies, *ratios, bench.request.seed)) if ratios and replies else (),
    )


def _outcome(results: Sequence[RungResult]) -> Verdict:
    verdicts = [result.verdict for result in results]
    if Verdict.FAILED in verdicts:
        return Verdict.FAILED
    return Verdict.COULD_NOT_CHECK if Verdict.COULD_NOT_CHECK in verdicts or not verdicts else Verdict.HELD


def _bundle_facts(bench: Workbench) -> BundleFacts:
    path, manifest = bench.request.bundle, bench.manifest
    return BundleFacts(
        file=path.name,
        size_bytes=path.stat().st_size,
        sha256=bench.sha256,
        draft_steps=bench.contents.draft_steps,
        context_tokens=bench.text.context_tokens,
        bits_per_weight=None if manifest is None else manifest.bits_per_weight,
        recipe=None if manifest is None else manifest.recipe.name,
        sources=() if manifest is None else tuple(_source(one.name, one.revision) for one in manifest.sources),
    )


def _source(name: str, revision: str | None) -> str:
    return f"{name}@{revision}" if revision else name


def environment(threads: int) -> Environment:
    """What figures of this machine depend on."""
    return Environment(
        machine=f"{platform.system()} {platform.machine()}",
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        threads=threads,
        python=platform.python_version(),
        packages=_packages(),
    )


def _cpu() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or "unknown"


def _packages() -> Mapping[str, str]:
    found: dict[str, str] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _settings(bench: Workbench) -> Settings:
    used = Counter(task.prompt.suite for task in bench.tasks)
    return Settings(
        suites=tuple(SuiteFile(one.name, one.path.name, one.sha256, used[one.name]) for one in bench.suites),
        max_tokens=bench.request.max_tokens,
        seed=bench.request.seed,
        temperature=SAMPLED.temperature,
        backend=bench.request.backend,
    )


def _worst(bench: Workbench) -> tuple[WorstTensor, ...]:
    if bench.manifest is None:
        return ()
    return tuple(WorstTensor(one.section, one.name, one.format, one.snr_db) for one in bench.manifest.worst_tensors)
