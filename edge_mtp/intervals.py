"""How sure a figure is: bootstrap intervals over prompts, and the chi-square test of counts."""

from collections.abc import Callable, Sequence
from math import exp, inf, lgamma, log
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64]

_PRECISION: Final = 1e-15
_TINY: Final = 1e-300
_MOST_STEPS: Final = 10_000
"""Where the fraction is evaluated some √shape steps are enough."""


class Estimate(NamedTuple):
    """A value between the ends of its interval."""

    value: float
    low: float
    high: float


def bootstrap_statistic(
    values: ArrayLike,
    statistic: Callable[[Values], Values],
    seed: int,
    resamples: int = 2000,
    level: float = 0.95,
) -> Estimate | None:
    """values [prompts, k], statistic: sums over prompts [..., k] -> [...]; the same for the same seed.

    Tokens of one reply depend on each other, so whole prompts are drawn anew, with their values; the ends are
    percentiles of the statistic over all drawn sets (Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979).
    Sets where it is not finite, such as a zero denominator, are left out; None where it is not finite for the prompts
    themselves. One prompt gives (v, v, v): nothing is known of the spread then, so ask for two before concluding.
    """
    rows = np.atleast_2d(np.asarray(values, np.float64))
    if not rows.size:
        return None
    drawn = np.random.default_rng(seed).multinomial(len(rows), np.full(len(rows), 1.0 / len(rows)), size=resamples)
    with np.errstate(divide="ignore", invalid="ignore"):
        value, spread = float(statistic(rows.sum(0))), statistic(drawn @ rows)
    if not np.isfinite(value):
        return None
    low, high = np.quantile(spread[np.isfinite(spread)], [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return Estimate(value, float(low), float(high))


def bootstrap_ratio(
    numerators: Sequence[float],
    denominators: Sequence[float],
    seed: int,
    resamples: int = 2000,
    level: float = 0.95,
) -> Estimate | None:
    """Sum of numerators [prompts] ÷ sum of denominators [prompts], prompts drawn anew; see `bootstrap_statistic`.

    A prompt whose denominator is 0 (nothing was drafted) counts as it is; None where they all are.
    """
    pairs = np.stack([np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)], axis=-1)
    return bootstrap_statistic(pairs, lambda sums: sums[..., 0] / sums[..., 1], seed, resamples, level)


class ChiSquare(NamedTuple):
    """Pearson's statistic and how likely one at least as large is where the counts do follow the expectation."""

    statistic: float
    degrees_of_freedom: int
    p_value: float


def chi_square(observed: ArrayLike, expected: ArrayLike, minimum_expected: float = 5.0) -> ChiSquare:
    """observed [k] counts, expected [k] probabilities that sum to 1.

    Cells that expect fewer than `minimum_expected` are counted as one, with the smallest of the others where that is
    still too few. A count where the probability is 0 is impossible: p = 0. One cell alone cannot differ: p = 1.
    """
    counts, probs = np.asarray(observed, np.float64).ravel(), np.asarray(expected, np.float64).ravel()
    if counts.shape != probs.shape or abs(probs.sum() - 1.0) > 1e-6:
        raise ValueError(
            f"{counts.size} counts, {probs.size} probabilities of sum {probs.sum():.6g}; needed k, k and 1"
        )
    if counts[probs == 0.0].any():
        return ChiSquare(inf, int((probs > 0.0).sum()), 0.0)
    counts, wanted = _pooled(counts, probs * counts.sum(), minimum_expected)
    if len(counts) < 2:
        return ChiSquare(0.0, 0, 1.0)
    statistic = float((np.square(counts - wanted) / wanted).sum())
    return ChiSquare(statistic, len(counts) - 1, upper_gamma((len(counts) - 1) / 2.0, statistic / 2.0))


def more_often(found: int, trials: int, other_found: int, other_trials: int) -> float:
    """How likely `found` or more of `trials` are where the rate is that of the other counts: small if it is higher.

    Fisher's exact test, one-sided: of all that was found, the share that falls to these trials is hypergeometric
    (Fisher, "The Logic of Inductive Inference", 1935). Trials count as independent. 1 where there are none.
    """
    every, all_found = trials + other_trials, found + other_found
    ways = _log_choices(every, all_found)
    tail = range(found, min(trials, all_found) + 1)
    logs = (_log_choices(trials, k) + _log_choices(other_trials, all_found - k) - ways for k in tail)
    return min(sum(map(exp, logs)), 1.0)


def _log_choices(count: int, chosen: int) -> float:
    """Natural logarithm of the ways to choose `chosen` of `count`, -∞ where there is none."""
    if not 0 <= chosen <= count:
        return -inf
    return lgamma(count + 1) - lgamma(chosen + 1) - lgamma(count - chosen + 1)


def upper_gamma(shape: float, start: float) -> float:
    """The regularised incomplete gamma function Q(shape, start), shape > 0: the gamma distribution's tail."""
    if start <= 0.0:
        return 1.0
    if start == inf:
        return 0.0
    scale = exp(shape * log(start) - start - lgamma(shape))
    if start < shape + 1.0:
        return 1.0 - scale * _lower_series(shape, start)
    return scale * _upper_fraction(shape, start)


def _lower_series(shape: float, start: float) -> float:
    """Σ start^k / (shape (shape + 1) … (shape + k)), https://dlmf.nist.gov/8.7.E1; every term is positive."""
    term = total = 1.0 / shape
    divisor = shape
    while term > total * _PRECISION:
        divisor += 1.0
        term *= start / divisor
        total += term
    return total


def _upper_fraction(shape: float, start: float) -> float:
    """1 / (b₀ + a₁ / (b₁ + a₂ / (b₂ + …))), aₖ = -k (k - shape), bₖ = start - shape + 1 + 2 k.

    The even part of https://dlmf.nist.gov/8.9.E2, which converges fast from shape + 1 on; evaluated from the front by
    Lentz's method: the value is a product of ratios of successive numerators and denominators, whose zeros are moved
    off by a hair.
    """
    divisor = start - shape + 1.0
    upper, lower = 1.0 / _TINY, 1.0 / divisor
    value = lower
    for step in range(1, _MOST_STEPS):
        divisor += 2.0
        part = -step * (step - shape)
        lower = 1.0 / _nonzero(divisor + part * lower)
        upper = _nonzero(divisor + part / upper)
        value *= upper * lower
        if abs(upper * lower - 1.0) < _PRECISION:
            break
    return value


def _nonzero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def _pooled(counts: Values, wanted: Values, minimum: float) -> tuple[Values, Values]:
    """Counts and expected counts, large cells first, with those that expect too few as one cell at the end."""
    order: NDArray[Any] = np.argsort(-wanted, kind="stable")
    counts, wanted = counts[order], wanted[order]
    large = int((wanted >= minimum).sum())
    if 0.0 < wanted[large:].sum() < minimum:
        large = max(large - 1, 0)
    ends = [part.sum() for part in (counts[large:], wanted[large:])]
    if ends[1] == 0.0:
        return counts[:large], wanted[:large]
    return np.append(counts[:large], ends[0]), np.append(wanted[:large], ends[1])
