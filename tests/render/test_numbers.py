"""Figures are short, and never say more or less than the number."""

import math

import pytest

from edge_mtp.render import numbers


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (0.04123, "0.0412"),
        (0.4, "0.4"),
        (2.0, "2"),
        (1234.5, "1,234"),
        (-0.25, "−0.25"),
        (0.000031, "3.1 × 10⁻⁵"),
        (2.5e9, "2.5 × 10⁹"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
        (math.nan, "not a number"),
    ],
)
def test_significant(value, shown):
    assert numbers.significant(value) == shown


def test_figures_of_a_rung_by_type():
    assert [numbers.figure(value) for value in (True, 12345, 0.41237, "a.b")] == ["yes", "12,345", "0.4124", "a.b"]


@pytest.mark.parametrize(
    ("value", "shown"), [(0.21, "0.21 s"), (59.4, "59 s"), (60.0, "1 min 0 s"), (133.2, "2 min 13 s")]
)
def test_seconds(value, shown):
    assert numbers.seconds(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(999, "999 bytes"), (1500, "1.5 kB"), (2_583_085_056, "2.58 GB"), (12_345_678, "12.3 MB")]
)
def test_size(value, shown):
    assert numbers.size(value) == shown


def test_moments():
    assert numbers.moment("2026-11-26T14:10:26+00:00") == "2026-11-26 14:10:26+00:00"
    assert numbers.moment("Thursday, UTC") == "Thursday, UTC"


def test_what_was_not_measured_is_said_and_zero_is_not_that():
    assert {numbers.rate(None), numbers.times(None), numbers.optional(None)} == {"not measured"}
    assert [numbers.rate(0.0), numbers.times(0.0), numbers.optional(0, "tokens")] == ["0.000", "0.00×", "0 tokens"]


def test_powers_of_ten():
    assert [numbers.power_of_ten(power) for power in (-12, -1, 0, 1, 3)] == ["10⁻¹²", "10⁻¹", "1", "10", "10³"]


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        (" blue", "␣blue"),
        ("\n\n", "↵↵"),
        ("\tx", "⇥x"),
        ("", "∅"),
        ("\u200b", "‹200B›"),
        ("天", "天"),
        ("\x07", "‹0007›"),
    ],
)
def test_tokens_show_what_cannot_be_seen(token, shown):
    assert numbers.visible(token) == shown
