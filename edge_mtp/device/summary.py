"""From logs to the report: what counts, how fast, how much energy, and whether to switch MTP on."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from edge_mtp import __version__
from edge_mtp.device import facts
from edge_mtp.device.blocks import blocks_of
from edge_mtp.device.energy import BlockEnergy, measure
from edge_mtp.device.energy_figures import energy_figures, gross_amounts, of_class, on_off_ratio, tokens_of
from edge_mtp.device.estimates import LEAST_UNITS, advise, geometric_mean
from edge_mtp.device.host_battery import HostBatteryError, HostLog, join_host
from edge_mtp.device.log import RunLog
from edge_mtp.device.meters import Power
from edge_mtp.device.rates import (
    SPANS,
    PairedPrompt,
    counted_blocks,
    paired_prompts,
    rate_figures,
    rate_source,
)
from edge_mtp.device.report import Advice, ClassFigures, PhoneReport, Report, Settings
from edge_mtp.device.report_facts import LogRemark
from edge_mtp.device.validity import Judgement, judge
from edge_mtp.errors import ExitCode

ALL: Final = "all"
SCRIPTED: Final = Advice("undecided", "the engine plays a script, so its figures are nobody's")


def summarize(logs: Sequence[RunLog], host: HostLog | None, seed: int, now: datetime | None = None) -> Report:
    """The report on all runs; `now` is the time that it carries. HostBatteryError where the host's log is of no run."""
    joined = {log.run.run: join_host(log, host) if host else () for log in logs}
    if host:
        _check_join(logs, host, {run for run, samples in joined.items() if samples})
    phones = tuple(phone_report(Power(log, joined[log.run.run]), seed) for log in logs)
    outcome, code, reason = judge_runs(phones)
    return Report(
        wall_time=(now or datetime.now(UTC)).isoformat(timespec="seconds"),
        edge_mtp_version=__version__,
        outcome=outcome,
        exit_code=int(code),
        reason=reason,
        settings=Settings(seed, LEAST_UNITS, host.path.name if host else None),
        phones=phones,
    )


def _check_join(logs: Sequence[RunLog], host: HostLog, covered: set[str]) -> None:
    """A host's log is of one phone, so it must fall into runs of one phone alone."""
    if not covered:
        first, last = (host.samples[place].wall_time.isoformat(" ", "seconds") for place in (0, -1))
        raise HostBatteryError(
            f"{host.path} goes from {first} to {last}, and no run is in that time; was it taken during another run, "
            "or in another time zone? Times without an offset are taken to be the phone's"
        )
    models = sorted({log.run.device_model for log in logs if log.run.run in covered})
    if len(models) > 1:
        raise HostBatteryError(
            f"{host.path} is in the time of runs on {' and '.join(models)}; a battery log is of one phone, so give "
            "the logs of one phone with it"
        )


def judge_runs(phones: Sequence[PhoneReport]) -> tuple[str, ExitCode, str]:
    """Outcome, exit code and why: failed where MTP was asked for and did not draft, else whether all could compare."""
    silent = [one for one in phones if _silent_trials(one)]
    if silent:
        names = ", ".join(f"{one.phone.device_model} ({_silent_trials(one)} trials)" for one in silent)
        return "failed", ExitCode.GATE_FAILED, f"MTP was asked for and nothing was drafted on {names}"
    empty = [one for one in phones if not one.validity.pairs]
    if empty:
        names = ", ".join(f"{one.phone.device_model} ({one.file})" for one in empty)
        return "could not check", ExitCode.COULD_NOT_CHECK, f"no pair counts in both arms on {names}"
    return "held", ExitCode.HELD, "every run has pairs that count in both arms"


def _silent_trials(phone: PhoneReport) -> int:
    return sum(told.trials for told in phone.validity.reasons if told.reason in ("not_drafting", "fallback"))


def phone_report(power: Power, seed: int) -> PhoneReport:
    """Everything that one run says."""
    log = power.log
    judged, blocks = judge(log), blocks_of(log)
    source = rate_source(one.trial for one in judged if one.counts)
    pairs = paired_prompts(counted_blocks(blocks, judged), source)
    measured = measure(power, blocks, judged)
    energy = energy_figures(log.samples, measured, seed)
    counting = frozenset(one.trial.index for one in judged if one.counts)
    return PhoneReport(
        run=log.run.run,
        file=log.path.name,
        wall_time=log.run.wall_time,
        ended=facts.ended(log),
        duration_s=_duration_s(log),
        scripted=_is_scripted(log),
        rate_source=source,
        phone=facts.phone_facts(log),
        runtime=facts.runtime_facts(log),
        bundle=facts.bundle_facts(log),
        plan=facts.plan_facts(log),
        setting=facts.setting_facts(log),
        remarks=tuple(LogRemark(one.kind, one.line, one.text) for one in log.remarks),
        validity=facts.validity(judged, pairs),
        arms=facts.arm_figures(log, judged, source),
        rates=tuple(rate_figures(span, chosen, blocks, counting, source, seed) for span, chosen in SPANS),
        classes=tuple(class_figures(judged, pairs, measured, energy.source, _is_scripted(log), seed)),
        energy=energy,
        acceptance=facts.acceptance(log, judged),
        texts=facts.texts(judged) if log.run.plan.sampler.top_k == 1 else facts.texts(()),
        trials=facts.trial_figures(log, judged, source),
        heat=facts.heat(power),
    )


def _is_scripted(log: RunLog) -> bool:
    return log.run.runtime.backend == "scripted"


def _duration_s(log: RunLog) -> float:
    return max(one.t_ms for one in (log.run, *log.samples, *log.events, *log.trials)) / 1000


def class_figures(
    judged: Sequence[Judgement],
    pairs: Sequence[PairedPrompt],
    measured: Sequence[BlockEnergy],
    source: str | None,
    scripted: bool,
    seed: int,
) -> list[ClassFigures]:
    """All prompts first, then class by class; an engine that plays a script gets no advice."""
    classes = sorted({one.trial.prompt_class for one in judged if not one.trial.warmup})
    found = []
    for name in (ALL, *classes):
        speed_up = geometric_mean([(one.pair, one.ratio) for one in pairs if name in (ALL, one.prompt_class)], seed)
        own = measured if name == ALL else of_class(measured, name)
        energy = on_off_ratio(gross_amounts(own, source), tokens_of(own), seed) if source else None
        found.append(
            ClassFigures(
                prompt_class=name,
                speed_up=speed_up,
                speed_advice=SCRIPTED if scripted else advise(speed_up, "speed"),
                energy_ratio=energy,
                energy_advice=SCRIPTED if scripted else advise(energy, "energy"),
                mean_length=_mean_length(judged, name),
            )
        )
    return found


def _mean_length(judged: Sequence[Judgement], name: str) -> float | None:
    """Tokens ÷ chunks with MTP on."""
    trials = [one.trial for one in judged if one.counts and one.trial.arm == "spec_on" and one.trial.chunks]
    own = [trial for trial in trials if name in (ALL, trial.prompt_class)]
    chunks = sum(trial.chunks or 0 for trial in own)
    return sum(trial.output_tokens or 0 for trial in own) / chunks if chunks else None
