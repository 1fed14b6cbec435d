"""Parity reports to draw: everything measured and held, one that failed, one that could not check."""

import json
from dataclasses import replace
from typing import Any

from edge_mtp.parity import report as parts
from edge_mtp.parity.report import Report, to_json
from edge_mtp.parity.results import Control, Figure, RungResult, Verdict

HOSTILE = "<script src=//evil.example/x.js>alert('hi')</script>"


def rung(
    number: int, name: str, claim: str, figures: tuple[Figure, ...], control: Control, seconds: float
) -> RungResult:
    return RungResult(number, name, claim, name, Verdict.HELD, "", figures, (control,), seconds)


def rejected(name: str, *figures: Figure) -> Control:
    return Control(name, True, figures)


def missed(name: str, value: float, unit: str = "", bar: str = "") -> Figure:
    return Figure(name, value, unit, bar, held=False)


RUNGS = (
    rung(
        0,
        "pairing",
        "The drafter belongs to this target.",
        (Figure("shared layers", 3, "", "= 3"), Figure("backbone width", 1536, "", "= 1,536")),
        rejected("another target's width", missed("backbone width", 2048, "", "= 1,536")),
        0.21,
    ),
    rung(
        1,
        "graphs",
        "Our float graphs say what transformers says, also past the sliding window.",
        (
            Figure("largest logit difference", 3.1e-05, "", "≤ 0.0001"),
            Figure("largest hidden difference", 8.8e-06, "", "≤ 0.0001"),
            Figure("longest context", 1100, "tokens", "> 512 tokens"),
        ),
        rejected("positions + 1", missed("largest logit difference", 6.42, "", "≤ 0.0001")),
        41.7,
    ),
    rung(
        2,
        "lowering",
        "The float .tflite says what the float graphs say.",
        (Figure("largest logit difference", 0.00021, "", "≤ 0.001"),),
        rejected("one weight doubled", missed("largest logit difference", 1.87, "", "≤ 0.001")),
        18.2,
    ),
    rung(
        3,
        "quantization",
        "The bundle's target stays close to the float checkpoint.",
        (
            Figure("KL mean", 0.0412, "nats", "≤ 0.1"),
            Figure("KL p99", 0.61, "nats", "≤ 1"),
            Figure("top-1 agreement", 0.934, "", "≥ 0.9"),
            Figure("top-5 overlap", 0.911),
            Figure("perplexity ratio", 1.021, "", "≤ 1.1"),
            Figure("lowest SNR", 17.3, "dB", "≥ 12 dB"),
            Figure("worst tensor", "layers.1.mlp.down_proj"),
        ),
        rejected("weights with one bit less", missed("KL mean", 0.48, "nats", "≤ 0.1")),
        96.4,
    ),
    rung(
        4,
        "verify",
        "Each row of verify is what decode says, one token at a time.",
        (Figure("largest logit difference", 0.0034, "", "≤ 0.01"), Figure("tolerance found", 0.0051, "logits")),
        rejected("verify one position late", missed("largest logit difference", 9.9, "", "≤ 0.01")),
        22.9,
    ),
    rung(
        5,
        "speculation",
        "Speculative tokens are the plain ones, greedy and sampled, but where two choices are a tie.",
        (
            Figure("greedy replies equal", 31, "of 32"),
            Figure("sampled replies equal", 32, "of 32"),
            Figure("divergences not excused", 0, "", "= 0"),
        ),
        rejected("every draft accepted", missed("divergences not excused", 29, "", "= 0")),
        133.0,
    ),
    rung(
        6,
        "acceptance",
        "The drafter's acceptance is over its floor on each suite, and near the float drafter's.",
        (
            Figure("lowest suite", 0.538, "", "≥ 0.3"),
            Figure("largest loss to float", 0.021, "", "≤ 0.05"),
        ),
        rejected("drafter position + 1", missed("lowest suite", 0.31, "", "≥ 0.3")),
        88.5,
    ),
    rung(
        7,
        "engine",
        "LiteRT-LM says what our runner says.",
        (Figure("texts equal", 31, "of 32", "≥ 30"), Figure("acceptance difference", 0.006, "", "≤ 0.02")),
        rejected("another prompt's texts", missed("texts equal", 0, "of 32", "≥ 30")),
        64.0,
    ),
)


def interval(value: float, spread: float) -> parts.Interval:
    return parts.Interval(value, value - spread, value + spread * 0.9)


def suite(
    name: str, counters: tuple[int, int, int, int], rates: tuple[float, ...], lost: float
) -> parts.SuiteAcceptance:
    prompts, rounds, drafted, accepted = counters
    rate = accepted / drafted
    return parts.SuiteAcceptance(
        name, prompts, rounds, drafted, accepted, interval(rate, 0.06), rates, 1 + accepted / rounds, rate + lost
    )


ACCEPTANCE = (
    suite("chat", (8, 402, 1206, 761), (0.791, 0.627, 0.475), 0.012),
    suite("code", (8, 355, 1065, 833), (0.885, 0.789, 0.673), 0.004),
    suite("creative", (8, 461, 1383, 744), (0.703, 0.529, 0.382), 0.021),
    suite("extract", (8, 318, 954, 699), (0.846, 0.741, 0.611), -0.003),
)


def quality(name: str, tokens: int, kl: tuple[float, float, float], ratio: float) -> parts.SuiteQuality:
    return parts.SuiteQuality(name, tokens, *kl, 0.9344 - kl[0], 0.9113, ratio, 0.0043, 1000 / tokens)


def curve(steps: int, draft: float, verify: float) -> tuple[tuple[float, float], ...]:
    """Speed-up by acceptance rate = accepted ÷ drafted."""
    return tuple((index / 20, (1 + steps * index / 20) / (steps * draft + verify)) for index in range(21))


DIVERGENCES = (
    parts.Divergence(
        5, "greedy", "chat", f"Why is the sky {HOSTILE} blue?", 41,
        "Short wavelengths are scattered more.\n\nThis is called", " Rayleigh", "\n", 0.0021, 0.0051, True,
    ),
    parts.Divergence(
        7, "engine, MTP on", "code", "Merge overlapping intervals.", 118,
        "def merge(intervals):\n    for start, end in sorted(", "intervals", "\tin", 0.0044, 0.0051, True,
    ),
)  # fmt: skip

BUNDLE = parts.BundleFacts(
    "gemma-4-E2B-it-mtp.litertlm", 2_583_085_056, "9f2c" * 16, 3, 4096, 4.63, "gemma4-e2b",
    ("google/gemma-4-E2B-it", "google/gemma-4-E2B-it-assistant"),
)  # fmt: skip

FULL = Report(
    wall_time="2026-11-26T14:10:26+00:00",
    edge_mtp_version="0.2.0",
    outcome=Verdict.HELD,
    exit_code=0,
    first_failed=None,
    bundle=BUNDLE,
    environment=parts.Environment(
        "Linux 6.8 x86_64", "AMD EPYC 7B13", 8, 4, "3.11.9", {"ai-edge-litert": "2.3.1", "litert-lm-api": "0.18.1"}
    ),
    settings=parts.Settings(
        tuple(
            parts.SuiteFile(item.suite, f"export/prompts/{item.suite}.jsonl", f"{index:x}b" * 32, 8 + index)
            for index, item in enumerate(ACCEPTANCE, 5)
        ),
        160, 20261, 0.8, "CPU, XNNPACK",
    ),
    rungs=RUNGS,
    acceptance=ACCEPTANCE,
    draft_lengths=(
        parts.DraftLength(1, 0.0, 0.801, 1.801, 1.0, 1.3241),
        parts.DraftLength(2, 0.0, 0.733, 2.466, 2.0, 1.5877),
        parts.DraftLength(3, 0.0, 0.659, 2.977, 3.0, 1.7012),
        parts.DraftLength(4, 0.0, 0.594, 3.376, 4.0, 1.6894),
        parts.DraftLength(4, 0.6, 0.812, 3.117, 2.607, 1.8123),
    ),
    quality=(
        quality("chat", 1163, (0.0398, 0.58, 2.11), 1.0192),
        quality("code", 1188, (0.0214, 0.37, 1.42), 1.0087),
        quality("creative", 1205, (0.0671, 0.83, 3.04), 1.0388),
        quality("extract", 1017, (0.0345, 0.49, 1.97), 1.0146),
    ),
    kl_histogram=parts.Histogram(
        (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0), (212, 318, 544, 861, 1207, 998, 388, 45), "log"
    ),
    divergences=DIVERGENCES,
    worst_tensors=(
        parts.WorstTensor("target", "layers.1.mlp.down_proj.weight", "int4/32", 17.3),
        parts.WorstTensor("target", "layers.0.self_attn.o_proj.weight", "int4/32", 18.9),
        parts.WorstTensor("drafter", "post_projection.weight", "int4", 19.4),
    ),
    cost=parts.CostFigures(
        21.43, 1.29, 33.71, 0.0602, 1.573, 3, 2.977, 1.7536, 0.2512, 1.6977, 1.6211, curve(3, 0.0602, 1.573)
    ),
    engine=parts.EngineFigures(
        "0.18.1", "CPU", 32, 31, 0.6534, 0.6592, 44.9, 72.8, ("Acceptance is the engine's own counter.",)
    ),
    advice=(
        parts.Advice("chat", "on", interval(1.65, 0.14), "Even the low end of the interval is over 1.0×."),
        parts.Advice("code", "on", interval(1.91, 0.12), "Acceptance is high: 0.782 where 0.251 breaks even."),
        parts.Advice("creative", "undecided", interval(1.04, 0.13), "The interval holds 1.0×; more prompts may tell."),
        parts.Advice("extract", "off", interval(0.86, 0.07), "A round costs more than its tokens are worth here."),
    ),
)  # fmt: skip


def _failed() -> Report:
    rungs = list(RUNGS)
    reason = "KL mean is 0.4 nats, needed ≤ 0.1"
    figures = (missed("KL mean", 0.4, "nats", "≤ 0.1"), *RUNGS[3].figures[1:])
    rungs[3] = replace(RUNGS[3], verdict=Verdict.FAILED, reason=reason, figures=figures)
    blind = Control("every draft accepted", False, (Figure("divergences not excused", 0, "", "= 0"),))
    rungs[5] = replace(
        RUNGS[5],
        verdict=Verdict.COULD_NOT_CHECK,
        reason="its control was not rejected (every draft accepted), so holding proves nothing",
        controls=(blind,),
    )
    apart = replace(DIVERGENCES[0], margin=1.74, excused=False, suite="creative")
    return replace(
        FULL,
        outcome=Verdict.FAILED,
        exit_code=3,
        first_failed="quantization",
        rungs=tuple(rungs),
        divergences=(*DIVERGENCES, apart),
    )


FAILED = _failed()

COULD_NOT_CHECK = replace(
    FULL,
    outcome=Verdict.COULD_NOT_CHECK,
    exit_code=4,
    bundle=replace(BUNDLE, draft_steps=None, context_tokens=None, bits_per_weight=None, recipe=None, sources=()),
    rungs=(
        RungResult(
            0, "pairing", "The drafter belongs to this target.", "pairing", Verdict.COULD_NOT_CHECK,
            "the bundle has no drafter section; export one with `edge-mtp export`", (), (), 0.02,
        ),
    ),
    acceptance=(),
    draft_lengths=(),
    quality=(),
    kl_histogram=None,
    divergences=(),
    worst_tensors=(),
    cost=None,
    engine=None,
    advice=(),
)  # fmt: skip

REPORTS = {"held": FULL, "failed": FAILED, "could not check": COULD_NOT_CHECK}


def parsed(report: Report) -> dict[str, Any]:
    """The report as a reader of report.json has it."""
    return json.loads(json.dumps(to_json(report)))
