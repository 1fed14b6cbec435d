import pytest
import torch

from tests.random_pair import SHAPES
from tests.reference import Pair, make_pair


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Matrices this small are slower on more, much slower where others use the machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    directory = tmp_path_factory.mktemp("pairs")
    return {name: make_pair(shape, directory / name) for name, shape in SHAPES.items()}


@pytest.fixture(params=SHAPES)
def pair(pairs: dict[str, Pair], request: pytest.FixtureRequest) -> Pair:
    """Each shape in turn."""
    return pairs[request.param]


@pytest.fixture
def e2b(pairs: dict[str, Pair]) -> Pair:
    """The shape that controls are tried on: it has everything, donors and a window included."""
    return pairs["e2b-like"]
