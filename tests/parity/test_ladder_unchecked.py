"""What could not be checked is said as such, with how to change it, and gives exit code 4; a failure outweighs it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import edge_mtp.parity
from edge_mtp import names
from edge_mtp.bundle.contents import read_contents
from edge_mtp.bundle.tokenizer import read_tokenizer
from edge_mtp.bundle.writer import BundlePlan
from edge_mtp.convert import pipeline
from edge_mtp.errors import EngineError, ResourceError
from edge_mtp.graphs.spec import Lengths
from edge_mtp.parity.report import Report
from edge_mtp.parity.results import Verdict
from edge_mtp.parity.rungs import conversion, engine
from edge_mtp.parity.workbench import Workbench
from edge_mtp.runner.calls import GraphTarget
from edge_mtp.runner.protocols import Scores
from tests.bundle.conftest import publish
from tests.export.command import environment
from tests.parity.ladder_runs import climb_rungs, run_parity, the_rung


def verdicts(report: Report) -> dict[int, Verdict]:
    return {rung.number: rung.verdict for rung in report.rungs}


def unchecked(report: Report, number: int, *words: str) -> None:
    found = the_rung(report, number)
    assert found.verdict is Verdict.COULD_NOT_CHECK, found
    assert not found.figures
    for word in words:
        assert word in found.reason, found.reason


@pytest.fixture
def without_transformers(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "edge_mtp.parity.transformers_pair", raising=False)
    monkeypatch.delattr(edge_mtp.parity, "transformers_pair", raising=False)


def test_without_transformers(request_, without_transformers):
    report = climb_rungs(request_, 0, 1, 3, 4)
    assert (report.exit_code, report.outcome, report.first_failed) == (4, Verdict.COULD_NOT_CHECK, None)
    for number in (1, 3):
        unchecked(report, number, "run by transformers, which cannot be imported", "pip install 'edge-mtp[oracle]'")
    assert verdicts(report)[0] == verdicts(report)[4] == Verdict.HELD


def test_without_torch(request_, tmp_path):
    """In a process of its own, since torch cannot be taken out of one that has it. Rungs 0 and 4 need none."""
    script = "import sys; sys.modules['torch'] = None; from edge_mtp.cli import main; main()"
    options = ["--target", request_.target, "--drafter", request_.drafter, "--prompts", request_.prompts[0]]
    options += ["--output", tmp_path, "--rungs", "0,1,2,3,4,6", "--max-tokens", 8]
    command = [sys.executable, "-c", script, "parity", request_.bundle, *options]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, timeout=120, env=environment()
    )
    assert done.returncode == 4, done.stderr
    assert done.stderr.count("this rung needs torch, which is not installed; pip install") == 3
    assert done.stderr.count("HELD") == 2


def test_too_little_memory(request_, monkeypatch):
    for module in ("oracle", "float_graphs"):
        monkeypatch.setattr(f"edge_mtp.parity.{module}.available_memory_bytes", lambda: 100 << 20)
    report = climb_rungs(request_, 0, 1, 2, 3, 6)
    assert report.exit_code == 4 and verdicts(report)[0] == Verdict.HELD
    for number in (1, 3):
        unchecked(report, number, "the checkpoint in float32 needs about", "0.1 GB are free; close other programs")
    for number in (2, 6):
        unchecked(report, number, "our graphs in float32 need about", "0.1 GB are free; close other programs")


def test_too_little_disk(request_, monkeypatch):
    """What `convert.preflight` raises where the float bundle has no room."""

    def full(prepared, reporter) -> None:
        raise ResourceError("/tmp has 0.0 GB free, this export needs about 0.1 GB there; free some space")

    assert conversion.build is pipeline.build
    monkeypatch.setattr(conversion, "prepare", lambda request: None)
    monkeypatch.setattr(conversion, "build", full)
    report = climb_rungs(request_, 2)
    assert report.exit_code == 4
    unchecked(report, 2, "no float32 bundle can be made here: /tmp has 0.0 GB free", "free some space")


def test_an_engine_that_cannot_run(request_, monkeypatch):
    def run_engine(*given) -> None:
        raise EngineError("LiteRT-LM could not run tiny.litertlm (exit status -11)")

    monkeypatch.setattr(engine, "run_engine", run_engine)
    report = climb_rungs(request_, 7)
    assert report.exit_code == 4
    unchecked(report, 7, "(exit status -11)")


def test_a_second_turn_that_cannot_be_run_says_nothing_of_the_bundle(request_, monkeypatch):
    right = engine.run_engine

    def run_engine(bundle, prompts, options):
        if options.chat:
            raise EngineError("LiteRT-LM could not run it")
        return right(bundle, prompts, options)

    monkeypatch.setattr(engine, "run_engine", run_engine)
    report = climb_rungs(request_, 7)
    assert report.exit_code == 0 and report.engine is not None
    assert "second turn, MTP on: not told. LiteRT-LM could not run it" in report.engine.notes


def test_a_failure_outweighs_what_could_not_be_checked(request_, without_transformers, monkeypatch, tmp_path):
    right = GraphTarget.verify
    monkeypatch.setattr(
        GraphTarget, "verify", lambda self, tokens: Scores(right(self, tokens).logits + 9.0, right(self, tokens).hidden)
    )
    found = run_parity(request_, tmp_path, "--rungs", "0,1,4")
    assert found.code == 3 and found.report["outcome"] == "failed"
    assert [rung["verdict"] for rung in found.report["rungs"]] == ["held", "could not check", "failed"]
    assert "at fault: the verify graph, if the rungs below it hold (1, 2, 3 not checked)" in found.printed


def test_a_bundle_without_drafter(request_, tmp_path):
    bundle = _without_drafter(request_.bundle, request_.target, tmp_path)
    report = climb_rungs(replace(request_, bundle=bundle), 0, 3, 4, 5, 6, 7)
    assert report.exit_code == 4 and report.bundle.recipe is None
    assert verdicts(report)[0] == verdicts(report)[4] == Verdict.HELD
    for number in (3, 5, 6, 7):
        unchecked(report, number, "the bundle has no drafter that its target can verify; edge-mtp inspect says why")
    assert (report.acceptance, report.advice, report.cost) == ((), (), None)


def _without_drafter(bundle: Path, checkpoint: Path, folder: Path) -> Path:
    contents = read_contents(bundle)
    assert contents.llm_metadata is not None
    models = {}
    for name in set(contents.models) - {names.DRAFTER}:
        models[name] = folder / f"{name}.tflite"
        models[name].write_bytes(contents.bundle.section_bytes(name))
    tokenizer = read_tokenizer(checkpoint, len(contents.tokens))
    plan = BundlePlan(models, tokenizer, contents.llm_metadata, contents.executor_metadata)
    return publish(plan, folder / "target.litertlm")


def test_a_target_that_cannot_verify(request_, tmp_path):
    """Its signature is there under another name, which is to say that it is not there."""
    bundle = tmp_path / "plain.litertlm"
    bundle.write_bytes(request_.bundle.read_bytes().replace(b"verify", b"verity"))
    report = climb_rungs(replace(request_, bundle=bundle), 0, 1, 4, 5)
    assert report.exit_code == 4
    unchecked(report, 1, "the bundle has no target with `verify`; export it with edge-mtp")
    for number in (4, 5):
        unchecked(report, number, "the bundle's target has no `verify`; export it with edge-mtp")


def test_a_context_that_ends_before_the_window(request_, monkeypatch):
    monkeypatch.setattr(Workbench, "lengths", Lengths(64, (32,), 3))
    report = climb_rungs(request_, 1)
    assert report.exit_code == 4
    unchecked(report, 1, "context of 64 tokens does not reach beyond the window of 64 and a tail of 48")


def test_a_reply_too_short_to_draft(request_):
    report = climb_rungs(replace(request_, max_tokens=1), 4, 6)
    assert verdicts(report) == {4: Verdict.HELD, 6: Verdict.COULD_NOT_CHECK}
    unchecked(report, 6, "nothing was drafted: every reply ended with its first token")


def test_no_rung_at_all(request_):
    report = climb_rungs(request_)
    assert (report.exit_code, report.outcome, report.rungs) == (4, Verdict.COULD_NOT_CHECK, ())
