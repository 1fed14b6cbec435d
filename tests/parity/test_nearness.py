"""How near the engine has to be: which token a text has in place of the runner's, and rung 7 by the GPU's bars.

Here the engine's CPU backend runs another bundle in place of a GPU; tests/gpu has a real one, or SwiftShader.
"""

from dataclasses import replace
from math import inf

import numpy as np
import pytest

from edge_mtp.parity import nearness
from edge_mtp.parity.nearness import lag, rate_spread, unshown
from edge_mtp.parity.report import Report
from edge_mtp.parity.results import Verdict
from edge_mtp.parity.rungs import engine, quantization
from edge_mtp.runner.trace import Counters
from tests.parity.ladder_runs import climb_rungs, figure, the_rung
from tests.parity.test_written import SPECIAL, STOP, WRITER

BEST_FIRST = (3, 2, 1, SPECIAL, STOP, 6, 4)


@pytest.mark.parametrize(
    ("reply", "at", "text", "expected"),
    [
        ((1, 2, 3), 2, "aba", 2.0),
        ((1, 2, 3), 2, "ab", 4.0),  # where the stop token is another choice
        ((1, 2, 3), 2, "ab b", 5.0),  # by the space alone, since " c" is the runner's
        ((1, 2, 3), 1, "a c", 0.0),
        ((1, 2, 3), 1, "a<|turn>", 3.0),
        ((1, 2, 3), 1, "ax", inf),  # nothing spells that
        ((1, 2, STOP), 2, "abb", 1.0),
        ((1, 2, 3), 2, "ab€", 6.0),  # by the first half of the character
    ],
)
def test_lag(reply, at, text, expected, monkeypatch):
    """Logits fall from token 3, the best, to 4, which is last."""
    logits = np.full(11, -inf, np.float32)
    logits[list(BEST_FIRST)] = -np.arange(len(BEST_FIRST))
    monkeypatch.setattr(nearness, "CANDIDATES", len(BEST_FIRST))
    assert lag(WRITER, reply, at, logits, text) == expected


def test_lag_looks_at_the_best_only(monkeypatch):
    logits = np.array([-inf, -2.0, 0.0, -1.0], np.float32)
    monkeypatch.setattr(nearness, "CANDIDATES", 3)
    assert lag(WRITER, (2, 3), 0, logits, "a") == 2.0
    monkeypatch.setattr(nearness, "CANDIDATES", 2)
    assert lag(WRITER, (2, 3), 0, logits, "a") == inf


def test_unshown():
    """A text that parts at a character's second half may have parted at its first."""
    assert unshown(["a", "a", "a€", "a€b"], 2) == [1, 2]
    assert unshown(["a", "a", "a€", "a€b"], 3) == [3]
    assert unshown(["", "€"], 1) == [0, 1]


def test_rate_spread():
    wide = [Counters(1, (3,), (accepted,)) for accepted in (0, 3)]
    assert rate_spread(wide, 0) == 0.5
    assert rate_spread(wide * 50, 0) < 0.11
    assert rate_spread([Counters(1, (3,), (1,))] * 9, 0) == rate_spread([Counters()], 0) == 0.0


@pytest.fixture
def rung7(request_, monkeypatch):
    """Climbs rung 7 with the engine on another bundle, by the bars of a backend that it does not run on."""
    right = engine.run_engine

    def climb(bundle, backend: str = "gpu") -> Report:
        def run_engine(_, prompts, options):
            return right(bundle, prompts, replace(options, backend="cpu"))

        monkeypatch.setattr(engine, "run_engine", run_engine)
        return climb_rungs(replace(request_, backend=backend), 7)

    return climb


def test_what_rounds_no_activations_may_part_where_the_choice_is_open(rung7, float_bundle):
    """Float weights part from the runner as a GPU does; by the CPU's bars they are refused."""
    report = rung7(float_bundle)
    held = the_rung(report, 7)
    assert held.verdict is Verdict.HELD, held.reason
    assert all(control.rejected for control in held.controls)
    parted = [one for one in report.divergences if one.rung == 7]
    assert [(one.prompt, one.excused) for one in parted] == [("decimal", True)] * 2
    assert all(0.01 < one.margin < one.tolerance < 1.0 for one in parted)
    assert 0.0 < figure(held, "choices within the tolerance") < 0.2
    assert figure(held, "partings, MTP off") == pytest.approx(1000.0 / 46)
    assert {one.rung for one in report.divergences} == {7} and report.quality == (), "rung 3 was not asked for"

    refused = the_rung(rung7(float_bundle, "cpu"), 7)
    assert refused.verdict is Verdict.FAILED and figure(refused, "that part elsewhere") == 2
    assert not [one for one in refused.figures if one.name.startswith(("choices", "partings"))]


def test_a_target_that_computes_otherwise(rung7, int2_bundle):
    failed = the_rung(rung7(int2_bundle), 7)
    assert failed.verdict is Verdict.FAILED and figure(failed, "that part elsewhere") > 0


def test_texts_that_part_too_often(rung7, int2_bundle, monkeypatch):
    """Were each parting excused, their number would still be too high."""
    monkeypatch.setattr(engine, "lag", lambda *given: 0.0)
    failed = the_rung(rung7(int2_bundle), 7)
    assert failed.verdict is Verdict.FAILED and figure(failed, "that part elsewhere") == 0
    assert failed.reason.startswith("partings, MTP off is ")


def test_a_drafter_that_computes_otherwise(rung7, other_drafter):
    """Its texts are right, as those of a GPU's drafter that reads a wrong cache."""
    failed = the_rung(rung7(other_drafter.bundle), 7)
    assert figure(failed, "texts equal") == 8
    assert failed.verdict is Verdict.FAILED and failed.reason.startswith("its distance from the runner's is ")


@pytest.mark.parametrize(
    ("name", "value", "control"),
    [
        ("lag", lambda *given: 0.0, "the engine's text of another prompt"),
        ("bars_for", lambda *given: nearness.Bars(0.0, 1.0), "the rate of a drafter with another head"),
    ],
)
def test_bars_that_let_everything_pass(rung7, request_, monkeypatch, name, value, control):
    monkeypatch.setattr(engine, name, value)
    found = the_rung(rung7(request_.bundle), 7)
    assert found.verdict is Verdict.COULD_NOT_CHECK and control in found.reason
    assert [one.name for one in found.controls if not one.rejected] == [control]


def test_a_checkpoint_that_moves_nothing_excuses_nothing(rung7, float_bundle, monkeypatch):
    monkeypatch.setattr(quantization, "lead_changes", lambda reference, found: np.zeros(1))
    failed = the_rung(rung7(float_bundle), 7)
    assert failed.verdict is Verdict.FAILED and figure(failed, "that part elsewhere") == 2
