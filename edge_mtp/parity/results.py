"""What a rung of the parity ladder finds: a verdict, figures, and a control that had to fail."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from edge_mtp.errors import ExitCode


class Verdict(StrEnum):
    """A rung's outcome. "Could not check" is neither: something was missing, or the gate proved blind."""

    HELD = "held"
    FAILED = "failed"
    COULD_NOT_CHECK = "could not check"


@dataclass(frozen=True)
class Figure:
    """One measured value. `bar` says what it had to be, in words, empty where nothing was asked of it."""

    name: str
    value: float | int | str
    unit: str = ""
    bar: str = ""
    held: bool = True


@dataclass(frozen=True)
class Control:
    """The same check on something spoilt on purpose; a gate that does not reject it proves nothing."""

    name: str
    rejected: bool
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True)
class RungResult:
    """One rung: `stage` is what is at fault where it failed, `reason` says why it did not hold."""

    number: int
    name: str
    claim: str
    stage: str
    verdict: Verdict
    reason: str
    figures: tuple[Figure, ...]
    controls: tuple[Control, ...]
    seconds: float


@dataclass(frozen=True)
class Finding:
    """What a rung's check returns before it is judged; `fault` is empty where the claim holds."""

    figures: tuple[Figure, ...]
    controls: tuple[Control, ...]
    fault: str = ""


class CouldNotCheckError(Exception):
    """A rung cannot be climbed here; the message says what is missing and how to get it."""


BLIND: Final = "its control was not rejected ({}), so holding proves nothing"


def judge(finding: Finding) -> tuple[Verdict, str]:
    """A fault fails; a figure under its bar fails; a control that passes makes the check worthless."""
    missed = [
        f"{figure.name} is {_value(figure)}, needed {figure.bar}" for figure in finding.figures if not figure.held
    ]
    if finding.fault or missed:
        return Verdict.FAILED, finding.fault or "; ".join(missed)
    blind = [control.name for control in finding.controls if not control.rejected]
    if blind or not finding.controls:
        return Verdict.COULD_NOT_CHECK, BLIND.format(", ".join(blind) or "there was none")
    return Verdict.HELD, ""


def first_failure(rungs: Iterable[RungResult]) -> RungResult | None:
    """The lowest rung that failed."""
    return next((rung for rung in rungs if rung.verdict is Verdict.FAILED), None)


def exit_code(rungs: Iterable[RungResult]) -> ExitCode:
    """0 where all held, 3 where one failed, else 4."""
    verdicts = {rung.verdict for rung in rungs}
    if Verdict.FAILED in verdicts:
        return ExitCode.GATE_FAILED
    return ExitCode.COULD_NOT_CHECK if Verdict.COULD_NOT_CHECK in verdicts or not verdicts else ExitCode.HELD


def _value(figure: Figure) -> str:
    text = f"{figure.value:.4g}" if isinstance(figure.value, float) else str(figure.value)
    return f"{text} {figure.unit}".strip()
