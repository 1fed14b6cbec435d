"""Keyed uniform numbers: known values, range, uniformity, independence."""

from math import sqrt

import numpy as np
import pytest

from edge_mtp.intervals import chi_square
from edge_mtp.runner.uniforms import Purpose, splitmix64, uniform

MASK = (1 << 64) - 1
COUNT = 20_000
HELD_P, REJECTED_P = 1e-3, 1e-6


def stream(state, count):
    """SplitMix64 as a generator: the state moves on by the golden gamma."""
    return [splitmix64((state + step * 0x9E3779B97F4A7C15) & MASK) for step in range(count)]


def unmix(value, shift, factor):
    """What x was before x ^= x >> shift, x *= factor."""
    value = value * pow(factor, -1, 1 << 64) & MASK
    return unshift(value, shift)


def unshift(value, shift):
    found = value
    for _ in range(64 // shift):
        found = value ^ (found >> shift)
    return found


def unsplitmix64(value):
    value = unmix(unshift(value, 31), 27, 0x94D049BB133111EB)
    return (unmix(value, 30, 0xBF58476D1CE4E5B9) - 0x9E3779B97F4A7C15) & MASK


def numbers(seed=0, purpose=Purpose.CHOICE, count=COUNT):
    return np.array([uniform(seed, position, purpose) for position in range(count)])


def evenness(values, cells=64):
    counts = np.histogram(values, np.linspace(0.0, 1.0, cells + 1))[0]
    return chi_square(counts, np.full(cells, 1.0 / cells)).p_value


def correlation(a, b):
    """In standard errors of independent numbers."""
    return abs(float(np.corrcoef(a, b)[0, 1])) * sqrt(len(a))


def test_splitmix64_gives_the_published_stream():
    assert stream(1234567, 5) == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@pytest.mark.parametrize("value", [0, 1, MASK, 6457827717110365317])
def test_splitmix64_can_be_undone(value):
    assert splitmix64(unsplitmix64(value)) == value


@pytest.mark.parametrize("bits", [0, 1, (1 << 12) - 1, 1 << 63, MASK - 1, MASK])
def test_no_bits_give_zero_or_one(bits):
    position = unsplitmix64(unsplitmix64(bits) ^ Purpose.ACCEPT) ^ splitmix64(0)
    assert splitmix64(splitmix64(splitmix64(0) ^ position) ^ Purpose.ACCEPT) == bits
    assert 0.0 < uniform(0, position, Purpose.ACCEPT) < 1.0


def test_one_bit_more_would_round_to_one():
    assert ((MASK >> 11) + 0.5) * 2.0**-53 == 1.0


@pytest.mark.parametrize("seed", [0, 1, -1, 2**64 - 1, 2**70 + 3])
@pytest.mark.parametrize("purpose", Purpose)
def test_numbers_are_even(seed, purpose):
    assert evenness(numbers(seed, purpose)) > HELD_P


@pytest.mark.parametrize("spoilt", [lambda x: x**1.1, lambda x: 0.99 * x, lambda x: np.round(x, 2)])
def test_uneven_numbers_are_noticed(spoilt):
    assert evenness(spoilt(numbers())) < REJECTED_P


def test_sequences_do_not_depend_on_each_other():
    by_purpose = [numbers(purpose=purpose) for purpose in Purpose]
    sequences = [*by_purpose, numbers(seed=1), numbers(seed=2), np.roll(by_purpose[0], 1)]
    pairs = [(i, j) for i in range(len(sequences)) for j in range(i)]
    assert max(correlation(sequences[i], sequences[j]) for i, j in pairs) < 4.0


def test_dependent_sequences_are_noticed():
    values = numbers()
    assert correlation(values, 0.95 * numbers(seed=1) + 0.05 * values) > 4.0


def test_the_key_is_all_that_matters():
    assert uniform(7, 3, Purpose.DRAFT) == uniform(7, 3, Purpose.DRAFT)
    assert uniform(7, 3) == uniform(7, 3, Purpose.CHOICE)
    assert (
        len({uniform(seed, position, purpose) for seed in (0, 1) for position in (0, 1) for purpose in Purpose}) == 12
    )
