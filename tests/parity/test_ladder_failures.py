"""Each rung fails where its own stage is broken, is named as the first at fault, and gives exit code 3.

Every break is made below the rung's own code: in a checkpoint, a graph, a bundle's bytes, the loop, the engine.
"""

import shutil
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import edge_mtp.graphs.drafter
import edge_mtp.graphs.target
import edge_mtp.parity.witness
from edge_mtp.bundle.manifest import manifest_path
from edge_mtp.bundle.reader import read_bundle
from edge_mtp.checkpoint.tensors import open_checkpoint
from edge_mtp.graphs.drafter import Drafter
from edge_mtp.parity.float_graphs import torch_function
from edge_mtp.parity.report import Report
from edge_mtp.parity.results import RungResult, Verdict
from edge_mtp.parity.rungs import conversion, engine, losslessness
from edge_mtp.runner import generate
from edge_mtp.runner.acceptance import Accepted
from edge_mtp.runner.calls import GraphTarget
from edge_mtp.runner.protocols import Scores
from tests.export.checkpoints import TEXT, change_json, change_tensors, copy_pair
from tests.parity.ladder_runs import climb_rungs, figure, run_parity, the_rung

NORM = f"{TEXT}norm.weight"
SPOILT = 1.05


def fails(report: Report, number: int, stage: str) -> RungResult:
    """The rung, which failed, and no rung below it did."""
    failed = the_rung(report, number)
    assert failed.verdict is Verdict.FAILED, failed
    assert all(rung.verdict is Verdict.HELD for rung in report.rungs if rung.number < number), report.rungs
    assert (report.outcome, report.exit_code, report.first_failed) == (Verdict.FAILED, 3, stage)
    assert failed.stage == stage and failed.reason
    return failed


# 0: the pair.


def test_a_checkpoint_with_another_weight(request_, tiny_pair, tmp_path):
    pair = copy_pair(tiny_pair, tmp_path)

    def change(tensors) -> None:
        tensors[NORM][1][0] += 1  # the last bit of one bfloat16

    change_tensors(pair.target, change)
    found = run_parity(replace(request_, target=pair.target), tmp_path / "reports", "--rungs", "0")
    assert found.code == 3 and "at fault: the choice of checkpoints\n" in found.printed
    assert figure(found.rung(0), "weight files other") == 1
    assert f"whose weights are not those in {pair.target}" in found.rung(0)["reason"]


def test_a_drafter_for_another_target(request_, tiny_pair, tmp_path):
    pair = copy_pair(tiny_pair, tmp_path)
    change_json(pair.drafter / "config.json", "backbone_hidden_size", 96)
    failed = fails(climb_rungs(replace(request_, drafter=pair.drafter), 0), 0, "the choice of checkpoints")
    assert "hidden size: the drafter was made for 96, the target has 128" in failed.reason


def test_the_manifest_of_another_bundle(request_, float_bundle, tmp_path):
    bundle = tmp_path / "copy.litertlm"
    shutil.copy(request_.bundle, bundle)
    shutil.copy(manifest_path(float_bundle), manifest_path(bundle))
    failed = fails(climb_rungs(replace(request_, bundle=bundle), 0), 0, "the choice of checkpoints")
    assert "the manifest beside the bundle is that of another one" in failed.reason
    shutil.copy(manifest_path(request_.bundle), manifest_path(bundle))
    assert climb_rungs(replace(request_, bundle=bundle), 0).exit_code == 0


# 1: our graphs.


def one_further(make_view):
    """`make_view` with sliding layers that see one token more; the caches have as many rows as before."""

    def changed(call, rotation, kind, reach, rows, heads):
        return make_view(call, rotation, kind, reach + 1, rows, heads)

    return changed


def test_a_window_one_longer_in_our_drafter(request_, monkeypatch):
    monkeypatch.setattr(edge_mtp.graphs.drafter, "make_view", one_further(edge_mtp.graphs.drafter.make_view))
    failed = fails(climb_rungs(request_, 0, 1), 1, "our graphs")
    assert figure(failed, "target logits") < 5e-6 < 5e-4 < figure(failed, "drafter logits")


def test_a_position_one_further_in_our_drafter(request_, monkeypatch):
    right = Drafter.__init__

    def further(self, config, head, position, positions) -> None:
        right(self, config, head, position, positions)
        self.offset += 1

    monkeypatch.setattr(Drafter, "__init__", further)
    failed = fails(climb_rungs(request_, 1), 1, "our graphs")
    assert failed.reason.startswith("drafter logits, largest difference is ")


def test_a_window_one_longer_in_our_target(request_, monkeypatch):
    monkeypatch.setattr(edge_mtp.graphs.target, "make_view", one_further(edge_mtp.graphs.target.make_view))
    assert figure(fails(climb_rungs(request_, 1), 1, "our graphs"), "target logits") > 5e-4


# 2: conversion.


@pytest.fixture
def converted(monkeypatch, float_bundle, request_, tmp_path) -> Callable[[float], None]:
    """Lets the float export give the session's float bundle, its final norm's weights times a factor."""

    def convert(factor: float) -> None:
        weights = open_checkpoint(request_.target).read(NORM).astype("<f4")
        content = float_bundle.read_bytes()
        assert content.count(weights.tobytes()) == 1
        bundle = tmp_path / "spoilt.litertlm"
        bundle.write_bytes(content.replace(weights.tobytes(), (factor * weights).astype("<f4").tobytes()))
        built = SimpleNamespace(bundle=SimpleNamespace(path=bundle))
        monkeypatch.setattr(conversion, "prepare", lambda request: None)
        monkeypatch.setattr(conversion, "build", lambda prepared, reporter: built)

    return convert


@pytest.fixture
def witnessed(monkeypatch) -> Callable[[float], None]:
    """A second witness that costs no export: torch, its logits times a factor. The real one runs in `test_ladder`."""

    def witness(factor: float) -> None:
        def call(section, signature, directory: Path, *, threads: int = 1):
            right = torch_function(section, signature)

            def run(inputs):
                return {name: values * factor if name == "logits" else values for name, values in right(inputs).items()}

            return run

        monkeypatch.setattr(edge_mtp.parity.witness, "onnx_call", call)

    return witness


def test_conversion_holds_unspoilt(request_, converted, witnessed):
    """The control of the two tests that follow."""
    converted(1.0)
    witnessed(1.0)
    assert climb_rungs(request_, 2).exit_code == 0


def test_a_converter_that_errs(request_, converted, witnessed):
    converted(SPOILT)
    witnessed(1.0)
    failed = fails(climb_rungs(request_, 0, 2), 2, "conversion")
    assert failed.reason.endswith("onnxruntime agrees with torch: the LiteRT converter or runtime is at fault")


def test_graphs_that_every_converter_computes_otherwise(request_, converted, witnessed):
    converted(SPOILT)
    witnessed(SPOILT)
    failed = fails(climb_rungs(request_, 2), 2, "conversion")
    assert failed.reason.endswith("so does onnxruntime: our graphs depend on how an operator is computed")


# 3: quantization.


def test_two_bits_are_too_few(request_, int2_bundle, float_bundle, monkeypatch, witnessed):
    @contextmanager
    def exported_before(bench):
        yield read_bundle(float_bundle)

    monkeypatch.setattr(conversion, "_float_bundle", exported_before)
    witnessed(1.0)
    report = climb_rungs(replace(request_, bundle=int2_bundle), 0, 1, 2, 3)
    failed = fails(report, 3, "quantization")
    assert figure(failed, "KL mean") > 0.1 and figure(failed, "same best token") < 0.9
    assert "KL mean is " in failed.reason and "same best token is " in failed.reason


# 4: verify.


def test_a_verify_that_says_otherwise(request_, monkeypatch):
    right = GraphTarget.verify

    def verify(self, tokens) -> Scores:
        scores = right(self, tokens)
        return Scores(np.roll(scores.logits, 1, axis=0) if len(tokens) > 1 else scores.logits, scores.hidden)

    monkeypatch.setattr(GraphTarget, "verify", verify)
    failed = fails(climb_rungs(request_, 0, 4), 4, "the verify graph")
    assert figure(failed, "clear best tokens that differ") > 0 and figure(failed, "hidden states") == 0.0


def test_a_verify_that_says_nothing(request_, monkeypatch):
    right = GraphTarget.verify

    def verify(self, tokens) -> Scores:
        scores = right(self, tokens)
        return Scores(np.full_like(scores.logits, np.nan), scores.hidden)

    monkeypatch.setattr(GraphTarget, "verify", verify)
    assert "is nan of the range" in fails(climb_rungs(request_, 4), 4, "the verify graph").reason


# 5: acceptance.


@pytest.fixture
def fewer_rounds(monkeypatch) -> None:
    """So few show a wrong rule; the controls, which are to fall far lower, are of no account where a rung fails."""
    monkeypatch.setattr(losslessness, "ROUNDS", 500)


def test_a_rule_that_accepts_every_draft(request_, monkeypatch, fewer_rounds):
    monkeypatch.setattr(generate, "accept_match", lambda drafts, chosen: Accepted(len(drafts), chosen[-1]))
    report = climb_rungs(request_, 4, 5)
    failed = fails(report, 5, "acceptance")
    assert figure(failed, "that part elsewhere") > 0
    parted = [one for one in report.divergences if one.rung == 5]
    assert parted and not any(one.excused for one in parted)
    assert {one.arm.rpartition(", ")[2] for one in parted} == {"greedy", "sampled at 1"}


def test_a_rejection_rule_that_keeps_another_distribution(request_, monkeypatch, fewer_rounds):
    def always(draft_probs, target_probs, drafts, accepting, choosing) -> Accepted:
        return Accepted(len(drafts), int(target_probs[-1].argmax()))

    monkeypatch.setattr(losslessness, "accept_rejection", always)
    failed = fails(climb_rungs(request_, 5), 5, "acceptance")
    assert failed.reason.startswith("the same on this bundle's logits, p is ")


# 6: the drafter.


def test_a_drafter_in_another_state_of_training(other_drafter):
    failed = fails(climb_rungs(other_drafter, 0, 4, 6), 6, "the drafter")
    for suite in ("names", "talk"):
        assert figure(failed, f"draft acceptance rate, {suite}") < 0.05
        assert f"draft acceptance rate, {suite} is 0" in failed.reason
    assert abs(figure(failed, "lost to quantization")) < 0.05, "the float drafter is as bad"


# 7: the engine.


def test_an_engine_that_writes_otherwise(request_, monkeypatch):
    right = engine.run_engine

    def run_engine(bundle, prompts, options):
        done = right(bundle, prompts, options)
        first = replace(done.replies[0], chunks=("Quite another text.",))
        return replace(done, replies=(first, *done.replies[1:])) if options.speculative else done

    monkeypatch.setattr(engine, "run_engine", run_engine)
    report = climb_rungs(request_, 0, 4, 7)
    assert figure(fails(report, 7, "the engine or the metadata"), "that part elsewhere") == 1
    (parted,) = [one for one in report.divergences if one.rung == 7]
    assert (parted.arm, parted.prompt, parted.at_token) == ("runner against LiteRT-LM, MTP on", "classmethod", 0)
    assert report.engine is not None and report.engine.texts_equal == 7


def test_an_engine_that_does_not_draft(request_, monkeypatch):
    right = engine.run_engine
    monkeypatch.setattr(engine, "run_engine", lambda *given: replace(right(*given), acceptance_rate=None))
    failed = fails(climb_rungs(request_, 7), 7, "the engine or the metadata")
    assert failed.reason == "the engine was asked to draft and printed no success rate, so it did not"


def test_an_engine_that_accepts_fewer(request_, monkeypatch):
    right = engine.run_engine

    def run_engine(bundle, prompts, options):
        done = right(bundle, prompts, options)
        return replace(done, acceptance_rate=(done.acceptance_rate or 0.0) - 0.05)

    monkeypatch.setattr(engine, "run_engine", run_engine)
    failed = fails(climb_rungs(request_, 7), 7, "the engine or the metadata")
    assert failed.reason == "its distance from the runner's is 0.05, needed ≤ 0.03"
