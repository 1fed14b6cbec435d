"""What a run's first record says, and what its records count, as the report has them."""

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Final

from edge_mtp.device.log import RunLog
from edge_mtp.device.meters import Power
from edge_mtp.device.rates import PairedPrompt, Source, decoded
from edge_mtp.device.records import ARMS, Arm, Sample, Trial
from edge_mtp.device.report import (
    AcceptanceFigures,
    ArmFigures,
    HeatPoint,
    ReasonCount,
    TextFigures,
    TrialFigures,
    Validity,
)
from edge_mtp.device.report_facts import BundleFacts, PhoneFacts, PlanFacts, RuntimeFacts, SettingFacts
from edge_mtp.device.timeline import Timeline, states
from edge_mtp.device.validity import WORDS, Judgement

MOST_HEAT_POINTS: Final = 400


def phone_facts(log: RunLog) -> PhoneFacts:
    """The phone and the app."""
    run = log.run
    return PhoneFacts(
        run.device_model, run.platform, run.os_version, run.soc, run.ram_bytes, run.cores, run.app_version
    )


def runtime_facts(log: RunLog) -> RuntimeFacts:
    """The engine and how it was started."""
    used = log.run.runtime
    return RuntimeFacts(
        used.name,
        used.version,
        used.backend,
        used.activation,
        used.threads,
        used.max_context_tokens,
        used.cache,
        used.switch,
    )


def bundle_facts(log: RunLog) -> BundleFacts:
    """The bundle that was run."""
    bundle = log.run.bundle
    return BundleFacts(bundle.file, bundle.bytes, bundle.sha256, bundle.has_drafter, bundle.draft_steps)


def plan_facts(log: RunLog) -> PlanFacts:
    """What was to be run."""
    plan = log.run.plan
    return PlanFacts(
        plan.design,
        plan.seed,
        plan.pair_count,
        plan.warmups,
        plan.block_s,
        plan.baseline_s,
        plan.max_output_tokens,
        plan.sampler.temperature,
        plan.sampler.top_k,
        plan.prompt_set,
        plan.prompt_set_sha256,
    )


def setting_facts(log: RunLog) -> SettingFacts:
    """What the user said of the surroundings."""
    said = log.run.setting
    return SettingFacts(said.ambient_c, said.brightness, said.airplane, said.charger, said.note)


def ended(log: RunLog) -> str:
    """The `end` record's reason; "interrupted" where there is none."""
    return "interrupted" if log.end is None else log.end.reason


def validity(judged: Sequence[Judgement], pairs: Sequence[PairedPrompt]) -> Validity:
    """What counts and why the rest does not."""
    counts = Counter(reason for one in judged for reason in one.reasons)
    return Validity(
        trials=len(judged),
        counted=sum(one.counts for one in judged),
        pairs=len({one.pair for one in pairs}),
        reasons=tuple(ReasonCount(reason, words, counts[reason]) for reason, words in WORDS.items() if counts[reason]),
        app_differs=tuple(one.trial.index for one in judged if one.differs),
    )


def trial_figures(log: RunLog, judged: Sequence[Judgement], source: Source) -> tuple[TrialFigures, ...]:
    """A row for every trial, in the log's order."""
    thermal = states(log, "thermal", "thermal_change")
    return tuple(_trial(one, source, thermal) for one in judged)


def _trial(one: Judgement, source: Source, thermal: Timeline) -> TrialFigures:
    trial, found = one.trial, decoded(one.trial, source)
    states_seen = thermal.during(trial.start_t_ms, trial.t_ms, trial.seq)
    return TrialFigures(
        index=trial.index,
        pair=trial.pair,
        order=trial.order,
        repeat=trial.repeat,
        arm=trial.arm,
        prompt=trial.prompt,
        prompt_class=trial.prompt_class,
        start_s=trial.start_t_ms / 1000,
        end_s=trial.t_ms / 1000,
        input_tokens=trial.input_tokens,
        output_tokens=trial.output_tokens,
        chunks=trial.chunks,
        finish_reason=trial.finish_reason,
        ttft_ms=trial.ttft_ms,
        decode_tps=None if found is None else found.tps,
        thermal_max=max(states_seen, default=trial.thermal_end),
        counts=one.counts,
        reasons=one.reasons,
        app_valid=trial.valid,
        app_reasons=trial.invalid_reasons,
    )


def arm_figures(log: RunLog, judged: Sequence[Judgement], source: Source) -> tuple[ArmFigures, ...]:
    """Medians of what counts; memory over the samples of these trials and what the trials say themselves."""
    counting = [one.trial for one in judged if one.counts]
    return tuple(_arm(log, arm, [trial for trial in counting if trial.arm == arm], source) for arm in ARMS)


def _arm(log: RunLog, arm: Arm, own: Sequence[Trial], source: Source) -> ArmFigures:
    indices = {trial.index for trial in own}
    sampled = [one.mem_footprint_bytes for one in log.samples if one.trial in indices]
    peaks = [peak for peak in (*sampled, *(trial.mem_peak_bytes for trial in own)) if peak is not None]
    rates = [found.tps for trial in own if (found := decoded(trial, source)) is not None]
    return ArmFigures(
        arm,
        len(own),
        median(rates) if rates else None,
        _median([trial.prefill_tps for trial in own]),
        _median([trial.ttft_ms for trial in own]),
        max(peaks, default=None),
    )


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def acceptance(log: RunLog, judged: Sequence[Judgement]) -> AcceptanceFigures:
    """The engines' own rate, weighted by their trials, and what tokens ÷ chunks says of the trials that count."""
    engines = [one for one in log.engines if one.speculative]
    known = [(one.acceptance_rate, max(len(one.trials), 1)) for one in engines if one.acceptance_rate is not None]
    weight = sum(trials for _, trials in known)
    words = [one.drafting for one in engines if one.drafting is not None]
    drafted = [one.trial for one in judged if one.counts and one.trial.arm == "spec_on" and one.trial.chunks]
    tokens, chunks = (sum(getattr(trial, key) or 0 for trial in drafted) for key in ("output_tokens", "chunks"))
    length, steps = tokens / chunks if chunks else None, log.run.bundle.draft_steps
    return AcceptanceFigures(
        engine_rate=sum(rate * trials for rate, trials in known) / weight if weight else None,
        engine_source=next((one.acceptance_source for one in engines if one.acceptance_rate is not None), None),
        drafting="inactive" if "inactive" in words else next(iter(words), None),
        tokens=tokens,
        chunks=chunks,
        mean_length=length,
        rate_from_length=(length - 1) / steps if length is not None and steps else None,
    )


def texts(judged: Sequence[Judgement]) -> TextFigures:
    """Pairs of trials with the same pair, repeat and prompt; sampled replies are not compared.

    The app's word goes first: it saw the texts, and a hash does not show that one only goes on where the other was cut.
    """
    groups: dict[tuple[int | None, int | None, str], dict[str, Trial]] = {}
    for trial in (one.trial for one in judged if one.counts and one.trial.output_sha256):
        groups.setdefault((trial.pair, trial.repeat, trial.prompt), {})[trial.arm] = trial
    both = [tuple(arms.values()) for arms in groups.values() if len(arms) == len(ARMS)]
    return TextFigures(len(both), sum(_same_text(one, other) for one, other in both))


def _same_text(one: Trial, other: Trial) -> bool:
    told = next((trial.output_equals_pair for trial in (one, other) if trial.output_equals_pair is not None), None)
    return one.output_sha256 == other.output_sha256 if told is None else told


def heat(power: Power) -> tuple[HeatPoint, ...]:
    """Some 400 moments at most; of the samples that one stands for it has the warmest state."""
    samples = power.log.samples
    every = max(1, -(-len(samples) // MOST_HEAT_POINTS))
    groups = [samples[start : start + every] for start in range(0, len(samples), every)]
    return tuple(_point(group) for group in groups)


def _point(group: Sequence[Sample]) -> HeatPoint:
    last = group[-1]
    known = [one.thermal for one in group if one.thermal is not None]
    return HeatPoint(last.t_ms / 1000, max(known, default=None), last.battery_temp_c, last.battery_level, watts(last))


def watts(sample: Sample) -> float | None:
    """What leaves the battery; negative while it is being charged."""
    if sample.battery_current_ua is None or sample.battery_voltage_mv is None:
        return None
    return -sample.battery_current_ua * sample.battery_voltage_mv * 1e-9
