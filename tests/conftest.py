"""Fixtures for all tests: a graph cache of the run's own, the tiny trained pair, and bundles exported from it."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_mtp.convert.stages import CACHE_VARIABLE
from tests.export.command import run_export
from tests.scale.checkpoint import PairPaths

TINY = Path(__file__).parent / "data" / "tiny"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts background jobs so, and what they start inherits it: no test of Ctrl-C could pass.
    signal.signal(signal.SIGINT, signal.default_int_handler)

Exported = Callable[..., Path]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--graph-cache",
        type=Path,
        help="Keep traced graphs in this directory from run to run. Default: each run traces its own, about a minute.",
    )


@pytest.fixture(scope="session", autouse=True)
def graph_cache(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache of graphs that this run fills and uses, instead of the user's."""
    directory = request.config.getoption("--graph-cache") or tmp_path_factory.mktemp("graph-cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(directory.resolve()))
        yield directory


@pytest.fixture(scope="session")
def tiny_pair() -> PairPaths:
    """The trained pair: every shape small, the architecture E2B's."""
    return PairPaths(TINY / "target", TINY / "drafter")


@pytest.fixture(scope="session")
def exported(graph_cache: Path, tiny_pair: PairPaths, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The text of a recipe -> the tiny pair's bundle, exported once a run by the command line.

    Without a text the command goes without --recipe. The bundle's directory holds the bundle, its manifest, and
    what the command printed as `tiny.log`.
    """
    bundles: dict[str | None, Path] = {}

    def export(recipe: str | None = None) -> Path:
        if recipe not in bundles:
            directory = tmp_path_factory.mktemp("exported")
            output, options = directory / "tiny.litertlm", []
            if recipe is not None:
                path = tmp_path_factory.mktemp("recipe") / "recipe.toml"
                path.write_text(recipe)
                options = ["--recipe", path]
            done = run_export(tiny_pair, output, *options)
            assert done.returncode == 0, done.stdout
            output.with_suffix(".log").write_text(done.stdout)
            bundles[recipe] = output
        return bundles[recipe]

    return export
