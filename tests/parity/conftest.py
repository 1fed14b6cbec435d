"""Fixtures of the ladder: what to check, one run of all its rungs, and bundles that some rung must refuse."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from edge_mtp.parity.rungs import losslessness
from edge_mtp.parity.workbench import Request
from tests.export.checkpoints import change_tensors, copy_pair
from tests.export.command import run_export
from tests.export.recipes import FLOAT32, INT8
from tests.parity.ladder_runs import MAX_TOKENS, ROUNDS, SUITES, Ran, run_parity, write_suite

INT2 = f"""{INT8}
[[weights]]
section = "target"
tensor = '.*'
dtype = "int2"
reason = "four values a weight are too few for this model, which rung 3 has to notice"
"""


@pytest.fixture(autouse=True, scope="session")
def few_rounds() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losslessness, "ROUNDS", ROUNDS)
        yield


@pytest.fixture(autouse=True, scope="session")
def single_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def suites(tmp_path_factory) -> tuple[Path, ...]:
    folder = tmp_path_factory.mktemp("suites")
    return tuple(write_suite(folder / f"{name}.jsonl", prompts) for name, prompts in SUITES.items())


@pytest.fixture(scope="session")
def request_(exported, tiny_pair, suites) -> Request:
    """The int8 bundle of the tiny pair against the pair it was made from."""
    return Request(exported(), tiny_pair.target, tiny_pair.drafter, suites, max_tokens=MAX_TOKENS, threads=1)


@pytest.fixture(scope="session")
def whole(request_, tmp_path_factory) -> Ran:
    """Every rung, by the command line."""
    return run_parity(request_, tmp_path_factory.mktemp("whole") / "reports")


@pytest.fixture(scope="session")
def float_bundle(exported) -> Path:
    return exported(FLOAT32)


@pytest.fixture(scope="session")
def int2_bundle(exported) -> Path:
    """Every matrix of the target in two bits."""
    return exported(INT2)


@pytest.fixture(scope="session")
def other_drafter(tiny_pair, graph_cache, request_, tmp_path_factory) -> Request:
    """A bundle made from a drafter in another state of training, and that drafter: its input rows are shuffled."""
    pair = copy_pair(tiny_pair, tmp_path_factory.mktemp("other") / "pair")

    def shuffle(tensors) -> None:
        dtype, values = tensors["pre_projection.weight"]
        tensors["pre_projection.weight"] = dtype, values[::-1].copy()

    change_tensors(pair.drafter, shuffle)
    bundle = pair.target.parent / "other.litertlm"
    done = run_export(pair, bundle)
    assert done.returncode == 0, done.stdout
    return Request(bundle, pair.target, pair.drafter, request_.prompts, max_tokens=MAX_TOKENS, threads=1)
