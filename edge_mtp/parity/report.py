"""Everything `edge-mtp parity` found, as one value; `report.json` is that value, version by version.

Rates are stored beside the counters they follow from, so that a reader needs no arithmetic. A part that was not
measured is null or an empty list, never a made-up figure.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, Final

from edge_mtp.parity.results import RungResult, Verdict

SCHEMA_VERSION: Final = 1
KIND: Final = "edge_mtp.parity"


@dataclass(frozen=True)
class BundleFacts:
    """The bundle under test; `recipe` is the manifest's recipe name, `sources` its checkpoints, where it has one."""

    file: str
    size_bytes: int
    sha256: str
    draft_steps: int | None
    context_tokens: int | None
    bits_per_weight: float | None
    recipe: str | None
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Environment:
    """What the figures depend on besides the bundle."""

    machine: str
    cpu: str
    cores: int
    threads: int
    python: str
    packages: Mapping[str, str]


@dataclass(frozen=True)
class SuiteFile:
    """A prompt file as it was used; `prompts` counts those that fit the bundle's context, the others were left out."""

    suite: str
    file: str
    sha256: str
    prompts: int


@dataclass(frozen=True)
class Settings:
    """What the run was asked to do."""

    suites: tuple[SuiteFile, ...]
    max_tokens: int
    seed: int
    temperature: float
    backend: str


@dataclass(frozen=True)
class Interval:
    """An estimate between the ends of its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class SuiteAcceptance:
    """Live acceptance on one suite: the bundle's drafter against the bundle's target, K = `draft_steps`.

    `rate_at[i]` is the share of rounds in which draft position i was accepted; `float_rate` is that of the
    checkpoint's float drafter against the same quantized target, null where it was not run.
    """

    suite: str
    prompts: int
    rounds: int
    drafted: int
    accepted: int
    rate: Interval
    rate_at: tuple[float, ...]
    mean_length: float
    float_rate: float | None


@dataclass(frozen=True)
class DraftLength:
    """What another draft length would give, replayed exactly from the same replies.

    `threshold` is 0 for a fixed length; above, drafting stops after a draft less sure than it.
    `speed_up` is predicted from the costs, null where they were not measured.
    """

    steps: int
    threshold: float
    rate: float
    mean_length: float
    drafts_a_round: float
    speed_up: float | None


@dataclass(frozen=True)
class SuiteQuality:
    """The bundle's target against the float checkpoint on one suite's replies, token by token.

    KL(float ‖ bundle) in nats; `top1` and `top5` are shares of tokens with the same best token, and of the five best
    tokens shared; `perplexity_ratio` is bundle ÷ float with its standard error; `divergences_per_1000` counts greedy
    replies' first differing tokens per 1,000 tokens that agreed.
    """

    suite: str
    tokens: int
    kl_mean: float
    kl_p99: float
    kl_max: float
    top1: float
    top5: float
    perplexity_ratio: float
    perplexity_ratio_error: float
    divergences_per_1000: float


@dataclass(frozen=True)
class Histogram:
    """Counts between ascending edges; one more edge than counts. `scale` is "log" or "linear"."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    scale: str


@dataclass(frozen=True)
class Divergence:
    """The first place where two token sequences that should be equal differ.

    `margin` is how firm the expected choice was and `tolerance` what numeric differences can explain, both in
    logits; `excused` is margin < tolerance, which in rung 3 follows from how the two are measured. `context` is the
    text before, `expected` and `found` the two tokens' text.
    """

    rung: int
    arm: str
    suite: str
    prompt: str
    at_token: int
    context: str
    expected: str
    found: str
    margin: float
    tolerance: float
    excused: bool


@dataclass(frozen=True)
class WorstTensor:
    """A weight that quantization hurt most."""

    section: str
    name: str
    format: str
    snr_db: float


@dataclass(frozen=True)
class CostFigures:
    """Median milliseconds of the graphs in our runner, and what follows: c, v, break-even, speed-up.

    `curve` holds (acceptance rate, predicted speed-up) points for the chart at this c and v and K.
    """

    decode_ms: float
    draft_step_ms: float
    verify_ms: float
    draft_ratio: float
    verify_ratio: float
    draft_steps: int
    mean_length: float
    break_even_length: float
    break_even_rate: float
    predicted_speed_up: float
    measured_speed_up: float | None
    curve: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class EngineFigures:
    """LiteRT-LM's own run of the same prompts; `runner_acceptance_rate` is counted as the engine counts."""

    version: str
    backend: str
    texts: int
    texts_equal: int
    acceptance_rate: float | None
    runner_acceptance_rate: float | None
    decode_tokens_per_s_off: float
    decode_tokens_per_s_on: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Advice:
    """Whether to switch MTP on for prompts like a suite's, from this machine's costs: "on", "off", "undecided"."""

    suite: str
    verdict: str
    speed_up: Interval
    reason: str


@dataclass(frozen=True)
class Report:
    """One run of the ladder; `first_failed` is the stage at fault of the lowest rung that failed."""

    wall_time: str
    edge_mtp_version: str
    outcome: Verdict
    exit_code: int
    first_failed: str | None
    bundle: BundleFacts
    environment: Environment
    settings: Settings
    rungs: tuple[RungResult, ...]
    acceptance: tuple[SuiteAcceptance, ...]
    draft_lengths: tuple[DraftLength, ...]
    quality: tuple[SuiteQuality, ...]
    kl_histogram: Histogram | None
    divergences: tuple[Divergence, ...]
    worst_tensors: tuple[WorstTensor, ...]
    cost: CostFigures | None
    engine: EngineFigures | None
    advice: tuple[Advice, ...]


def to_json(report: Report) -> dict[str, Any]:
    """The report as plain JSON values; keys are stable within a schema version."""
    return {"kind": KIND, "schema_version": SCHEMA_VERSION, **asdict(report)}


def finite(value: Any) -> Any:
    """A JSON value with null for every number that is not finite, for which JSON has no spelling."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not isfinite(value) else value
