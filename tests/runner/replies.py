"""Replies of the made-up pair, when two of them are the same, and targets that keep their rows wrongly."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from edge_mtp.runner.drafting import FixedDraft
from edge_mtp.runner.generate import Limits, Round, Speculation
from edge_mtp.runner.protocols import Scores
from edge_mtp.runner.sampling import Sampler
from tests.runner.fakes import FakeModel, FakeTarget, margins_of, run_plain, run_speculative, tokens_of

MODEL = FakeModel()
PROMPT = (3, 1, 4, 1, 5)
LIMITS = Limits(max_tokens=20)
MATCH = Speculation(FixedDraft(3))
SAMPLERS = {
    "greedy": Sampler(),
    "cool": Sampler(0.7, seed=1),
    "warm": Sampler(1.0, seed=2),
    "hot": Sampler(1.5, seed=3),
    "top-k": Sampler(1.0, top_k=5, seed=4),
    "top-p": Sampler(1.0, top_p=0.8, seed=5),
    "both": Sampler(0.7, top_k=8, top_p=0.9, seed=6),
}


def plain_reply(sampler: Sampler, limits: Limits = LIMITS, context_tokens: int = 64) -> list[Round]:
    return run_plain(FakeTarget(MODEL, context_tokens), PROMPT, sampler, limits)


def speculative_reply(
    sampler: Sampler,
    how: Speculation = MATCH,
    limits: Limits = LIMITS,
    skill: float = 0.8,
    target: FakeTarget | None = None,
    strict: bool = True,
) -> list[Round]:
    return run_speculative(target or FakeTarget(MODEL), PROMPT, sampler, limits, how, skill, strict)


def assert_same_reply(rounds: Sequence[Round], expected: Sequence[Round]) -> None:
    """Tokens, how firm each was, why it ended; and each round starts where the one before ended."""
    assert tokens_of(rounds) == tokens_of(expected)
    assert margins_of(rounds) == margins_of(expected)
    assert [current.finish for current in rounds[:-1]] == [None] * (len(rounds) - 1)
    assert rounds[-1].finish == expected[-1].finish
    assert rounds[0].position == expected[0].position
    for before, after in pairwise(rounds):
        assert after.position == before.position + len(before.tokens)


def without_times(rounds: Sequence[Round]) -> list[Round]:
    return [replace(current, draft_s=0.0, target_s=0.0) for current in rounds]


def accepted_of(rounds: Sequence[Round]) -> int:
    return sum(current.accepted for current in rounds)


def drafted_of(rounds: Sequence[Round]) -> int:
    return sum(len(current.drafts) for current in rounds)


class KeepsTooMany(FakeTarget):
    """Keeps a row more than it is told, where there is one."""

    def keep(self, rows: int) -> None:
        super().keep(min(rows + 1, self._verified))


class KeepsTooManyAtTheEnd(FakeTarget):
    """Keeps all rows of a round, also those behind a stop token."""

    def keep(self, rows: int) -> None:
        super().keep(self._verified)


class KeepsTooFew(FakeTarget):
    def keep(self, rows: int) -> None:
        super().keep(max(rows - 1, 1))


class VerifiesOneSlotOn(FakeTarget):
    def verify(self, tokens: Sequence[int]) -> Scores:
        self.position += 1
        scores = super().verify(tokens)
        self.position -= 1
        return scores


class GivesTheFirstHidden(FakeTarget):
    """The hidden state of the round's first row in every row."""

    def verify(self, tokens: Sequence[int]) -> Scores:
        scores = super().verify(tokens)
        scores.hidden[:] = scores.hidden[0].copy()
        return scores
