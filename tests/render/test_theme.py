"""Both themes can be read, and the policy lets nothing but the style sheet through."""

import re
from base64 import b64encode
from hashlib import sha256

import pytest

from edge_mtp.render.markup import Html
from edge_mtp.render.page import STYLE, document

CSS = STYLE.read_text(encoding="utf-8")
ON_PAPER = ("--ink", "--muted", "--accent", "--held", "--failed", "--unchecked")
TINTED = (("--held", "--held-tint"), ("--failed", "--failed-tint"), ("--unchecked", "--unchecked-tint"))
PAIRS = (*((name, "--paper") for name in ON_PAPER), *TINTED, ("--muted", "--raised"))
LEAST = 4.5


def theme(dark: bool) -> dict[str, str]:
    """Variables of one theme."""
    blocks = re.findall(r":root \{([^}]+)\}", CSS)
    return dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6})", blocks[int(dark)]))


def luminance(colour: str) -> float:
    """Relative luminance, https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4 for channel in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(("front", "back"), PAIRS)
def test_contrast(dark, front, back):
    colours = theme(dark)
    assert contrast(colours[front], colours[back]) >= LEAST


def test_contrast_would_be_found_wanting():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") < LEAST


def test_themes_have_the_same_variables():
    assert theme(False).keys() == theme(True).keys()
    used = set(re.findall(r"var\((--[\w-]+)\)", CSS))
    assert used <= theme(False).keys() | {"--verdict", "--tint"}


def test_the_policy_is_the_hash_of_the_style_sheet_that_is_there():
    page = document("t", Html("<p>x</p>"), "0")
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    digest = b64encode(sha256(style.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1].replace("&#x27;", "'")
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def test_the_style_sheet_asks_for_nothing():
    assert not re.search(r"url\(|@import|https?:|</", CSS)
