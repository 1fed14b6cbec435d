"""Whether rejection sampling keeps plain decoding's distribution: counted over many short replies of a made-up pair.

The rule is Leviathan et al. (2022, https://arxiv.org/abs/2211.17192, theorem 1: the output's distribution is the
target's, whatever the drafter). The replies run through `generate.speculative` itself. `BROKEN_RULES` are
mistakes that the same test has to reject.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge_mtp.intervals import ChiSquare, chi_square
from edge_mtp.runner.acceptance import Accepted, RejectionRule
from edge_mtp.runner.generate import Limits, Speculation, speculative
from edge_mtp.runner.protocols import DraftScores, Floats, Scores
from edge_mtp.runner.sampling import Probabilities, Sampler, draw, probabilities
from edge_mtp.runner.uniforms import splitmix64

VOCAB_SIZE: Final = 5
COUNTED_TOKENS: Final = 3
"""Tokens of a reply whose joint distribution is tested: the first, which is decoded plainly, and two that are not."""

HELD_P: Final = 1e-3
"""The rule holds where p is at least this; a right one is refused once in a thousand seeds."""

REJECTED_P: Final = 1e-6
"""A broken rule has to fall below this."""

_SAMPLER: Final = Sampler(temperature=1.0)
_START: Final = 0


def distribution_check(
    rounds: int,
    seed: int,
    how: Speculation,
    accept: RejectionRule | None = None,
    sampler: Sampler = _SAMPLER,
) -> ChiSquare:
    """`rounds` replies, each with a first speculative round of all drafts, against the target's own distribution.

    `accept` replaces `how.rejection` where given; `sampler` gives temperature, top-k and top-p, its seed is not used.
    Enough rounds are 20,000: some 160 a cell.
    """
    how = how if accept is None else replace(how, rejection=accept)
    target_logits, draft_logits = made_up_logits(seed)
    counts = np.zeros((VOCAB_SIZE,) * COUNTED_TOKENS)
    for run in range(rounds):
        keyed = replace(sampler, seed=splitmix64(seed) + run)
        counts[_reply(target_logits, draft_logits, keyed, how)] += 1
    return chi_square(counts, _expected(target_logits, sampler))


def made_up_logits(seed: int) -> tuple[Floats, Floats]:
    """Logits of the token after each [vocab, vocab], for a target and a drafter that is right about as often as not."""
    generator = np.random.default_rng(seed)
    target = generator.normal(0.0, 1.0, (VOCAB_SIZE, VOCAB_SIZE))
    draft = target + generator.normal(0.0, 1.0, target.shape)
    return target.astype(np.float32), draft.astype(np.float32)


class TableTarget:
    """A target whose next token depends on the last one only: logits [vocab, vocab]."""

    def __init__(self, logits: Floats, max_draft_steps: int, context_tokens: int) -> None:
        self.logits = logits
        self.max_draft_steps = max_draft_steps
        self.context_tokens = context_tokens
        self.position = 0

    def prefill(self, tokens: Sequence[int]) -> None:
        """Only counts."""
        self.position += len(tokens)

    def decode(self, token: int) -> Scores:
        """The row of `token`."""
        self.position += 1
        return self.verify([token])

    def verify(self, tokens: Sequence[int]) -> Scores:
        """The rows of `tokens`."""
        return Scores(self.logits[list(tokens)], np.zeros((len(tokens), 1), np.float32))

    def keep(self, rows: int) -> None:
        """Only counts."""
        self.position += rows

    def rewind(self, position: int) -> None:
        """Only counts."""
        self.position = position


class TableDrafter:
    """A drafter whose next token depends on the last one only: logits [vocab, vocab]."""

    def __init__(self, logits: Floats) -> None:
        self.logits = logits

    def draft(self, token: int, hidden: Floats, position: int) -> DraftScores:
        """The row of `token`."""
        return DraftScores(self.logits[token], hidden)


def _reply(target_logits: Floats, draft_logits: Floats, sampler: Sampler, how: Speculation) -> tuple[int, ...]:
    """The counted tokens of one reply, which has room for a whole round behind the first token."""
    allowed = how.policy.steps + COUNTED_TOKENS
    target = TableTarget(target_logits, how.policy.steps, allowed + 2)
    rounds = speculative(target, TableDrafter(draft_logits), [_START], sampler, Limits(allowed), how)
    return tuple(islice((token for current in rounds for token in current.tokens), COUNTED_TOKENS))


def _expected(target_logits: Floats, sampler: Sampler) -> NDArray[np.float64]:
    """Probability of each sequence of counted tokens [vocab, vocab, vocab]."""
    after = np.stack([probabilities(row, sampler) for row in target_logits])
    expected: NDArray[np.float64] = after[_START][:, None, None] * after[:, :, None] * after[None, :, :]
    return expected


def _accept_always(
    draft_probs: Probabilities,
    target_probs: Probabilities,
    drafts: Sequence[int],
    accept_uniforms: Sequence[float],
    choice_uniforms: Sequence[float],
) -> Accepted:
    return Accepted(len(drafts), draw(target_probs[-1], choice_uniforms[-1]))


def _accept_wrongly(
    draft_probs: Probabilities,
    target_probs: Probabilities,
    drafts: Sequence[int],
    accept_uniforms: Sequence[float],
    choice_uniforms: Sequence[float],
    *,
    mistake: str,
) -> Accepted:
    """The right rule but for one mistake."""
    first, second = (draft_probs, target_probs[:-1]) if mistake != "swapped" else (target_probs[:-1], draft_probs)
    for index, token in enumerate(drafts):
        if accept_uniforms[index] * first[index, token] >= second[index, token]:
            excess = np.maximum(second[index] - first[index], 0.0)
            number = (accept_uniforms if mistake == "one number" else choice_uniforms)[index]
            return Accepted(index, _replacement(excess, target_probs[index], number, mistake))
    return Accepted(len(drafts), draw(target_probs[-1], choice_uniforms[-1]))


def _replacement(excess: Probabilities, target_probs: Probabilities, number: float, mistake: str) -> int:
    if mistake == "target":
        return draw(target_probs, number)
    if mistake == "not renormalised":
        return min(int(np.searchsorted(np.cumsum(excess), number, side="right")), len(excess) - 1)
    return draw(excess, number)


BROKEN_RULES: Final[Mapping[str, RejectionRule]] = {
    "every draft accepted": _accept_always,
    "replacement drawn from the target": partial(_accept_wrongly, mistake="target"),
    "excess not renormalised": partial(_accept_wrongly, mistake="not renormalised"),
    "draft and target swapped": partial(_accept_wrongly, mistake="swapped"),
    "replacement drawn by the number that rejected": partial(_accept_wrongly, mistake="one number"),
}
"""Rules that look right and change the distribution, by what is wrong with them."""
