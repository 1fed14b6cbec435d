"""Fixtures of the tests that refuse inputs: a pair to spoil, and the check that a refusal touched nothing."""

from collections.abc import Callable

import pytest

from tests.export.checkpoints import copy_pair
from tests.export.refusal import check_refused, invoke
from tests.export.tree import contents
from tests.scale.checkpoint import PairPaths


@pytest.fixture
def pair(tiny_pair, tmp_path) -> PairPaths:
    """A copy of the tiny pair to spoil."""
    return copy_pair(tiny_pair, tmp_path / "pair")


@pytest.fixture
def refused(tmp_path) -> Callable[..., None]:
    """Exports to `tmp_path`, expects a refusal that says `words`, and that nothing was touched."""

    def export(pair: PairPaths, *words: object, options: tuple[object, ...] = (), code: int = 1) -> None:
        output = tmp_path / "out.litertlm"
        output.write_bytes(b"older")
        before = contents(tmp_path)
        command = ("export", pair.target, pair.drafter, "--output", output, "--overwrite", *options)
        check_refused(invoke(*command), *words, code=code)
        assert contents(tmp_path) == before

    return export


@pytest.fixture
def recipe(tmp_path) -> Callable[[str], tuple[object, ...]]:
    """The options that give a recipe's text."""

    def write(text: str) -> tuple[object, ...]:
        path = tmp_path / "recipe.toml"
        path.write_text(text)
        return "--recipe", path

    return write
