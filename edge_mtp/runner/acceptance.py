"""Which drafts of a round are kept. Pure functions of probabilities and given uniform numbers.

Match: a draft is kept while it is the very token that the target chooses there. With choices keyed by position
the output is that of plain decoding, token by token, at any temperature.
Rejection: Leviathan, Kalman, Matias, "Fast Inference from Transformers via Speculative Decoding" (2022,
https://arxiv.org/abs/2211.17192), algorithm 1: the output has plain decoding's distribution, and more drafts are kept.
Greedy decoding is the case of one-hot probabilities, where both agree.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edge_mtp.runner.sampling import Probabilities, draw


@dataclass(frozen=True)
class Accepted:
    """`count` drafts are kept, and `token` follows them: the correction of the next draft, or the bonus token."""

    count: int
    token: int


RejectionRule = Callable[[Probabilities, Probabilities, Sequence[int], Sequence[float], Sequence[float]], Accepted]
"""The signature of `accept_rejection`."""


def accept_match(drafts: Sequence[int], chosen: Sequence[int]) -> Accepted:
    """drafts [n], chosen [n + 1]: the target's own tokens at the drafts' slots and behind them."""
    count = 0
    while count < len(drafts) and drafts[count] == chosen[count]:
        count += 1
    return Accepted(count, chosen[count])


def accept_rejection(
    draft_probs: Probabilities,
    target_probs: Probabilities,
    drafts: Sequence[int],
    accept_uniforms: Sequence[float],
    choice_uniforms: Sequence[float],
) -> Accepted:
    """draft_probs [n, vocab], target_probs [n + 1, vocab], drafts [n], uniforms in (0, 1) [n] and [n + 1].

    Draft i is kept with probability min(1, target / draft); the first that is not is replaced by a draw from
    the excess of target over draft, and where all are kept the bonus token is drawn from the last target row.
    """
    for index, token in enumerate(drafts):
        if accept_uniforms[index] * draft_probs[index, token] >= target_probs[index, token]:
            excess = np.maximum(target_probs[index] - draft_probs[index], 0.0)
            # Without an excess the two differ by rounding only.
            return Accepted(index, draw(excess if excess.any() else target_probs[index], choice_uniforms[index]))
    last = len(drafts)
    return Accepted(last, draw(target_probs[last], choice_uniforms[last]))
