"""Rung 6: drafts are accepted often enough, on every suite, and quantization took little of it.

Both drafters run live against the bundle's quantized target: what a float drafter would reach on a float target says
nothing of the bundle.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np

from edge_mtp import names
from edge_mtp.intervals import bootstrap_ratio
from edge_mtp.parity.float_graphs import float_drafter, load_sections
from edge_mtp.parity.measured import Measured
from edge_mtp.parity.report import DraftLength, Interval, SuiteAcceptance
from edge_mtp.parity.results import Control, CouldNotCheckError, Figure, Finding
from edge_mtp.parity.workbench import Replies, Workbench, spread
from edge_mtp.runner.generate import Finish
from edge_mtp.runner.protocols import Drafter, DraftScores, Floats
from edge_mtp.runner.replay import DraftsAfter, drafts_after, replay
from edge_mtp.runner.trace import Counters, Trace, count

THRESHOLDS: Final = (0.2, 0.4, 0.6, 0.8)
CONTROL_TASKS: Final = 6


def check(bench: Workbench, measured: Measured) -> Finding:
    """Acceptance of every suite over its floor, and the float drafter's on the same target close to it."""
    gates = bench.request.gates
    drafter = _float_drafter(bench)
    floats = [
        bench.reply(one.task, how=bench.how, drafter=drafter)
        for one in bench.counted("the float drafter on the bundle's target", bench.replies)
    ]
    measured.acceptance = tuple(_suites(bench, floats))
    measured.draft_lengths = _draft_lengths(bench)
    ours, theirs = _total(one.drafted for one in bench.replies), _total(floats)
    if ours.acceptance_rate is None or theirs.acceptance_rate is None:
        raise CouldNotCheckError("nothing was drafted: every reply ended with its first token; give other prompts")
    loss = theirs.acceptance_rate - ours.acceptance_rate
    bar = f"≥ {gates.acceptance_floor:g}; below it the drafter's wiring is broken"
    silent = {one.task.prompt.suite for one in bench.replies} - {suite.suite for suite in measured.acceptance}
    figures = (
        Figure("draft acceptance rate, all suites", ours.acceptance_rate, "accepted ÷ drafted"),
        *(
            Figure(
                f"draft acceptance rate, {suite.suite}",
                suite.rate.value,
                "",
                bar,
                suite.rate.value >= gates.acceptance_floor,
            )
            for suite in measured.acceptance
        ),
        *(Figure(f"draft acceptance rate, {suite}", "nothing was drafted") for suite in sorted(silent)),
        Figure("float drafter, all suites", theirs.acceptance_rate, "accepted ÷ drafted"),
        Figure("lost to quantization", loss, "", f"≤ {gates.drafter_loss:g}", loss <= gates.drafter_loss),
    )
    return Finding(figures, tuple(_controls(bench)))


def _float_drafter(bench: Workbench) -> Drafter:
    """The checkpoint's own drafter in float32, reading the bundle's caches."""
    directories = (bench.request.target, bench.request.drafter)
    conventions = (bench.lengths, bench.head, bench.position)
    sections = load_sections(bench.pair, *conventions, *directories, bench.torch_threads, (names.DRAFTER,))
    return float_drafter(sections[names.DRAFTER], bench.target)


def _total(traces: Iterator[Trace] | Sequence[Trace]) -> Counters:
    return sum((count(trace.rounds) for trace in traces), Counters())


def _suites(bench: Workbench, floats: Sequence[Trace]) -> Iterator[SuiteAcceptance]:
    pairs = list(zip(bench.replies, floats, strict=True))
    for suite, members in groupby(pairs, key=lambda pair: pair[0].task.prompt.suite):
        chosen = list(members)
        counters = [count(replies.drafted.rounds) for replies, _ in chosen]
        total = sum(counters, Counters())
        rate = bootstrap_ratio([c.accepted for c in counters], [c.drafted for c in counters], bench.request.seed)
        if rate is None or total.mean_length is None:
            continue
        yield SuiteAcceptance(
            suite=suite,
            prompts=len(chosen),
            rounds=total.rounds,
            drafted=total.drafted,
            accepted=total.accepted,
            rate=Interval(*rate),
            rate_at=total.rate_at,
            mean_length=total.mean_length,
            float_rate=_total([trace for _, trace in chosen]).acceptance_rate,
        )


@dataclass(frozen=True)
class _Table:
    """A plain reply with the drafts after each of its tokens; `budget` is what a replay may assume was allowed."""

    reply: tuple[int, ...]
    drafts: tuple[DraftsAfter, ...]
    budget: int


def _draft_lengths(bench: Workbench) -> tuple[DraftLength, ...]:
    """Every shorter draft length, and some confidence thresholds, replayed from one table of drafts a reply."""
    tables = [_table(bench, one) for one in bench.counted("drafts after every token", bench.replies)]
    most = bench.target.max_draft_steps
    settings = [(steps, 0.0) for steps in range(1, most + 1)] + [(most, threshold) for threshold in THRESHOLDS]
    return tuple(filter(None, (_draft_length(tables, *setting) for setting in settings)))


def _draft_length(tables: Sequence[_Table], steps: int, threshold: float) -> DraftLength | None:
    counters = sum((replay(t.reply, t.drafts, t.budget, steps, threshold) for t in tables), Counters())
    if counters.acceptance_rate is None or counters.mean_length is None:
        return None
    drafts = counters.drafted / counters.rounds
    return DraftLength(steps, threshold, counters.acceptance_rate, counters.mean_length, drafts, None)


def _table(bench: Workbench, replies: Replies) -> _Table:
    """Decodes the plain reply once more and drafts K tokens after each of its tokens."""
    target, tokens, task = bench.target, replies.plain.tokens, replies.task
    target.rewind(0)
    target.prefill(task.tokens[:-1])
    hidden = target.decode(task.tokens[-1]).hidden[0].copy()
    drafts: list[DraftsAfter] = []
    for token in tokens:
        drafts.append(drafts_after(bench.drafter, token, hidden, target.position, target.max_draft_steps))
        if len(drafts) < len(tokens):
            hidden = target.decode(token).hidden[0].copy()
    stopped = replies.plain.rounds[-1].finish is Finish.STOP
    return _Table(tokens, tuple(drafts), bench.request.max_tokens if stopped else len(tokens))


class WrongHead:
    """A drafter whose every logit belongs to the token before: the right model with another vocabulary."""

    def __init__(self, drafter: Drafter) -> None:
        self._drafter = drafter

    def draft(self, token: int, hidden: Floats, position: int) -> DraftScores:
        """See `protocols.Drafter`."""
        scores = self._drafter.draft(token, hidden, position)
        return DraftScores(np.roll(scores.logits, 1), scores.hidden)


class OtherModel:
    """A drafter of another model: it knows tokens and hidden states by other numbers."""

    def __init__(self, drafter: Drafter) -> None:
        self._drafter = drafter

    def draft(self, token: int, hidden: Floats, position: int) -> DraftScores:
        """See `protocols.Drafter`."""
        return self._drafter.draft(max(token - 1, 0), np.roll(hidden, 1), position)


def _controls(bench: Workbench) -> Iterator[Control]:
    """Drafters that do not belong to the target fall below the floor, or lose more than quantization may."""
    gates, chosen = bench.request.gates, spread(bench.replies, CONTROL_TASKS)
    right = _total([one.drafted for one in chosen]).acceptance_rate or 0.0
    spoilt: Mapping[str, Drafter] = {
        "drafter with another head": WrongHead(bench.drafter),
        "drafter of another model": OtherModel(bench.drafter),
    }
    for name, drafter in spoilt.items():
        counters = _total([bench.reply(one.task, how=bench.how, drafter=drafter) for one in chosen])
        rate = counters.acceptance_rate or 0.0
        rejected = rate < gates.acceptance_floor or right - rate > gates.drafter_loss
        yield Control(name, rejected, (Figure("draft acceptance rate", rate), Figure("instead of", right)))
