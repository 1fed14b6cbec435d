"""Rung 5: with MTP on the bundle writes what it writes with MTP off, greedily and sampled.

Match acceptance with choices keyed by position must give equal tokens; two texts may part only where the choice was
closer than `verify` and `decode` compute the same logits (rung 4). Rejection sampling gives other tokens of the same
distribution, which a chi-square test looks at.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from edge_mtp.intervals import ChiSquare, chi_square
from edge_mtp.parity.losslessness import BROKEN_RULES, HELD_P, REJECTED_P, distribution_check
from edge_mtp.parity.measured import Measured
from edge_mtp.parity.metrics import first_divergence
from edge_mtp.parity.report import Divergence
from edge_mtp.parity.results import Control, CouldNotCheckError, Figure, Finding
from edge_mtp.parity.rungs import verification
from edge_mtp.parity.workbench import SAMPLED, Task, Workbench, spread
from edge_mtp.runner.acceptance import RejectionRule, accept_rejection
from edge_mtp.runner.drafting import FixedDraft
from edge_mtp.runner.generate import Speculation, one_hot, propose
from edge_mtp.runner.sampling import Probabilities, Sampler, probabilities
from edge_mtp.runner.trace import Trace
from edge_mtp.runner.uniforms import Purpose, splitmix64, uniform

RUNG: Final = 5
SAMPLED_TASKS: Final = 24
ROUNDS: Final = 20_000
ALWAYS: Final = "every draft accepted"


def check(bench: Workbench, measured: Measured) -> Finding:
    """Greedy on every prompt, sampled on some, and the distribution under rejection sampling."""
    if measured.tolerance is None:
        verification.check(bench, measured)
    tolerance = 2.0 * (measured.tolerance or 0.0)
    greedy = [_parting(bench, one.task, one.plain, one.drafted, "greedy", tolerance) for one in bench.replies]
    tasks = spread(bench.tasks, SAMPLED_TASKS)
    sampled = [_sampled(bench, task, tolerance) for task in bench.counted("sampled replies, MTP off and on", tasks)]
    apart = [found for found in (*greedy, *sampled) if found is not None]
    measured.divergences += tuple(apart)
    unexcused = [found for found in apart if not found.excused]
    rounds, real = _distributions(bench)
    figures = (
        Figure("replies compared", len(greedy) + len(sampled)),
        Figure("that part where the choice is within tolerance", len(apart) - len(unexcused)),
        Figure("that part elsewhere", len(unexcused), bar="0", held=not unexcused),
        Figure(
            "chi-square of rejection sampling, p",
            rounds.p_value,
            f"of {ROUNDS:,} rounds",
            f"≥ {HELD_P:g}",
            _kept(rounds),
        ),
        Figure(
            "the same on this bundle's logits, p", real.p_value, f"of {ROUNDS:,} rounds", f"≥ {HELD_P:g}", _kept(real)
        ),
    )
    return Finding(figures, tuple(_controls(bench, tolerance)))


def _kept(test: ChiSquare) -> bool:
    return test.p_value >= HELD_P


def _sampled(bench: Workbench, task: Task, tolerance: float) -> Divergence | None:
    sampler = replace(SAMPLED, seed=bench.request.seed)
    plain, drafted = bench.reply(task, sampler), bench.reply(task, sampler, bench.how)
    return _parting(bench, task, plain, drafted, f"sampled at {sampler.temperature:g}", tolerance)


def _parting(
    bench: Workbench, task: Task, plain: Trace, drafted: Trace, arm: str, tolerance: float
) -> Divergence | None:
    """Where the two replies part, None where they do not."""
    at = first_divergence(plain.tokens, drafted.tokens)
    if at is None:
        return None
    margins = _margins(plain)
    expected, found = plain.tokens[at : at + 1], drafted.tokens[at : at + 1]
    margin = margins[at] if at < len(margins) else float("inf")
    return Divergence(
        rung=RUNG,
        arm=f"MTP off against on, {arm}",
        suite=task.prompt.suite,
        prompt=task.prompt.id,
        at_token=at,
        context=bench.text.decode(plain.tokens[:at])[-60:],
        expected=bench.text.decode(expected),
        found=bench.text.decode(found),
        margin=margin,
        tolerance=tolerance,
        excused=margin < tolerance,
    )


def _margins(reply: Trace) -> list[float]:
    """How firm the choice of each token was."""
    return [margin for current in reply.rounds for margin in current.margins]


def _distributions(bench: Workbench) -> tuple[ChiSquare, ChiSquare]:
    """The test through the whole loop on a made-up pair, and on the bundle's own logits of one round."""
    how = Speculation(FixedDraft(bench.target.max_draft_steps), "rejection", draft_sampled=True)
    bench.progress("rejection sampling", 0, 2)
    made_up = distribution_check(ROUNDS, bench.request.seed, how)
    bench.progress("rejection sampling", 1, 2)
    return made_up, real_distribution(open_round(bench), accept_rejection, bench.request.seed)


@dataclass(frozen=True)
class RealRound:
    """One verified round of the bundle: drafts [n], target_probs [n + 1, kept] of the sampled distribution.

    Only tokens that can be drawn or were drafted are kept, numbered anew; 20,000 rounds over a whole vocabulary would
    take minutes.
    """

    drafts: tuple[int, ...]
    target_probs: Probabilities


def open_round(bench: Workbench) -> RealRound:
    """The round that begins where a greedy reply's next token is least firm: there a wrong rule shows most.

    CouldNotCheckError where no reply has a second token.
    """
    places = [
        (margin, one, index)
        for one in bench.replies
        for index, margin in enumerate(_margins(one.plain))
        if index > 0  # a round begins behind a token of the reply
    ]
    if not places:
        raise CouldNotCheckError("every reply ended with its first token; give other prompts")
    _, one, index = min(places, key=lambda place: place[0])
    return _round_behind(bench, [*one.task.tokens, *one.plain.tokens[:index]])


def _round_behind(bench: Workbench, text: Sequence[int]) -> RealRound:
    """The round that begins with the last token of `text` [2 or more]."""
    target, how = bench.target, bench.how
    target.rewind(0)
    if len(text) > 2:
        target.prefill(text[:-2])
    hidden = target.decode(text[-2]).hidden[0].copy()
    drafts = propose(bench.drafter, text[-1], hidden, target.position, Sampler(), how, how.policy.steps).tokens
    logits = target.verify([text[-1], *drafts]).logits
    probs = np.stack([probabilities(row, SAMPLED) for row in logits])
    kept = np.union1d(np.flatnonzero(probs.any(axis=0)), drafts)
    return RealRound(tuple(int(place) for place in np.searchsorted(kept, drafts)), probs[:, kept])


def real_distribution(real: RealRound, accept: RejectionRule, seed: int) -> ChiSquare:
    """The first token of ROUNDS rounds that all verify the same greedy drafts, against the target's distribution."""
    drafts, wanted = real.drafts, real.target_probs
    drafted = np.stack([one_hot(draft, wanted.shape[1]) for draft in drafts])
    counts = np.zeros(wanted.shape[1])
    for run in range(ROUNDS):
        accepting, choosing = (
            [uniform(splitmix64(seed) + run, slot, purpose) for slot in range(len(wanted))]
            for purpose in (Purpose.ACCEPT, Purpose.CHOICE)
        )
        accepted = accept(drafted, wanted, drafts, accepting, choosing)
        counts[drafts[0] if accepted.count else accepted.token] += 1
    return chi_square(counts, wanted[0])


def _controls(bench: Workbench, tolerance: float) -> Iterator[Control]:
    """Rules that are not lossless."""
    always = replace(bench.how, rule="rejection", rejection=BROKEN_RULES[ALWAYS])
    apart = [
        _parting(bench, one.task, one.plain, bench.reply(one.task, Sampler(), always), "greedy", tolerance)
        for one in spread(bench.replies, SAMPLED_TASKS)
    ]
    unexcused = sum(found is not None and not found.excused for found in apart)
    yield Control(f"{ALWAYS}, greedy", unexcused > 0, (Figure("replies that part", unexcused),))
    for name, rule in BROKEN_RULES.items():
        how = Speculation(FixedDraft(bench.target.max_draft_steps), "rejection", draft_sampled=True)
        test = distribution_check(ROUNDS, bench.request.seed, how, rule)
        yield Control(f"rejection sampling: {name}", test.p_value < REJECTED_P, (Figure("p", test.p_value),))
    real = real_distribution(open_round(bench), BROKEN_RULES[ALWAYS], bench.request.seed)
    yield Control(f"this bundle's logits: {ALWAYS}", real.p_value < REJECTED_P, (Figure("p", real.p_value),))
