"""How far two sets of logits lie apart, token by token.

float32 in, float64 inside, a few rows at a time: [n, 262144] needs some 200 MB beside its inputs, whatever n.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from math import exp, inf, log10, nan, sqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_mtp.runner.protocols import Floats

Values = NDArray[np.float64]
Tokens = NDArray[np.int64]

_BLOCK_VALUES: Final = 1 << 22
"""Values that one step of a computation holds in each of its arrays."""


def kl_divergence(reference: Floats, found: Floats) -> Values:
    """KL(reference ‖ found) in nats: logits [n, vocab], [n, vocab] -> [n]; NaN where a logit is, never below 0."""
    _check_shapes(reference, found)
    return _by_block(_kl, reference, found)


def top_agreement(reference: Floats, found: Floats, count: int) -> Values:
    """Share of the reference's `count` best tokens that are among the found's: [n, vocab], [n, vocab] -> [n].

    Of equal logits the lower token is the better one.
    """
    _check_shapes(reference, found)
    return _by_block(lambda expected, other: _shared(_best(expected, count), _best(other, count)), reference, found)


def token_log_probs(logits: Floats, tokens: Sequence[int] | Tokens) -> Values:
    """Natural log probability of each token: logits [n, vocab], tokens [n] -> [n]."""
    return _by_block(_log_probs_of, logits, np.asarray(tokens, np.int64))


def lead_changes(reference: Floats, found: Floats) -> Values:
    """How much the lead of found's best token over its second differs in the reference: [n, vocab], [n, vocab] -> [n].

    Both leads are of the same two tokens, so the reference's may be negative; never below 0, NaN where a logit is.
    """
    _check_shapes(reference, found)
    return _by_block(_lead_changes, reference, found)


def perplexity_ratio(reference_log_probs: Values, found_log_probs: Values) -> tuple[float, float]:
    """(perplexity of found ÷ that of reference, its standard error); log probabilities of the same tokens [n], [n].

    The two are compared token by token, so what makes a text hard for both cancels out; the error of the logarithm
    is carried over by the delta method. As in llama.cpp's `llama-perplexity --kl-divergence`
    (https://github.com/ggml-org/llama.cpp, tools/perplexity/perplexity.cpp). Tokens count as independent. The error
    is NaN where there is one token, and both are where there is none.
    """
    gaps = np.asarray(reference_log_probs, np.float64) - np.asarray(found_log_probs, np.float64)
    if not gaps.size:
        return nan, nan
    ratio = exp(gaps.mean())
    return ratio, ratio * float(gaps.std(ddof=1)) / sqrt(gaps.size) if gaps.size > 1 else nan


def signal_to_noise_db(reference: NDArray[Any], found: NDArray[Any]) -> float:
    """10 log10(power of reference ÷ power of the difference), any equal shapes; infinite where they are equal."""
    _check_shapes(reference, found)
    signal = float(_by_block(_power, reference.ravel()).sum())
    noise = float(_by_block(_gap_power, reference.ravel(), found.ravel()).sum())
    if noise == 0.0:
        return inf
    return 10.0 * log10(signal / noise) if signal != 0.0 else -inf


@dataclass(frozen=True)
class Deviation:
    """How far values lie from the expected ones.

    `share` is max |found - expected| as a share of the expected range; `clashes` counts rows whose argmax differs
    although the expected top two are further apart than `tolerance` of that range; `decided` counts the rows where
    they are.
    """

    share: float
    clashes: int
    decided: int
    tolerance: float

    @property
    def holds(self) -> bool:
        """Within tolerance and without a clash; NaN never holds."""
        return self.share <= self.tolerance and self.clashes == 0


def deviation(found: Floats, expected: Floats, tolerance: float) -> Deviation:
    """found, expected [..., values] float32, not empty; argmax is compared row by row over the last axis."""
    _check_shapes(found, expected)
    found, expected = (values.reshape(-1, values.shape[-1]) for values in (found, expected))
    span = float(expected.max()) - float(expected.min())
    largest = float(_by_block(_largest_gap, found, expected).max())
    decided = _by_block(_lead, expected) > tolerance * span
    differs = found.argmax(-1) != expected.argmax(-1)
    return Deviation(_share(largest, span), int((decided & differs).sum()), int(decided.sum()), tolerance)


def first_divergence(expected: Sequence[int], found: Sequence[int], *, prefix_ok: bool = False) -> int | None:
    """Index of the first differing token, None where there is none.

    Where one sequence only goes on behind the other they differ at the shorter one's end, unless `prefix_ok`.
    """
    common = min(len(expected), len(found))
    differing = next((i for i in range(common) if expected[i] != found[i]), None)
    if differing is None and len(expected) != len(found) and not prefix_ok:
        return common
    return differing


@dataclass(frozen=True)
class Quality:
    """How well a target keeps to its reference over a text's tokens; KL in nats, the rest as in the functions above.

    `perplexity_ratio_error` is a standard error.
    """

    tokens: int
    kl_mean: float
    kl_p99: float
    kl_max: float
    top1: float
    top5: float
    perplexity_ratio: float
    perplexity_ratio_error: float


KL_EDGES: Final = tuple(10.0 ** (power / 4) for power in range(-32, 9))
"""Edges of the KL histogram: four bins a decade, 1e-8 to 100 nats. Fixed, so that histograms compare and add up."""


@dataclass(frozen=True, eq=False)
class QualitySums:
    """What `Quality` is made of, gathered block by block: a few numbers a token are kept, the logits are not.

    All [tokens] float64; `top1` and `top5` are shares of best tokens, the log probabilities are the text's.
    """

    kl: Values = field(default_factory=lambda: np.zeros(0))
    top1: Values = field(default_factory=lambda: np.zeros(0))
    top5: Values = field(default_factory=lambda: np.zeros(0))
    reference_log_probs: Values = field(default_factory=lambda: np.zeros(0))
    found_log_probs: Values = field(default_factory=lambda: np.zeros(0))

    def add(self, reference: Floats, found: Floats, tokens: Sequence[int] | Tokens) -> "QualitySums":
        """With n more tokens: logits [n, vocab] of both before each of tokens [n]."""
        return self + QualitySums(
            kl_divergence(reference, found),
            top_agreement(reference, found, 1),
            top_agreement(reference, found, 5),
            token_log_probs(reference, tokens),
            token_log_probs(found, tokens),
        )

    def __add__(self, other: "QualitySums") -> "QualitySums":
        pairs = ((getattr(self, name.name), getattr(other, name.name)) for name in fields(self))
        return QualitySums(*(np.concatenate(pair) for pair in pairs))

    def quality(self) -> Quality | None:
        """The figures; None below two tokens, of which no error can be told."""
        if len(self.kl) < 2:
            return None
        ratio, error = perplexity_ratio(self.reference_log_probs, self.found_log_probs)
        return Quality(
            tokens=len(self.kl),
            kl_mean=float(self.kl.mean()),
            kl_p99=float(np.quantile(self.kl, 0.99)),
            kl_max=float(self.kl.max()),
            top1=float(self.top1.mean()),
            top5=float(self.top5.mean()),
            perplexity_ratio=ratio,
            perplexity_ratio_error=error,
        )

    def kl_counts(self) -> tuple[int, ...]:
        """Tokens between `KL_EDGES`, [edges - 1]; what lies outside counts in the first or last, NaN nowhere."""
        known = self.kl[~np.isnan(self.kl)]
        counts, _ = np.histogram(np.clip(known, KL_EDGES[0], KL_EDGES[-1]), KL_EDGES)
        return tuple(int(count) for count in counts)


def _check_shapes(a: NDArray[Any], b: NDArray[Any]) -> None:
    if a.shape != b.shape:
        raise ValueError(f"shapes {a.shape} and {b.shape} differ; compare logits of the same tokens and vocabulary")


def _by_block(function: Callable[..., Values], *arrays: NDArray[Any]) -> Values:
    """`function` over a few rows of all arrays at a time, its results [rows] joined."""
    if len({len(array) for array in arrays}) != 1:
        raise ValueError(f"{[len(array) for array in arrays]} rows; one row a token is needed of each")
    step = max(1, _BLOCK_VALUES // max(1, int(np.prod(arrays[0].shape[1:]))))
    starts = range(0, len(arrays[0]), step)
    return np.concatenate([np.zeros(0), *(function(*(a[start : start + step] for a in arrays)) for start in starts)])


def _log_probs(logits: Floats) -> Values:
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(-1, keepdims=True))
    return shifted


def _log_probs_of(logits: Floats, tokens: Tokens) -> Values:
    picked: Values = np.take_along_axis(_log_probs(logits), tokens[:, None], axis=-1)[:, 0]
    return picked


def _kl(reference: Floats, found: Floats) -> Values:
    expected, other = _log_probs(reference), _log_probs(found)
    probs = np.exp(expected)
    with np.errstate(invalid="ignore"):  # 0 · ∞ is masked; NaN among the logits must stay
        terms = np.where(probs == 0.0, 0.0, probs * (expected - other))
    divergence: Values = np.maximum(terms.sum(-1), 0.0)
    return divergence


def _best(logits: Floats, count: int) -> Tokens:
    """logits [n, vocab] -> the `count` best tokens [n, count], best first."""
    left, rows = logits.copy(), np.arange(len(logits))
    best = np.empty((len(logits), count), np.int64)
    for place in range(count):
        best[:, place] = left.argmax(-1)
        left[rows, best[:, place]] = -inf
    return best


def _shared(expected: Tokens, found: Tokens) -> Values:
    """Share of expected [n, count] that is in found [n, count] -> [n]."""
    shared: Values = (expected[:, :, None] == found[:, None, :]).any(-1).mean(-1)
    return shared


def _power(values: NDArray[Any]) -> Values:
    power: Values = np.square(values.astype(np.float64)).sum(keepdims=True)
    return power


def _gap_power(reference: NDArray[Any], found: NDArray[Any]) -> Values:
    return _power(reference.astype(np.float64) - found)


def _largest_gap(found: Floats, expected: Floats) -> Values:
    largest: Values = np.abs(found.astype(np.float64) - expected).max(-1)
    return largest


def _lead(values: Floats) -> Values:
    """values [n, width] -> how far the best is ahead of the second [n]."""
    top_two = np.partition(values, -2, axis=-1)[:, -2:].astype(np.float64)
    lead: Values = top_two[:, 1] - top_two[:, 0]
    return lead


def _lead_changes(reference: Floats, found: Floats) -> Values:
    best = _best(found, 2)
    expected, other = (np.take_along_axis(values, best, axis=-1).astype(np.float64) for values in (reference, found))
    changes: Values = np.abs(np.diff(expected, axis=-1) - np.diff(other, axis=-1))[:, 0]
    return changes


def _share(part: float, whole: float) -> float:
    if whole == 0.0:
        return 0.0 if part == 0.0 else inf
    return part / whole
