"""Rung 7: LiteRT-LM's engine writes what our runner writes, and accepts as many drafts.

Prompts go to the engine as rendered text. How near it has to be on its backend says `parity.nearness`. What it does
with an output budget, a stop token inside an accepted block, and a second turn is noted as found: it is the engine's
behaviour, not the bundle's.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from tempfile import TemporaryDirectory
from typing import Final

from edge_mtp.errors import EngineError
from edge_mtp.intervals import more_often
from edge_mtp.parity.losslessness import HELD_P
from edge_mtp.parity.measured import Measured
from edge_mtp.parity.nearness import Bars, bars_for, lag, unshown
from edge_mtp.parity.report import Divergence, EngineFigures
from edge_mtp.parity.results import Control, CouldNotCheckError, Figure, Finding
from edge_mtp.parity.rungs.acceptance import WrongHead
from edge_mtp.parity.rungs.verification import decode_rows
from edge_mtp.parity.workbench import Replies, Task, Workbench, run, spread
from edge_mtp.parity.written import Written
from edge_mtp.runner.engine import EngineOptions, EngineRun, run_engine
from edge_mtp.runner.generate import Finish, Limits, Round
from edge_mtp.runner.sampling import Sampler
from edge_mtp.runner.trace import Counters, Trace, count

RUNG: Final = 7
SECONDS_A_PROMPT: Final = 120.0
TALKS: Final = 2
CONTROL_REPLIES: Final = 6
SECOND_TURN: Final = "And what else?"


def check(bench: Workbench, measured: Measured) -> Finding:
    """Texts with MTP off and on, and the success rate that the engine prints, against the runner's."""
    counters = _as_engine_counts(bench)
    bars, runner_rate = bars_for(bench, measured, counters), sum(counters, Counters()).acceptance_rate
    off, on = _engine_runs(bench, bench.replies)
    arms = {arm: _partings(bench, done, arm, bars) for arm, done in (("MTP off", off), ("MTP on", on))}
    apart = [found for partings in arms.values() for found in partings]
    measured.divergences += tuple(apart)
    unexcused = sum(not found.excused for found in apart)
    measured.engine = _figures(bench, off, on, 2 * len(bench.replies) - len(apart), runner_rate)
    if on.acceptance_rate is None or runner_rate is None:
        return Finding((), (), "the engine was asked to draft and printed no success rate, so it did not")
    distance = abs(on.acceptance_rate - runner_rate)
    figures = (
        Figure("texts equal to the runner's", measured.engine.texts_equal, f"of {measured.engine.texts}"),
        Figure("that part where the choice is within tolerance", len(apart) - unexcused),
        Figure("that part elsewhere", unexcused, bar="0", held=unexcused == 0),
        *_often(bench, arms, bars),
        Figure("engine's draft acceptance rate", on.acceptance_rate, "accepted ÷ drafted"),
        Figure("its distance from the runner's", distance, "", f"≤ {bars.rate:.3g}", distance <= bars.rate),
    )
    return Finding(figures, tuple(_controls(bench, off, on.acceptance_rate, bars)))


def _partings(bench: Workbench, done: EngineRun, arm: str, bars: Bars) -> list[Divergence]:
    """The partings of one engine life from the runner's replies."""
    pairs = zip(bench.replies, done.replies, strict=True)
    found = (_parting(bench, one, reply.text, arm, bars.tolerance) for one, reply in pairs)
    return [one for one in found if one is not None]


def _often(bench: Workbench, arms: Mapping[str, Sequence[Divergence]], bars: Bars) -> Iterator[Figure]:
    """Where the bars say how often texts may part: how often they do, and how many choices the tolerance lets go."""
    moved = bars.moved
    if moved is None:
        return
    margins = [margin for one in bench.replies for current in one.plain.rounds for margin in current.margins]
    within = sum(margin < bars.tolerance for margin in margins) / len(margins)
    yield Figure(f"choices within the tolerance of {bars.tolerance:.3g} logits", within, "of tokens")
    bar = f"p ≥ {HELD_P:g} beside the float checkpoint's {1000.0 * moved.others / moved.tokens:.3g}"
    lengths = {one.task.prompt: len(one.plain.tokens) for one in bench.replies}
    for arm, apart in arms.items():
        left = {(one.suite, one.prompt): one.at_token + 1 for one in apart}
        compared = sum(left.get((prompt.suite, prompt.id), length) for prompt, length in lengths.items())
        held = more_often(len(apart), compared, moved.others, moved.tokens) >= HELD_P
        yield Figure(f"partings, {arm}", 1000.0 * len(apart) / compared, "per 1,000 tokens", bar, held)


def _as_engine_counts(bench: Workbench) -> list[Counters]:
    """Counters of each of the runner's replies as LiteRT-LM 0.18.1 keeps its own: it drafts K tokens in every round.

    The runner drafts no more than the budget has room for. With room for K more, the rounds that begin within the
    budget have the engine's success rate to its last digit; run with the tiny pair at budgets of 4, 16 and 40 tokens.
    """
    most, steps = bench.request.max_tokens, bench.target.max_draft_steps
    roomy, counters = Limits(most + steps, bench.text.stop_tokens), list[Counters]()
    for one in bench.counted("drafts at the end of replies", bench.replies):
        trace = one.drafted
        if any(len(current.drafts) < steps for current in trace.rounds[1:]):
            trace = run(bench.target, bench.drafter, one.task, Sampler(), roomy, bench.how)
        counters.append(count(_begun_within(trace, most)))
    return counters


def _begun_within(trace: Trace, tokens: int) -> Iterator[Round]:
    """The rounds that began when fewer than `tokens` had been emitted."""
    emitted = 0
    for current in trace.rounds:
        if emitted < tokens:
            yield current
        emitted += len(current.tokens)


def _engine_runs(bench: Workbench, replies: Sequence[Replies]) -> tuple[EngineRun, EngineRun]:
    """The same prompts with MTP off and on, each in one engine life that shares a weight cache."""
    prompts = [
        bench.text.render(one.task.prompt.messages) if bench.text.template else one.task.prompt.text for one in replies
    ]
    with TemporaryDirectory(prefix="edge-mtp-engine-") as cache:
        try:
            bench.progress("LiteRT-LM, MTP off", 0, 2)
            off = run_engine(bench.request.bundle, prompts, _options(bench, cache, len(prompts), speculative=False))
            bench.progress("LiteRT-LM, MTP on", 1, 2)
            on = run_engine(bench.request.bundle, prompts, _options(bench, cache, len(prompts), speculative=True))
        except EngineError as error:
            raise CouldNotCheckError(str(error)) from None
    return off, on


def _options(bench: Workbench, cache: str, prompts: int, *, speculative: bool, chat: bool = False) -> EngineOptions:
    return EngineOptions(
        speculative=speculative,
        max_output_tokens=bench.request.max_tokens,
        threads=bench.request.threads,
        backend=bench.request.backend,
        chat=chat,
        cache_dir=cache,
        timeout_s=SECONDS_A_PROMPT * prompts,
        one_conversation=chat,
    )


def _parting(bench: Workbench, one: Replies, text: str, arm: str, tolerance: float) -> Divergence | None:
    """Where the engine's text leaves the runner's plain reply; None where it says the same as far as both go."""
    at = first_parting(bench.written, one.plain, text)
    if at is None:
        return None
    tokens, prompt = one.plain.tokens, one.task.prompt
    shown, rows = bench.written.after_each(tokens), decode_rows(bench.target, one.task, tokens).logits
    said = "" if at == 0 else shown[at - 1]
    margin = min(lag(bench.written, tokens, place, rows[place], text) for place in unshown(shown, at))
    return Divergence(
        rung=RUNG,
        arm=f"runner against LiteRT-LM, {arm}",
        suite=prompt.suite,
        prompt=prompt.id,
        at_token=at,
        context=said[-60:],
        expected=bench.written.token(tokens[at]) or "(end)",
        found=text[len(said) : len(said) + 12] or "(end)",
        margin=margin,
        tolerance=tolerance,
        excused=margin < tolerance,
    )


def first_parting(writer: Written, reply: Trace, text: str) -> int | None:
    """Index of the first token of `reply` that `text` does not have.

    Where the reply spent its budget, more may follow: LiteRT-LM 0.18.1 does not cut its last accepted block. Where it
    ended with a stop token, nothing may, and the stop token is what `text` does not have.
    """
    expected = writer.after_each(reply.tokens)
    for index, beginning in enumerate(expected):
        if not text.startswith(beginning):
            return index
    stopped = reply.rounds[-1].finish is Finish.STOP
    return len(reply.tokens) - 1 if stopped and len(text) > len(expected[-1]) else None


def _figures(bench: Workbench, off: EngineRun, on: EngineRun, equal: int, runner_rate: float | None) -> EngineFigures:
    return EngineFigures(
        version=version("litert-lm-api"),
        backend=bench.request.backend,
        texts=2 * len(bench.replies),
        texts_equal=equal,
        acceptance_rate=on.acceptance_rate,
        runner_acceptance_rate=runner_rate,
        decode_tokens_per_s_off=statistics.median(reply.decode_tokens_per_s for reply in off.replies),
        decode_tokens_per_s_on=statistics.median(reply.decode_tokens_per_s for reply in on.replies),
        notes=tuple(_notes(bench, off, on)),
    )


def _notes(bench: Workbench, off: EngineRun, on: EngineRun) -> Iterator[str]:
    """The engine's behaviour in the cases that users reported."""
    budget = bench.request.max_tokens
    for arm, done in (("off", off), ("on", on)):
        over = [reply.decode_tokens - budget for reply in done.replies if reply.decode_tokens > budget]
        yield (
            f"output budget, MTP {arm}: {len(over)} of {len(done.replies)} replies went over {budget} tokens"
            + (f", by up to {max(over)} (LiteRT-LM#2816 tells of the budget and drafts)" if over else "")
        )
    inside = [i for i, one in enumerate(bench.replies) if _stops_inside_block(one.drafted)]
    right = sum(first_parting(bench.written, bench.replies[i].plain, on.replies[i].text) is None for i in inside)
    yield (
        f"stop token inside an accepted block (LiteRT-LM#3439): {len(inside)} replies of the runner ended so; "
        f"the engine with MTP on wrote {right} of them alike and nothing behind the stop"
    )
    yield from _turns(bench)


def _stops_inside_block(reply: Trace) -> bool:
    """Whether more drafts were accepted than were emitted, because a stop token was among them."""
    last = reply.rounds[-1]
    return last.finish is Finish.STOP and len(last.tokens) <= last.accepted


def _turns(bench: Workbench) -> Iterator[str]:
    """A second turn after replies that ended by themselves, in the engine's own conversation."""
    if not bench.text.template:
        return
    room = bench.text.context_tokens - bench.request.max_tokens
    ended = tuple(
        one
        for one in bench.replies
        if one.plain.rounds[-1].finish is Finish.STOP
        and not one.task.prompt.system
        and len(_second_turn(bench, one).tokens) <= room
    )
    if not ended:
        yield "second turn: not tried, no reply ended by itself within the budget and left room for another"
        return
    chosen = spread(ended, TALKS)
    for speculative in (False, True):
        yield f"second turn, MTP {'on' if speculative else 'off'}: {_turns_told(bench, chosen, speculative)}"


def _turns_told(bench: Workbench, chosen: Sequence[Replies], speculative: bool) -> str:
    """How many talks agree; an engine that fails at it is told of too, since that says nothing of the rung's claim."""
    try:
        equal = sum(_second_turn_equal(bench, one, speculative=speculative) for one in chosen)
    except EngineError as error:
        return f"not told. {error}"
    return f"the engine's conversation and the runner agree on {equal} of {len(chosen)}"


def _second_turn(bench: Workbench, one: Replies) -> Task:
    """The talk so far with the runner's reply, and another question."""
    history = [
        *one.task.prompt.messages,
        {"role": "assistant", "content": bench.text.decode(one.plain.tokens)},
        {"role": "user", "content": SECOND_TURN},
    ]
    return Task(one.task.prompt, tuple(bench.text.chat_prompt(history)))


def _second_turn_equal(bench: Workbench, one: Replies, *, speculative: bool) -> bool:
    """Whether both turns of a talk say the same in the engine and, decoded plainly, in the runner."""
    second = run(bench.target, None, _second_turn(bench, one), Sampler(), bench.limits, None)
    with TemporaryDirectory(prefix="edge-mtp-engine-") as cache:
        options = _options(bench, cache, 2, speculative=speculative, chat=True)
        done = run_engine(bench.request.bundle, [one.task.prompt.text, SECOND_TURN], options)
    replies = zip((one.plain, second), done.replies, strict=True)
    return all(first_parting(bench.written, reply, written.text) is None for reply, written in replies)


def _controls(bench: Workbench, off: EngineRun, rate: float, bars: Bars) -> Iterator[Control]:
    """Texts of other prompts must be told apart, and a drafter with another head must not have the engine's rate."""
    others = [*off.replies[1:], off.replies[0]]
    pairs = zip(bench.replies, others, strict=True)
    apart = [_parting(bench, one, other.text, "", bars.tolerance) for one, other in pairs]
    told = sum(found is not None and not found.excused for found in apart)
    yield Control("the engine's text of another prompt", told > 0, (Figure("told apart", told, f"of {len(apart)}"),))
    wrong = WrongHead(bench.drafter)
    traces = [bench.reply(one.task, how=bench.how, drafter=wrong) for one in spread(bench.replies, CONTROL_REPLIES)]
    found = sum((count(trace.rounds) for trace in traces), Counters()).acceptance_rate or 0.0
    distance = abs(rate - found)
    yield Control("the rate of a drafter with another head", distance > bars.rate, (Figure("distance", distance),))
