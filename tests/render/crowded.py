"""A report with more of everything, and longer, than a page is laid out for."""

from dataclasses import replace

from edge_mtp.parity import report as parts
from tests.render.samples import BUNDLE, DIVERGENCES, FULL, RUNGS, interval, suite

SUITES = tuple(f"a-suite-with-a-rather-long-name-{index}" for index in range(12))
TENSOR = "model.language_model.layers.34.self_attn.per_layer_projection.weight"

CROWDED = replace(
    FULL,
    bundle=replace(BUNDLE, file="a-very-long-bundle-name-without-any-space-" * 3 + ".litertlm", draft_steps=8),
    rungs=tuple(
        replace(
            rung,
            name=f"{rung.name} and a longer name",
            claim=f"{rung.claim} " * 4,
            reason="nothing fits " * 20,
            figures=tuple(replace(figure, name=f"{figure.name} of all", value=TENSOR) for figure in rung.figures),
        )
        for rung in RUNGS
    ),
    acceptance=tuple(
        suite(name, (80, 40200, 321600, 126100), tuple(0.9**step for step in range(1, 9)), 0.01) for name in SUITES
    ),
    advice=tuple(
        parts.Advice(name, "undecided", interval(12.25, 3.1), "A reason that goes on for a while. " * 4)
        for name in SUITES
    ),
    divergences=tuple(
        replace(
            DIVERGENCES[0], context="word " * 200, expected="antidisestablishment" * 4, prompt="x" * 300, at_token=at
        )
        for at in range(20)
    ),
)
