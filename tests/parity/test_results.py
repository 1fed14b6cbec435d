"""Verdicts and exit codes, and where an engine's text leaves a reply."""

import pytest

from edge_mtp.errors import ExitCode
from edge_mtp.parity.results import Control, Figure, Finding, RungResult, Verdict, exit_code, first_failure, judge
from edge_mtp.parity.rungs.verification import Apart

HELD, FAILED, UNCHECKED = Verdict.HELD, Verdict.FAILED, Verdict.COULD_NOT_CHECK
GOOD = Figure("KL mean", 0.01, "nats", "≤ 0.1")
BAD = Figure("top-1", 0.71234, "of tokens", "≥ 0.9", held=False)
MISSED = "top-1 is 0.7123 of tokens, needed ≥ 0.9"
BLIND_REASON = "its control was not rejected ({}), so holding proves nothing"
ALIVE, BLIND = Control("shifted", rejected=True), Control("spoilt", rejected=False)


def rung(number: int, verdict: Verdict) -> RungResult:
    return RungResult(number, f"rung {number}", "claim", f"stage {number}", verdict, "", (), (), 0.0)


def rungs(*verdicts: Verdict) -> list[RungResult]:
    return [rung(number, verdict) for number, verdict in enumerate(verdicts)]


@pytest.mark.parametrize(
    ("finding", "verdict", "reason"),
    [
        (Finding((GOOD,), (ALIVE,)), HELD, ""),
        (Finding((), (ALIVE,)), HELD, ""),
        (Finding((GOOD, BAD), (ALIVE,)), FAILED, MISSED),
        (Finding((BAD, BAD), ()), FAILED, f"{MISSED}; {MISSED}"),
        (Finding((GOOD,), (ALIVE,), "no drafts"), FAILED, "no drafts"),
        (Finding((BAD,), (ALIVE,), "no drafts"), FAILED, "no drafts"),
        (Finding((BAD,), (BLIND,)), FAILED, MISSED),
        (Finding((GOOD,), (ALIVE, BLIND)), UNCHECKED, BLIND_REASON.format("spoilt")),
        (Finding((GOOD,), ()), UNCHECKED, BLIND_REASON.format("there was none")),
    ],
)
def test_judge(finding, verdict, reason):
    assert judge(finding) == (verdict, reason)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (3, "n is 3 files, needed 0"),
        (float("nan"), "n is nan files, needed 0"),
        ("many", "n is many files, needed 0"),
    ],
)
def test_a_missed_figure_is_told_with_its_unit(value, told):
    assert judge(Finding((Figure("n", value, "files", "0", held=False),), (ALIVE,)))[1] == told


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ((HELD, HELD), ExitCode.HELD),
        ((HELD, UNCHECKED), ExitCode.COULD_NOT_CHECK),
        ((FAILED, HELD), ExitCode.GATE_FAILED),
        ((UNCHECKED, FAILED), ExitCode.GATE_FAILED),
        ((FAILED, UNCHECKED, HELD), ExitCode.GATE_FAILED),
        ((), ExitCode.COULD_NOT_CHECK),
    ],
)
def test_exit_code(verdicts, code):
    assert exit_code(rungs(*verdicts)) is code
    assert exit_code(iter(rungs(*verdicts))) is code


def test_exit_codes_are_those_that_are_documented():
    assert [int(code) for code in ExitCode] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("verdicts", "first"),
    [((HELD, FAILED, FAILED), 1), ((UNCHECKED, HELD, FAILED), 2), ((HELD, UNCHECKED), None), ((), None)],
)
def test_first_failure(verdicts, first):
    found = first_failure(rungs(*verdicts))
    assert (None if found is None else found.number) == first


def apart(logits: float, clashes: int = 0) -> Apart:
    return Apart(logits, logits / 10, 0.0, clashes, 8, 0.02)


def test_the_worst_of_several_texts():
    worst = Apart.worst([apart(0.1, 1), apart(0.3), apart(0.2, 2)])
    assert (worst.logits, worst.logits_share, worst.clashes, worst.rows) == (0.3, 0.03, 3, 24)
    assert not worst.holds and Apart.worst([apart(0.1), apart(0.15)]).holds


@pytest.mark.parametrize("texts", [(float("nan"), 0.1), (0.1, float("nan"))])
def test_a_text_that_is_not_a_number_is_the_worst(texts):
    """`max` would leave out one that comes second."""
    assert not Apart.worst([apart(logits) for logits in texts]).holds
