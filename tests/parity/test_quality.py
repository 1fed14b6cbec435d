"""Figures of a whole text, gathered block by block: the same however the tokens come, in bounded memory."""

import json
import tracemalloc
from dataclasses import astuple
from math import inf, nan

import numpy as np
import pytest

from edge_mtp.parity.metrics import (
    KL_EDGES,
    QualitySums,
    deviation,
    kl_divergence,
    perplexity_ratio,
    token_log_probs,
    top_agreement,
)
from tests.parity.test_metrics import ROWS, VOCAB_SIZE, noisy


def add_in_parts(sums, cuts, *arrays):
    for start, end in zip([0, *cuts], [*cuts, len(arrays[0])], strict=True):
        sums = sums.add(*(array[start:end] for array in arrays))
    return sums


@pytest.mark.parametrize("cuts", [[], [1], [10, 10, 35]])
def test_sums_are_the_figures_of_all_tokens_however_they_come(cuts):
    expected, found = noisy(noise=0.5)
    tokens = expected.argmax(-1)
    sums = add_in_parts(QualitySums(), cuts, expected, found, tokens)
    quality = sums.quality()
    kl = kl_divergence(expected, found)
    assert quality.tokens == ROWS
    assert (quality.kl_mean, quality.kl_max) == pytest.approx((kl.mean(), kl.max()))
    assert quality.kl_p99 == pytest.approx(np.percentile(kl, 99))
    assert quality.top1 == pytest.approx(top_agreement(expected, found, 1).mean())
    assert quality.top5 == pytest.approx(top_agreement(expected, found, 5).mean())
    pair = token_log_probs(expected, tokens), token_log_probs(found, tokens)
    assert (quality.perplexity_ratio, quality.perplexity_ratio_error) == pytest.approx(perplexity_ratio(*pair))
    assert quality != QualitySums().add(found, expected, tokens).quality()
    assert quality != QualitySums().add(expected, found, (tokens + 1) % VOCAB_SIZE).quality()


def test_sums_add_up():
    expected, found = noisy()
    tokens = found.argmax(-1)
    whole = QualitySums().add(expected, found, tokens)
    parts = [QualitySums().add(expected[rows], found[rows], tokens[rows]) for rows in (slice(0, 9), slice(9, None))]
    assert (parts[0] + parts[1]).quality() == whole.quality()
    assert (parts[0] + parts[1]).kl_counts() == whole.kl_counts()


@pytest.mark.parametrize("rows", [0, 1])
def test_fewer_than_two_tokens_have_no_figures(rows):
    expected, found = noisy(rows=rows)
    assert QualitySums().add(expected, found, [0] * rows).quality() is None


def test_the_figures_fit_into_json():
    expected, found = noisy(rows=2)
    json.dumps(astuple(QualitySums().add(expected, found, [0, 1]).quality()), allow_nan=False)


def test_sums_keep_a_few_numbers_a_token():
    sums = QualitySums().add(*noisy(), [0] * ROWS)
    assert sum(array.size for array in vars(sums).values()) == 5 * ROWS


def test_the_histogram_counts_every_token_once():
    kl = np.array([0.0, 1e-12, 1.5e-8, 1e-3, 1.0000001e-3, 0.99, 100.0, inf, nan])
    counts = QualitySums(kl=kl).kl_counts()
    assert len(counts) == len(KL_EDGES) - 1
    assert sum(counts) == 8
    assert counts[0] == 3
    assert counts[-1] == 2
    assert np.flatnonzero(counts).tolist() == [0, 20, 31, 39]


def test_the_edges_are_even_on_a_log_scale():
    assert KL_EDGES[0] == pytest.approx(1e-8)
    assert KL_EDGES[-1] == pytest.approx(100.0)
    np.testing.assert_allclose(np.diff(np.log10(KL_EDGES)), 0.25)


def test_gemmas_vocabulary_takes_a_few_hundred_megabytes():
    """48 rows of float64 would be 100 MB an array, and half a dozen of them are needed."""
    rows = np.zeros((48, 262_144), np.float32)
    rows[:, ::1000] = 5.0
    tracemalloc.start()
    QualitySums().add(rows, rows[:, ::-1], [0] * 48)
    deviation(rows, rows, 1e-3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300e6
