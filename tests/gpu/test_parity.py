"""Rung 7 of the ladder on the GPU: an int8 bundle, whose activations the GPU does not round, holds by its bars."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from edge_mtp.parity.results import RungResult, Verdict
from edge_mtp.parity.rungs import engine
from edge_mtp.parity.workbench import Request
from edge_mtp.runner.engine import EngineRun
from tests.gpu.driver import find_driver
from tests.gpu.measure import make_prompts
from tests.parity.ladder_runs import climb_rungs, figure, the_rung, write_suite

ENVIRONMENT, DRIVER = find_driver()
pytestmark = pytest.mark.skipif(not ENVIRONMENT, reason=DRIVER)

COUNT = 3
TOKENS = 24


@pytest.fixture(scope="module")
def rung7(exported, tiny_pair, driver, tmp_path_factory) -> Callable[..., RungResult]:
    """Climbs rung 7; the engine runs once, MTP off and on, and what it wrote may be changed before it is judged."""
    prompts = [{"id": str(index), "prompt": prompt} for index, prompt in enumerate(make_prompts(COUNT))]
    suite = write_suite(tmp_path_factory.mktemp("suite") / "heldout.jsonl", prompts)
    request = Request(exported(), tiny_pair.target, tiny_pair.drafter, (suite,), max_tokens=TOKENS, threads=1)
    right, runs = engine.run_engine, dict[bool, EngineRun]()

    def climb(change: Callable[[EngineRun], EngineRun] = lambda done: done) -> RungResult:
        def run_engine(bundle, prompts, options):
            assert options.backend == "gpu"
            if options.speculative not in runs:
                runs[options.speculative] = right(bundle, prompts, options)
            done = runs[options.speculative]
            return change(done) if options.speculative else done

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine, "run_engine", run_engine)
            return the_rung(climb_rungs(replace(request, backend="gpu"), 7), 7)

    return climb


def test_the_engine_holds_and_the_controls_are_rejected(rung7, capsys):
    found = rung7()
    with capsys.disabled():
        print("", *(f"{one.name}: {one.value} {one.unit}" for one in found.figures), sep="\n")
    assert found.verdict is Verdict.HELD, found.reason
    assert [control.rejected for control in found.controls] == [True, True]
    assert figure(found, "choices within the tolerance") < 0.3


def test_texts_of_other_prompts_are_refused(rung7):
    failed = rung7(lambda done: replace(done, replies=(*done.replies[1:], done.replies[0])))
    assert failed.verdict is Verdict.FAILED and figure(failed, "that part elsewhere") == COUNT


def test_a_drafter_that_reads_a_wrong_cache_is_refused(rung7):
    """With the smallest loss of docs/gpu.md's omissions that left the texts equal: .288 became .103."""
    failed = rung7(lambda done: replace(done, acceptance_rate=(done.acceptance_rate or 0.0) - 0.185))
    assert failed.verdict is Verdict.FAILED and failed.reason.startswith("its distance from the runner's is ")
