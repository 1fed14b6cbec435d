"""The GPU backend says what the CPU says, drafts as well, and takes every graph whole."""

from pathlib import Path

import pytest

from tests.gpu.driver import find_driver
from tests.gpu.measure import Arm, line, make_prompts, measure

ENVIRONMENT, DRIVER = find_driver()
pytestmark = pytest.mark.skipif(not ENVIRONMENT, reason=DRIVER)

COUNT = 4
TOKENS = 32


@pytest.fixture(scope="module")
def bundle(exported) -> Path:
    recipe = (Path(__file__).parent.parent.parent / "export" / "tiny.toml").read_text()
    return exported(recipe.replace('dtype = "int8"', 'dtype = "float32"'))


def run(bundle: Path, speculative: bool) -> Arm:
    return measure(bundle, make_prompts(COUNT), TOKENS, speculative)


def test_texts_and_drafts_are_the_cpus(bundle, driver, capsys):
    """Equal text alone would not prove the drafter: one that reads the wrong cache only drafts worse."""
    off, on = run(bundle, False), run(bundle, True)
    with capsys.disabled():
        print(f"\n{line(off)}\n{line(on)}")
    assert (off.equal, on.equal) == (COUNT, COUNT)
    assert off.whole and on.whole
    assert off.rate_gpu is None and on.rate_gpu == pytest.approx(on.rate_cpu, abs=0.01)
    assert len(on.graphs) > len(off.graphs), "the drafter's graph is one more"


def test_a_graph_that_is_not_taken_whole_is_told_apart():
    arm = Arm("x", False, 1, 1, (), 0, 0, 0, None, None, ((450, 450), (317, 454)), 1.0, 1.0)
    assert not arm.whole and "NOT WHOLE" in line(arm)
    assert Arm("x", False, 1, 1, (), 0, 0, 0, None, None, (), 1.0, 1.0).whole is False
