"""Feeds a `Detokenizer` in parts."""

from hypothesis import strategies as st

from edge_mtp.runner.text import BundleText, Detokenizer

SIZES = st.lists(st.integers(0, 5), max_size=40)
"""How many tokens come at once."""


def pieces(text: BundleText, parts: list[list[int]]) -> list[str]:
    detokenizer = Detokenizer(text)
    return [*(detokenizer.add(part) for part in parts), detokenizer.finish()]


def one_by_one(tokens: list[int]) -> list[list[int]]:
    return [[token] for token in tokens]


def cut(tokens: list[int], sizes: list[int]) -> list[list[int]]:
    """`tokens` in parts of these sizes and a rest."""
    parts, at = [], 0
    for size in sizes:
        parts.append(tokens[at : at + size])
        at += size
    return [*parts, tokens[at:]]
