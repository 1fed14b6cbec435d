"""Every rung's control is alive: where it is made to change nothing, the rung could not check, instead of holding.

Each test has its own control in `test_ladder.test_every_rung_holds`, where the same rung holds with its control as is.
"""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace

import pytest

from edge_mtp.bundle.reader import read_bundle
from edge_mtp.parity.results import Verdict
from edge_mtp.parity.rungs import acceptance, conversion, engine, graphs, losslessness, pairing, verification
from edge_mtp.parity.witness import PACKAGES
from edge_mtp.parity.workbench import Gates
from edge_mtp.runner.acceptance import accept_rejection
from tests.parity.ladder_runs import climb_rungs, run_parity, the_rung


@pytest.fixture
def blind(request_) -> Callable[..., None]:
    """Climbs a rung, which finds nothing wrong and yet does not hold, because of the control called so."""

    def check(number: int, *controls: str, gates: Gates | None = None) -> None:
        report = climb_rungs(replace(request_, gates=gates or Gates()), number)
        found = the_rung(report, number)
        assert (found.verdict, report.exit_code) == (Verdict.COULD_NOT_CHECK, 4), found.reason
        assert found.figures and all(figure.held for figure in found.figures)
        assert found.reason.endswith("so holding proves nothing")
        assert [one.name for one in found.controls if not one.rejected] == list(controls)
        assert all(name in found.reason for name in controls)

    return check


def test_a_pair_that_fits_everything(blind, monkeypatch):
    monkeypatch.setattr(pairing, "check_pair", lambda target, drafter, *directories: None)
    blind(0, "a drafter for a hidden size one larger", "a drafter with a window one longer")


def test_checkpoints_swapped_for_themselves(blind, monkeypatch):
    monkeypatch.setattr(pairing, "OTHER", {role: role for role in pairing.OTHER})
    blind(0, "checkpoints the other way round")


def test_the_right_window(blind, monkeypatch):
    monkeypatch.setattr(graphs, "_with_window", lambda pair, change: pair)
    blind(1, "target's window one shorter")


@contextmanager
def _exported_before(float_bundle):
    yield read_bundle(float_bundle)


def test_a_norm_that_is_not_spoilt(blind, monkeypatch, float_bundle):
    monkeypatch.setattr(conversion, "_float_bundle", lambda bench: _exported_before(float_bundle))
    monkeypatch.setattr("edge_mtp.parity.witness.PACKAGES", (*PACKAGES, "no_such_package"))
    monkeypatch.setattr(conversion, "SPOILT_NORM", 1.0)
    blind(2, "torch with the final norm's weight times 1.0")


def test_a_bar_so_low_that_another_text_passes(request_, tmp_path):
    """By the options for rung 3's bars; with either of them alone the control is still rejected."""
    lax = run_parity(request_, tmp_path / "lax", "--rungs", "3", "--max-kl", "1000", "--min-top1", "0")
    assert lax.code == 4 and lax.rung(3)["verdict"] == "could not check"
    assert "float checkpoint shifted by one token" in lax.rung(3)["reason"]


def test_a_cache_that_is_not_spoilt(blind, monkeypatch):
    monkeypatch.setattr(verification, "_corrupted", verification.verify_rows)
    blind(4, "keys and values of one prompt token negated")


def test_broken_rules_that_are_right(blind, monkeypatch):
    monkeypatch.setattr(losslessness, "ROUNDS", 500)
    monkeypatch.setattr(losslessness, "BROKEN_RULES", {losslessness.ALWAYS: accept_rejection})
    always = losslessness.ALWAYS
    blind(5, f"{always}, greedy", f"rejection sampling: {always}", f"this bundle's logits: {always}")


def test_drafters_that_are_the_right_one(blind, monkeypatch):
    monkeypatch.setattr(acceptance, "WrongHead", lambda drafter: drafter)
    monkeypatch.setattr(acceptance, "OtherModel", lambda drafter: drafter)
    blind(6, "drafter with another head", "drafter of another model")


def test_an_engine_that_could_not_be_told_from_another(blind, monkeypatch):
    monkeypatch.setattr(engine, "WrongHead", lambda drafter: drafter)
    blind(7, "the rate of a drafter with another head")


def test_a_text_that_is_like_every_other(blind, monkeypatch):
    monkeypatch.setattr(engine, "first_parting", lambda writer, reply, text: None)
    blind(7, "the engine's text of another prompt")
