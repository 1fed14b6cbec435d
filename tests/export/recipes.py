"""Recipes for the tiny pair: all of the shipped one's lengths, so that they share its traced graphs."""

from pathlib import Path

SHIPPED = Path(__file__).parents[2] / "export"
INT8 = (SHIPPED / "tiny.toml").read_text(encoding="utf-8")


def changed(recipe: str, old: str, new: str) -> str:
    """`recipe` with its only `old` replaced."""
    if recipe.count(old) != 1:
        raise ValueError(f"{old!r} stands in the recipe {recipe.count(old)} times, expected once")
    return recipe.replace(old, new)


FLOAT32 = changed(INT8, 'dtype = "int8"\n', 'dtype = "float32"\n')
CLUSTERED = changed(INT8, 'head = "dense"', 'head = "clustered"')
BLOCKWISE = f"""{INT8}
[[weights]]
section = "*"
tensor = 'layers\\.\\d+\\.(self_attn|mlp)\\..*_proj\\.weight'
dtype = "int4"
block = 32
reason = "blocks of 32 columns, as in the recipes for E2B and E4B"
"""
SHORT = changed(INT8, "prefill = [32, 128]", "prefill = [16]")
"""One prefill graph instead of two, for pairs that are traced more than once."""
