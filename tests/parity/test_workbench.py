"""What the workbench reads off the bundle and its manifest."""

from contextlib import closing
from dataclasses import replace

import pytest

from edge_mtp.parity.rungs import graphs
from edge_mtp.parity.workbench import Request, Workbench, spread
from tests.parity.ladder_runs import climb_rungs, silent


@pytest.fixture
def bench(request_: Request):
    with closing(Workbench(request_, silent)) as opened:
        yield opened


def with_recipe(bench: Workbench, text: str) -> None:
    assert bench.manifest is not None
    bench.manifest = replace(bench.manifest, recipe=replace(bench.manifest.recipe, text=text))


@pytest.mark.parametrize(
    ("recipe", "position"),
    [
        ('[drafter]\nposition = "runtime"', "runtime"),
        ("[drafter]\nposition='runtime'  # spelt otherwise", "runtime"),
        ('[drafter]\nposition = "transformers"  # not position = "runtime"', "transformers"),
        ('name = "position = \\"runtime\\""', "transformers"),
    ],
)
def test_the_position_that_the_recipe_asks_for(bench, recipe, position):
    with_recipe(bench, recipe)
    assert bench.position == position


def test_without_a_manifest_the_position_is_transformers(bench):
    bench.manifest = None
    assert bench.position == "transformers"


def test_a_bundle_that_leaves_the_position_to_the_runtime(request_, monkeypatch):
    """transformers is asked with that position then; asked with its own, it says otherwise."""
    monkeypatch.setattr(Workbench, "position", "runtime")
    assert climb_rungs(request_, 1).exit_code == 0
    monkeypatch.setattr(graphs, "RuntimeDrafter", graphs.OracleDrafter)
    assert climb_rungs(request_, 1).exit_code == 3


def test_lengths_and_head_are_the_bundles(bench):
    assert (bench.lengths.context, bench.lengths.prefill, bench.lengths.draft_steps) == (1024, (32, 128), 3)
    assert bench.head == "dense"


def test_torch_gets_one_thread_for_a_small_checkpoint(bench, monkeypatch):
    assert replace(bench.request, threads=4).threads == 4 and bench.torch_threads == 1
    monkeypatch.setattr("edge_mtp.parity.workbench.SMALL_CHECKPOINT_BYTES", 0)
    with closing(Workbench(replace(bench.request, threads=4), silent)) as large:
        assert large.torch_threads == 4


def test_a_system_message_goes_to_the_template(bench):
    hello, brief = (bench.text.decode(task.tokens) for task in bench.tasks[2:])
    assert "Be brief." in brief and "Be brief." not in hello


def test_progress_is_told_from_none_to_all(request_):
    told = []
    with closing(Workbench(request_, lambda *given: told.append(given))) as bench:
        assert list(bench.counted("letters", iter("ab"))) == ["a", "b"]
    assert told == [("letters", 0, 2), ("letters", 1, 2), ("letters", 2, 2)]


@pytest.mark.parametrize(
    ("count", "expected"), [(9, (0, 1, 2, 3, 4, 5)), (6, (0, 1, 2, 3, 4, 5)), (3, (0, 2, 4)), (1, (0,))]
)
def test_spread(count, expected):
    assert spread(tuple(range(6)), count) == expected
