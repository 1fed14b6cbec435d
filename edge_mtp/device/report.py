"""Everything `edge-mtp device` found, as one value; `device.json` is that value, version by version.

docs/device-report.md has a table for each class. What was not measured is null or an empty list, never a made-up
figure.
"""

from dataclasses import asdict, dataclass
from typing import Any, Final

from edge_mtp.device.report_facts import BundleFacts, LogRemark, PhoneFacts, PlanFacts, RuntimeFacts, SettingFacts

SCHEMA_VERSION: Final = 1
KIND: Final = "edge_mtp.device"


@dataclass(frozen=True)
class Estimate:
    """A figure over `count` units; the 95 % bootstrap interval is null where there are too few of them."""

    value: float
    low: float | None
    high: float | None
    count: int


@dataclass(frozen=True)
class Advice:
    """ "on", "off" or "undecided", with the reason as a sentence."""

    verdict: str
    reason: str


@dataclass(frozen=True)
class Settings:
    """What the report was asked for; `host_battery` is the file's name."""

    seed: int
    least_units: int
    host_battery: str | None


@dataclass(frozen=True)
class TrialFigures:
    """One generation; `decode_tps` by the run's `rate_source`, `thermal_max` the warmest state in it."""

    index: int
    pair: int | None
    order: int | None
    repeat: int | None
    arm: str
    prompt: str
    prompt_class: str
    start_s: float
    end_s: float
    input_tokens: int | None
    output_tokens: int | None
    chunks: int | None
    finish_reason: str
    ttft_ms: float | None
    decode_tps: float | None
    thermal_max: int | None
    counts: bool
    reasons: tuple[str, ...]
    app_valid: bool
    app_reasons: tuple[str, ...]


@dataclass(frozen=True)
class ReasonCount:
    """How many trials do not count for a reason, and the reason as a sentence; a trial may have several."""

    reason: str
    sentence: str
    trials: int


@dataclass(frozen=True)
class Validity:
    """Trials, those that count, why others do not, and which (by index) the app judged otherwise."""

    trials: int
    counted: int
    pairs: int
    reasons: tuple[ReasonCount, ...]
    app_differs: tuple[int, ...]


@dataclass(frozen=True)
class ArmFigures:
    """Medians over an arm's trials that count, and the largest memory footprint in them."""

    arm: str
    trials: int
    decode_tps: float | None
    prefill_tps: float | None
    ttft_ms: float | None
    mem_peak_bytes: int | None


@dataclass(frozen=True)
class RateFigures:
    """Tokens a second over a span of the blocks: "whole", "cold" or "sustained"; ratio = on ÷ off, pair by pair."""

    span: str
    off: Estimate | None
    on: Estimate | None
    ratio: Estimate | None


@dataclass(frozen=True)
class ClassFigures:
    """On against off for one prompt class, or "all"; energy is on ÷ off J (or percent) a token."""

    prompt_class: str
    speed_up: Estimate | None
    speed_advice: Advice
    energy_ratio: Estimate | None
    energy_advice: Advice
    mean_length: float | None


@dataclass(frozen=True)
class SourceFigures:
    """One meter: amount a token in each arm, gross, in `unit`; `reason` why it read nothing or not everywhere."""

    source: str
    unit: str
    blocks: int
    off: float | None
    on: float | None
    reason: str | None


@dataclass(frozen=True)
class ArmEnergy:
    """An arm's energy by the chosen source; net = gross less what the phone draws while idle."""

    arm: str
    blocks: int
    tokens: int
    mean_w: float | None
    gross_per_token: Estimate | None
    net_per_token: Estimate | None
    tokens_per_percent: Estimate | None


@dataclass(frozen=True)
class VoidBlocks:
    """How many blocks have no energy at all, for a reason."""

    reason: str
    blocks: int


@dataclass(frozen=True)
class EnergyFigures:
    """Energy by the best source that read in both arms, and what every other source says."""

    source: str | None
    unit: str | None
    baseline_w: float | None
    percent_source: str | None
    arms: tuple[ArmEnergy, ...]
    gross_ratio: Estimate | None
    net_ratio: Estimate | None
    sources: tuple[SourceFigures, ...]
    void_blocks: tuple[VoidBlocks, ...]


@dataclass(frozen=True)
class AcceptanceFigures:
    """`engine_rate`: accepted ÷ drafted as the engine said; the others follow from tokens ÷ chunks with MTP on."""

    engine_rate: float | None
    engine_source: str | None
    drafting: str | None
    tokens: int
    chunks: int
    mean_length: float | None
    rate_from_length: float | None


@dataclass(frozen=True)
class TextFigures:
    """Replies of a pair's two arms that were compared (greedy only), and those that were equal."""

    compared: int
    equal: int


@dataclass(frozen=True)
class HeatPoint:
    """The phone at a moment, thinned for a chart; CSV has every sample. `watts` is what left the battery."""

    t_s: float
    thermal: int | None
    temp_c: float | None
    level: float | None
    watts: float | None


@dataclass(frozen=True)
class PhoneReport:
    """One run of one phone."""

    run: str
    file: str
    wall_time: str
    ended: str
    duration_s: float
    scripted: bool
    rate_source: str
    phone: PhoneFacts
    runtime: RuntimeFacts
    bundle: BundleFacts
    plan: PlanFacts
    setting: SettingFacts
    remarks: tuple[LogRemark, ...]
    validity: Validity
    arms: tuple[ArmFigures, ...]
    rates: tuple[RateFigures, ...]
    classes: tuple[ClassFigures, ...]
    energy: EnergyFigures
    acceptance: AcceptanceFigures
    texts: TextFigures
    trials: tuple[TrialFigures, ...]
    heat: tuple[HeatPoint, ...]


@dataclass(frozen=True)
class Report:
    """All runs, in the order in which their files were given."""

    wall_time: str
    edge_mtp_version: str
    outcome: str
    exit_code: int
    reason: str
    settings: Settings
    phones: tuple[PhoneReport, ...]


def to_json(report: Report) -> dict[str, Any]:
    """The report as plain JSON values; keys are stable within a schema version."""
    return {"kind": KIND, "schema_version": SCHEMA_VERSION, **asdict(report)}
