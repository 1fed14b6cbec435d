"""A walk goes through every signature with the right rows, and two walks compare number by number."""

import numpy as np
import pytest

from edge_mtp.parity.walk import (
    DECODED,
    VERIFIED_BLOCKS,
    Walk,
    compare,
    long_text,
    tail_length,
    walk,
)
from tests.runner.fakes import FakeDrafter, FakeModel, FakeTarget

STEPS = 3
TAIL = tail_length(STEPS)
START = 9
TEXT = tuple(int(token) for token in np.random.default_rng(7).integers(0, 16, START + TAIL))
TOLERANCE = 1e-3


class LoggedTarget(FakeTarget):
    """Notes its calls, and starts with rows of an earlier conversation."""

    def __init__(self, model: FakeModel) -> None:
        super().__init__(model, context_tokens=len(TEXT), max_draft_steps=STEPS)
        self.calls: list[tuple[str, int]] = []
        self.prefill([1, 2, 3])
        self.calls.clear()

    def prefill(self, tokens):
        self.calls.append(("prefill", len(tokens)))
        super().prefill(tokens)

    def decode(self, token):
        self.calls.append(("decode", 1))
        return super().decode(token)

    def verify(self, tokens):
        self.calls.append(("verify", len(tokens)))
        return super().verify(tokens)


@pytest.fixture(scope="module")
def model() -> FakeModel:
    return FakeModel()


@pytest.fixture(scope="module")
def walked(model) -> Walk:
    target = FakeTarget(model, len(TEXT), STEPS)
    return walk(target, FakeDrafter(target), TEXT, STEPS)


def test_every_signature_is_walked(model):
    target = LoggedTarget(model)
    walk(target, FakeDrafter(target), TEXT, STEPS)
    assert target.calls[0] == ("prefill", START)
    assert target.calls[1:] == [("decode", 1)] * DECODED + [("verify", STEPS + 1)] * VERIFIED_BLOCKS
    assert target.position == len(TEXT) == START + DECODED + VERIFIED_BLOCKS * (STEPS + 1)


def test_rows_are_those_of_the_text(model, walked):
    """The strict fakes refuse a hidden state, a row or a position that does not fit the text."""
    beginnings = [TEXT[: START + index + 1] for index in range(TAIL)]
    assert np.array_equal(walked.logits, np.stack([model.logits(beginning) for beginning in beginnings]))
    assert np.array_equal(walked.hidden, np.stack([model.hidden(beginning) for beginning in beginnings]))
    assert walked.draft_logits.shape == (VERIFIED_BLOCKS * STEPS, model.vocab_size)


def test_drafts_are_fed_the_texts_own_tokens(model, walked):
    first = START + DECODED
    expected = [
        model.hidden(TEXT[: block + step + 1]) for block in range(first, len(TEXT), STEPS + 1) for step in range(STEPS)
    ]
    assert np.array_equal(walked.draft_hidden, np.stack(expected))


def test_two_walks_of_one_pair_are_equal(model, walked):
    target = LoggedTarget(model)
    again = compare(walk(target, FakeDrafter(target), TEXT, STEPS), walked, TOLERANCE)
    assert again.holds and again.share == 0.0
    assert [figure.value for figure in again.figures(TOLERANCE)] == [0.0] * 4


@pytest.mark.parametrize("part", ["logits", "hidden", "draft_logits", "draft_hidden"])
@pytest.mark.parametrize("by", [0.1, np.nan], ids=["more", "nan"])
def test_a_difference_anywhere_is_seen(walked, part, by):
    values = {name: values.copy() for name, values in vars(walked).items()}
    span = float(np.ptp(values[part]))
    values[part][-1, 0] += by * span
    found = compare(Walk(**values), walked, TOLERANCE)
    held = [figure.held for figure in found.figures(TOLERANCE)]
    assert not found.holds and held.count(False) == 1
    assert held.index(False) == list(vars(walked)).index(part)
    assert not by <= 1.0 or found.share == pytest.approx(by, rel=1e-5)


def test_a_difference_within_tolerance_holds(walked):
    values = {name: values.copy() for name, values in vars(walked).items()}
    values["logits"] += 0.5 * TOLERANCE * np.ptp(values["logits"])
    found = compare(Walk(**values), walked, TOLERANCE)
    assert found.holds and found.share == pytest.approx(0.5 * TOLERANCE, rel=1e-3)


def test_another_target_is_told_apart(walked):
    target = FakeTarget(FakeModel(seed=1), len(TEXT), STEPS)
    assert not compare(walk(target, FakeDrafter(target), TEXT, STEPS), walked, TOLERANCE).holds


@pytest.mark.parametrize(
    ("least", "most", "expected"),
    [(3, 9, (1, 2, 3)), (7, 9, (1, 2, 3, 4, 1, 2, 3)), (7, 5, (1, 2, 3, 4, 1)), (4, 4, (1, 2, 3, 4))],
)
def test_long_text(least, most, expected):
    assert long_text([(1, 2), (3, 4)], least, most) == expected
