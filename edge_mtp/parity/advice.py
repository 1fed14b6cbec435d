"""What MTP costs and gains, and whether to switch it on, suite by suite."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge_mtp.intervals import bootstrap_statistic
from edge_mtp.parity.report import Advice, CostFigures, DraftLength, Interval
from edge_mtp.parity.workbench import Replies
from edge_mtp.runner.trace import Costs, Counters, Trace, costs, count, speed_up

CURVE_POINTS: Final = 21
LEAST_PROMPTS: Final = 2


def measured_costs(replies: Sequence[Replies]) -> Costs:
    """Median times of decode, draft step and verify over all replies."""
    return costs(*(one.plain.rounds for one in replies), *(one.drafted.rounds for one in replies))


def cost_figures(replies: Sequence[Replies], draft_steps: int) -> CostFigures | None:
    """Costs of this machine with what follows; None where nothing was drafted."""
    cost = measured_costs(replies)
    counters = sum((count(one.drafted.rounds) for one in replies), Counters())
    gain = speed_up(counters, cost)
    if gain is None or counters.mean_length is None or cost.draft_ratio is None or cost.verify_ratio is None:
        return None
    assert cost.decode_s is not None and cost.draft_step_s is not None and cost.verify_s is not None
    rates = np.linspace(0.0, 1.0, CURVE_POINTS)
    spent = draft_steps * cost.draft_ratio + cost.verify_ratio
    return CostFigures(
        decode_ms=1e3 * cost.decode_s,
        draft_step_ms=1e3 * cost.draft_step_s,
        verify_ms=1e3 * cost.verify_s,
        draft_ratio=cost.draft_ratio,
        verify_ratio=cost.verify_ratio,
        draft_steps=draft_steps,
        mean_length=counters.mean_length,
        break_even_length=gain.break_even_length,
        break_even_rate=gain.break_even_rate,
        predicted_speed_up=gain.predicted,
        measured_speed_up=_measured(replies),
        curve=tuple((float(rate), float((1.0 + draft_steps * rate) / spent)) for rate in rates),
    )


def with_speed_ups(lengths: Sequence[DraftLength], draft_ratio: float, verify_ratio: float) -> tuple[DraftLength, ...]:
    """Draft lengths with what they would gain; `verify` costs the same however few drafts it is given."""
    return tuple(
        DraftLength(
            **{**vars(one), "speed_up": one.mean_length / (one.drafts_a_round * draft_ratio + verify_ratio)},
        )
        for one in lengths
    )


def advise(replies: Sequence[Replies], draft_ratio: float, verify_ratio: float, seed: int) -> Iterator[Advice]:
    """A verdict a suite: on where the whole interval of the speed-up is above 1, off where it is below."""

    def gain(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """[..., (rounds, drafted, accepted)] -> speed-up [...]."""
        rounds, drafted, accepted = sums[..., 0], sums[..., 1], sums[..., 2]
        speed: NDArray[np.float64] = (rounds + accepted) / (drafted * draft_ratio + rounds * verify_ratio)
        return speed

    for suite, members in groupby(replies, key=lambda one: one.task.prompt.suite):
        counters = [count(one.drafted.rounds) for one in members]
        rows = [(c.rounds, c.drafted, c.accepted) for c in counters]
        estimate = bootstrap_statistic(rows, gain, seed)
        if estimate is not None:
            yield _verdict(suite, Interval(*estimate), len(counters))


def _verdict(suite: str, gain: Interval, prompts: int) -> Advice:
    counted = f"{prompts} prompt{'' if prompts == 1 else 's'}"
    where = f"predicted ×{gain.value:.2f} ({gain.low:.2f} to {gain.high:.2f}, {counted})"
    if prompts < LEAST_PROMPTS:
        return Advice(suite, "undecided", gain, f"{where}; one prompt says nothing of the next")
    if gain.low > 1.0:
        return Advice(suite, "on", gain, f"{where}: all of the interval is faster with MTP")
    if gain.high < 1.0:
        return Advice(suite, "off", gain, f"{where}: all of the interval is slower with MTP")
    return Advice(suite, "undecided", gain, f"{where}: the interval holds 1; more prompts would narrow it")


def _measured(replies: Sequence[Replies]) -> float | None:
    """Decode rate with MTP ÷ without, over all replies of more than one token."""
    off, on = _rate([one.plain for one in replies]), _rate([one.drafted for one in replies])
    return on / off if on and off else None


def _rate(traces: Sequence[Trace]) -> float | None:
    tokens = sum(len(trace.tokens) - 1 for trace in traces)
    seconds = sum(trace.total_s - trace.first_token_s for trace in traces if len(trace.tokens) > 1)
    return tokens / seconds if seconds > 0 else None
