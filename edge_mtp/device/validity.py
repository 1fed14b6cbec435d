"""Which trials count and why others do not: judged anew from samples and events, whatever the app thought.

The words and their order are docs/device-log.md's, with three of the reader's own: `warmup`, `no_place` (no pair in the
plan) and `incomplete` (no tokens, or no time that they took).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from edge_mtp.device.blocks import Block, blocks_of, is_sustained
from edge_mtp.device.log import RunLog
from edge_mtp.device.records import Trial
from edge_mtp.device.timeline import Timeline, background, states

LEAST_TOKENS_A_CHUNK: Final = 1.05
MOST_HOT_SHARE: Final = 0.5

WORDS: Final[Mapping[str, str]] = {
    "warmup": "a warm-up",
    "no_place": "in no pair of the plan",
    "error": "the engine reported an error",
    "cancelled": "cancelled",
    "background": "the app was in the background",
    "not_drafting": "MTP was asked for and nothing was drafted",
    "fallback": "the engine did not start with MTP, so it ran without",
    "charging": "a charger was connected",
    "low_power": "low power mode was on",
    "thermal": "too warm for more than half of the time",
    "battery_low": "the battery was too low",
    "gate_timeout": "it started though its gate had not passed",
    "incomplete": "no tokens, or no time that they took",
}
"""Every reason, in the order in which they are told, with a sentence for people."""
READER_ONLY: Final = frozenset({"warmup", "no_place", "incomplete"})


@dataclass(frozen=True)
class Judgement:
    """Whether a trial counts; `differs` where the app thought otherwise or had other reasons."""

    trial: Trial
    reasons: tuple[str, ...]

    @property
    def counts(self) -> bool:
        """Whether its figures are used."""
        return not self.reasons

    @property
    def differs(self) -> bool:
        """Whether the app judged otherwise; what only the reader asks is left out."""
        asked = tuple(reason for reason in self.reasons if reason not in READER_ONLY)
        told = self.trial.invalid_reasons
        return not self.trial.warmup and (set(asked) != set(told) or (not asked) != self.trial.valid)


@dataclass(frozen=True)
class Evidence:
    """What was known when."""

    log: RunLog
    charging: Timeline
    low_power: Timeline
    thermal: Timeline
    level: Timeline
    background: Timeline
    silent: frozenset[int]
    fallback: tuple[int, int] | None
    """Its ms and seq."""


def judge(log: RunLog) -> tuple[Judgement, ...]:
    """A judgement for every trial, in the log's order."""
    evidence = Evidence(
        log,
        states(log, "charging", "charging_change"),
        states(log, "low_power_mode", "low_power_change"),
        states(log, "thermal", "thermal_change"),
        states(log, "battery_level", "battery_step"),
        background(log),
        frozenset(trial.index for block in blocks_of(log) if _is_silent(block) for trial in block.trials),
        next(((one.t_ms, one.seq) for one in log.events if one.name == "fallback"), None),
    )
    return tuple(Judgement(trial, _reasons(evidence, trial)) for trial in log.trials)


def _reasons(evidence: Evidence, trial: Trial) -> tuple[str, ...]:
    if trial.warmup:
        return ("warmup",)
    return tuple(reason for reason in WORDS if CHECKS[reason](evidence, trial))


def _is_silent(block: Block) -> bool:
    """Whether drafting was asked for and tokens came one by one all the same."""
    known = [trial for trial in block.trials if trial.chunks and trial.output_tokens]
    chunks = sum(trial.chunks or 0 for trial in known)
    tokens = sum(trial.output_tokens or 0 for trial in known)
    return block.arm == "spec_on" and bool(chunks) and tokens / chunks < LEAST_TOKENS_A_CHUNK


def _ever(timeline: Timeline, trial: Trial, holds: Callable[[object], bool] = bool) -> bool:
    return any(holds(value) for value in timeline.during(trial.start_t_ms, trial.t_ms, trial.seq))


def _too_warm(evidence: Evidence, trial: Trial) -> bool:
    if is_sustained(evidence.log):
        return False
    start_ms, end_ms = trial.start_t_ms, trial.t_ms
    if evidence.thermal.during(start_ms, end_ms, trial.seq):
        return evidence.thermal.share(start_ms, end_ms, lambda value: value > 0) > MOST_HOT_SHARE
    return bool(trial.thermal_start and trial.thermal_end)


def _battery_low(evidence: Evidence, trial: Trial) -> bool:
    least = evidence.log.run.plan.gate.min_battery_level
    told = evidence.level.during(trial.start_t_ms, trial.t_ms, trial.seq)
    return any(
        level is not None and level < least for level in (*told, trial.battery_level_start, trial.battery_level_end)
    )


def _fell_back(evidence: Evidence, trial: Trial) -> bool:
    return trial.arm == "spec_on" and evidence.fallback is not None and evidence.fallback < (trial.t_ms, trial.seq)


def is_complete(trial: Trial) -> bool:
    """Whether a rate follows from what the trial says."""
    timed = trial.decode_tps or (trial.decode_ms and (trial.output_tokens or 0) > 1)
    return bool(trial.output_tokens and timed)


CHECKS: Final[Mapping[str, Callable[[Evidence, Trial], bool]]] = {
    "warmup": lambda _, trial: trial.warmup,
    "no_place": lambda _, trial: trial.pair is None or trial.order is None,
    "error": lambda _, trial: trial.finish_reason == "error" or trial.error is not None,
    "cancelled": lambda _, trial: trial.finish_reason == "cancelled",
    "background": lambda evidence, trial: _ever(evidence.background, trial),
    "not_drafting": lambda evidence, trial: trial.index in evidence.silent,
    "fallback": _fell_back,
    "charging": lambda evidence, trial: _ever(evidence.charging, trial),
    "low_power": lambda evidence, trial: _ever(evidence.low_power, trial),
    "thermal": _too_warm,
    "battery_low": _battery_low,
    "gate_timeout": lambda _, trial: trial.gate_passed is False,
    "incomplete": lambda _, trial: not is_complete(trial),
}
"""For every word of `WORDS`, when it is said of a trial."""
