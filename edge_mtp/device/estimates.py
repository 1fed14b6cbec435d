"""How sure a figure is, and what follows from it: on, off or undecided."""

from collections.abc import Iterable, Sequence
from math import erf, log, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge_mtp.device.report import Advice, Estimate
from edge_mtp.intervals import bootstrap_ratio, bootstrap_statistic

LEAST_UNITS: Final = 5
"""With fewer even the widest resampled interval is too sure of itself, so none is given."""
RESAMPLES: Final = 5000
NORMAL_QUANTILE: Final = 1.959963984540054


def ratio_of_sums(numerators: Sequence[float], denominators: Sequence[float], seed: int) -> Estimate | None:
    """Σ numerators ÷ Σ denominators, with an interval over units (blocks) drawn anew; None where nothing is known."""
    found = bootstrap_ratio(numerators, denominators, seed, RESAMPLES, level(len(numerators)))
    return None if found is None else _estimate(found, len(numerators))


def geometric_mean(ratios: Iterable[tuple[int, float]], seed: int) -> Estimate | None:
    """(pair, positive ratio) -> the mean by logarithms, with an interval over whole pairs drawn anew.

    The prompts of one pair ran in the same two blocks, warm or cold alike, so they are one unit however many they are.
    """
    sums: dict[int, tuple[float, int]] = {}
    for pair, ratio in ratios:
        total, count = sums.get(pair, (0.0, 0))
        sums[pair] = (total + log(ratio), count + 1)
    if not sums:
        return None
    rows = [sums[pair] for pair in sorted(sums)]
    found = bootstrap_statistic(rows, _exp_mean, seed, RESAMPLES, level(len(rows)))
    return None if found is None else _estimate(found, len(rows))


def _exp_mean(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """[..., (sum of logarithms, count)] -> geometric mean [...]."""
    mean: NDArray[np.float64] = np.exp(sums[..., 0] / sums[..., 1])
    return mean


def level(count: int) -> float:
    """The level at which percentiles of `count` resampled units cover as Student's 95 % interval does.

    Plain percentiles are too narrow for few units: they divide by n where n − 1 is right, and take the normal quantile
    for Student's. Hesterberg, "What Teachers Should Know About the Bootstrap" (2015), calls this the expanded
    percentile interval.
    """
    freedom = max(count - 1, 1)
    return erf(sqrt(count / freedom) * _student_quantile(freedom) / sqrt(2.0))


def _student_quantile(freedom: int) -> float:
    """The 97.5 % quantile by its expansion in 1 / freedom: Abramowitz and Stegun, 26.7.5."""
    z = NORMAL_QUANTILE
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / float(freedom) ** power for power, term in enumerate(terms, start=1))


def _estimate(found: tuple[float, float, float], count: int) -> Estimate:
    value, low, high = found
    return Estimate(value, low, high, count) if count >= LEAST_UNITS else Estimate(value, None, None, count)


def advise(ratio: Estimate | None, quantity: str) -> Advice:
    """`quantity` "speed": a ratio above 1 speaks for MTP; "energy": one below 1 does."""
    good, bad = ("faster", "slower") if quantity == "speed" else ("less energy", "more energy")
    if ratio is None:
        return Advice("undecided", f"no pair has {'a rate' if quantity == 'speed' else 'energy'} in both arms")
    counted = f"×{ratio.value:.2f} with MTP, {ratio.count} pair{'' if ratio.count == 1 else 's'}"
    if ratio.low is None or ratio.high is None:
        return Advice("undecided", f"{counted}: too few to tell, {LEAST_UNITS} are needed")
    where = f"{counted}, interval {ratio.low:.2f} to {ratio.high:.2f}"
    above, below = (good, bad) if quantity == "speed" else (bad, good)
    if ratio.low > 1.0:
        return Advice("on" if above == good else "off", f"{where}: all of it is {above}")
    if ratio.high < 1.0:
        return Advice("on" if below == good else "off", f"{where}: all of it is {below}")
    return Advice("undecided", f"{where}: it holds 1; more pairs would narrow it")
