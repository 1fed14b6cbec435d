"""A conversation that goes back: ring caches have forgotten what lies further back than they are long."""

from collections.abc import Iterator

import numpy as np
import pytest

from edge_mtp.bundle.reader import Bundle
from edge_mtp.runner.calls import GraphTarget
from edge_mtp.runner.litert import open_pair
from edge_mtp.runner.protocols import Floats

PROMPT = [3 + index % 40 for index in range(150)]
REPLY = [50 + index % 30 for index in range(300)]
RING, LONGEST = 192, 128


@pytest.fixture(scope="module")
def target(opened: Bundle) -> Iterator[GraphTarget]:
    with open_pair(opened, 1) as pair:
        rows = {name: max(array.shape[2:]) for name, array in pair.target.caches.items()}
        assert min(rows.values()) == RING < max(rows.values()), "without rings this proves nothing"
        yield pair.target


def after(target: GraphTarget, tokens: list[int]) -> Floats:
    target.rewind(0)
    target.prefill(tokens)
    return target.decode(7).logits.copy()


def gone_back(target: GraphTarget, reply: int) -> Floats:
    """The prompt, `reply` tokens of a reply, back to the prompt's end, one token."""
    target.rewind(0)
    target.prefill(PROMPT)
    for token in REPLY[:reply]:
        target.decode(token)
    target.rewind(len(PROMPT))
    return target.decode(7).logits.copy()


@pytest.mark.parametrize("reply", [1, 40, LONGEST - 1, LONGEST, LONGEST + 1, RING, 300])
def test_going_back_is_as_if_the_reply_had_never_been(target: GraphTarget, reply: int) -> None:
    expected = after(target, PROMPT)
    assert np.array_equal(gone_back(target, reply), expected)


def test_the_prompt_is_read_again_once(target: GraphTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    gone_back(target, 300)
    reads: list[int] = []
    monkeypatch.setattr(GraphTarget, "prefill", lambda target, tokens: reads.append(len(tokens)))
    target.rewind(len(PROMPT))
    assert reads == [], "one token further on nothing is lost"


def test_without_reading_the_prompt_again_it_would_be_wrong(
    target: GraphTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = after(target, PROMPT)
    monkeypatch.setattr(GraphTarget, "_is_lost", lambda target, position: False)
    assert not np.allclose(gone_back(target, 300), expected, atol=1e-3)
