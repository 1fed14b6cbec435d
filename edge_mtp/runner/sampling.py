"""From logits to a token: temperature, top-k, top-p, and how close the choice was.

Top-k is applied first, then top-p to what is left, as LiteRT-LM and transformers do.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, log
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge_mtp.runner.protocols import Floats
from edge_mtp.runner.uniforms import Purpose, uniform

Probabilities = NDArray[np.float64]

GREEDY_TEMPERATURE: Final = 0.0

_SMALLEST: Final = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Sampler:
    """How tokens are chosen. Temperature 0 is greedy; `top_k` 0 and `top_p` 1 cut nothing."""

    temperature: float = GREEDY_TEMPERATURE
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    @property
    def greedy(self) -> bool:
        """Whether the most likely token is always taken."""
        return self.temperature == GREEDY_TEMPERATURE or self.top_k == 1


@dataclass(frozen=True)
class Choice:
    """A chosen token. `margin` says how firmly: logits that all differ by less than half of it choose alike.

    For the greedy choice that is the distance of the two best logits.
    """

    token: int
    margin: float


def choose(logits: Floats, sampler: Sampler, position: int) -> Choice:
    """logits [vocab] -> the token for slot `position`, by its keyed uniform number."""
    if sampler.greedy:
        return _greedy(logits)
    kept = _kept(logits, sampler)
    return _invert(kept, sampler, uniform(sampler.seed, position, Purpose.CHOICE))


def probabilities(logits: Floats, sampler: Sampler) -> Probabilities:
    """logits [vocab] -> the distribution that `choose` draws from [vocab]; one-hot where it is greedy."""
    result = np.zeros(logits.shape[-1])
    if sampler.greedy:
        result[int(logits.argmax())] = 1.0
    else:
        kept = _kept(logits, sampler)
        result[kept.ids] = kept.weights
    return result


def draw(weights: Probabilities, number: float) -> int:
    """weights [vocab], number in (0, 1) -> the token whose share of the running sum holds it; never one of weight 0."""
    sums = np.cumsum(weights)
    return int(min(np.searchsorted(sums, number * sums[-1], side="right"), len(sums) - 1))


@dataclass(frozen=True)
class _Kept:
    """What top-k and top-p leave: token ids ascending, their probabilities, and how firm the cut is in logits."""

    ids: NDArray[np.int64]
    weights: Probabilities
    margin: float


def _greedy(logits: Floats) -> Choice:
    best = int(logits.argmax())
    before, after = logits[:best], logits[best + 1 :]
    second = max((float(part.max()) for part in (before, after) if part.size), default=-inf)
    return Choice(best, float(logits[best]) - second)


def _kept(logits: Floats, sampler: Sampler) -> _Kept:
    ids, margin = _top_k(logits, sampler.top_k)
    kept = logits[ids].astype(np.float64)
    scaled = (kept - kept.max()) / sampler.temperature
    weights = np.exp(scaled)
    weights /= weights.sum()
    if sampler.top_p < 1.0:
        inside, cut_margin = _top_p(weights, scaled, sampler)
        ids, weights, margin = ids[inside], weights[inside] / weights[inside].sum(), min(margin, cut_margin)
    return _Kept(ids, weights, margin)


def _top_k(logits: Floats, count: int) -> tuple[NDArray[np.int64], float]:
    """ids ascending of the `count` largest logits (all where 0), and the gap to the largest left out."""
    if not 0 < count < logits.size:
        return np.arange(logits.size), inf
    order = np.argpartition(logits, logits.size - count)
    left_out, taken = order[: logits.size - count], order[logits.size - count :]
    return np.sort(taken), float(logits[taken].min() - logits[left_out].max())


def _top_p(weights: Probabilities, scaled: Probabilities, sampler: Sampler) -> tuple[NDArray[np.int64], float]:
    """Indices ascending of the fewest tokens that hold `top_p` of the weight, and how firm that cut is."""
    order = np.argsort(-weights, kind="stable")
    sums = np.cumsum(weights[order])
    count = min(int(np.searchsorted(sums, sampler.top_p)) + 1, len(order))
    margin = sampler.temperature * _odds_distance(weights[order], (count - 1, count), sampler.top_p)
    if count < len(order):
        margin = min(margin, sampler.temperature * float(scaled[order[count - 1]] - scaled[order[count]]))
    return np.sort(order[:count]), margin


def _invert(kept: _Kept, sampler: Sampler, number: float) -> Choice:
    """Inverse of the running sum over ascending ids, and the smaller distance of `number` to the chosen share's ends.

    Logits that differ by at most ε change the odds of any partial sum by at most exp(2 ε / temperature).
    """
    index = draw(kept.weights, number)
    firm = _odds_distance(kept.weights, (index, index + 1), number)
    return Choice(int(kept.ids[index]), min(sampler.temperature * firm, kept.margin))


def _odds_distance(weights: Probabilities, ends: Iterable[int], share: float) -> float:
    """Least |log odds(weights[:end]) - log odds(share)| of those ends that part the weights; infinite where none does.

    From the sums on both sides of an end: the far one may be too small to show in 1 minus the other.
    """
    sums = [(float(weights[:end].sum()), float(weights[end:].sum())) for end in ends if 0 < end < len(weights)]
    return min((abs(_log_odds(*pair) - _log_odds(share, 1.0 - share)) for pair in sums), default=inf)


def _log_odds(part: float, rest: float) -> float:
    """log(part / rest), bounded: what underflows counts as the smallest number."""
    return log(max(part, _SMALLEST)) - log(max(rest, _SMALLEST))
