"""The oracle's cache: what verify, keep and rewind leave behind, and which rows the drafter sees."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from transformers import DynamicCache

from edge_mtp.parity.oracle import Oracle, OracleDrafter, OracleTarget, load_oracle
from edge_mtp.parity.transformers_pair import TransformersPair
from edge_mtp.runner.protocols import DraftScores, Floats
from tests.conftest import TINY
from tests.parity.spoilt_oracle import KeepsRejected, ShowsRejectedRow, close
from tests.reference import TOLERANCE, deviation

WINDOW = 64


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return load_oracle(TINY / "target", TINY / "drafter", threads=1)


@pytest.fixture(scope="module")
def prompt() -> list[int]:
    """Random tokens, several windows of them."""
    return np.random.default_rng(3).integers(3, 2048, 5 * WINDOW + 7).tolist()


def after_a_rejection(target: OracleTarget, prompt: Sequence[int]) -> tuple[list[int], Floats, list[DraftScores]]:
    """Keeps two of four verified rows -> the accepted text, logits of what comes then, the next round's drafts."""
    target.prefill(prompt)
    first = target.verify([11, 12, 13, 14])
    target.keep(2)
    drafts = [OracleDrafter(target).draft(15, first.hidden[1], len(prompt) + 2)]
    rest = target.verify([15, 16, 17])
    return [*prompt, 11, 12, 15, 16, 17], rest.logits, drafts


@pytest.mark.parametrize(("kind", "same"), [(OracleTarget, True), (KeepsRejected, False)])
def test_rows_taken_back_leave_no_trace(oracle, prompt, kind: type[OracleTarget], same: bool) -> None:
    """Several windows on, the cache after a rejection is worth a fresh forward over the accepted tokens."""
    tokens, logits, _ = after_a_rejection(kind(oracle), prompt)
    assert deviation(logits, oracle.score(tokens).logits[-3:]).holds is same


@pytest.mark.parametrize(("kind", "same"), [(OracleTarget, True), (ShowsRejectedRow, False)])
def test_drafter_sees_accepted_rows_only(oracle, prompt, kind: type[OracleTarget], same: bool) -> None:
    fresh = OracleTarget(oracle)
    fresh.prefill([*prompt, 11])
    hidden = fresh.decode(12).hidden[0]
    expected = [OracleDrafter(fresh).draft(15, hidden, fresh.position)]
    assert close(after_a_rejection(kind(oracle), prompt)[2], expected) is same


def test_a_cache_of_windows_could_not_be_taken_back(oracle, prompt) -> None:
    class Windowed(TransformersPair):
        def new_cache(self) -> DynamicCache:
            return DynamicCache(config=self.target.config)

    windowed = Oracle(Windowed(oracle.pair.target, oracle.pair.drafter))
    with pytest.raises(RuntimeError, match="does not track past states"):
        after_a_rejection(OracleTarget(windowed), prompt)


def test_rewind_forgets(oracle, prompt) -> None:
    target = OracleTarget(oracle)
    target.prefill(prompt)
    target.rewind(2 * WINDOW)
    found = target.decode(7).logits[0]
    assert target.position == 2 * WINDOW + 1
    assert deviation(found, oracle.score([*prompt[: 2 * WINDOW], 7]).logits[-1]).holds
    assert not deviation(found, oracle.score([*prompt, 7]).logits[-1]).holds


@pytest.mark.parametrize(
    "misuse",
    [
        lambda target: target.keep(3),
        lambda target: target.rewind(9),
        lambda target: target.donors(9),
        lambda target: target.donors(0),
    ],
)
def test_rows_that_do_not_exist_are_refused(oracle, misuse: Callable[[OracleTarget], object]) -> None:
    target = OracleTarget(oracle)
    target.prefill([2, 3, 4, 5, 6, 7, 8, 9])
    target.verify([10, 11])
    with pytest.raises(ValueError, match="asked for"):
        misuse(target)
    assert target.position == 8


def test_scoring_leaves_the_conversation_alone(oracle, prompt) -> None:
    target = OracleTarget(oracle)
    target.prefill(prompt[:-1])
    whole = oracle.score(prompt)
    assert target.position == len(prompt) - 1
    step = target.decode(prompt[-1])
    assert whole.logits.shape == (len(prompt), 2048) and whole.hidden.shape == (len(prompt), 128)
    assert deviation(step.logits[0], whole.logits[-1]).holds
    assert deviation(step.hidden[0], whole.hidden[-1]).share < TOLERANCE
    assert not deviation(step.logits[0], whole.logits[-2]).holds
