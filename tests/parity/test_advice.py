"""What MTP costs and gains, from rounds made by hand: every figure can be worked out on paper."""

from dataclasses import replace

import pytest

from edge_mtp.parity.advice import advise, cost_figures, measured_costs, with_speed_ups
from edge_mtp.parity.report import DraftLength
from edge_mtp.parity.workbench import Replies, Task
from edge_mtp.prompts import Prompt
from edge_mtp.runner.generate import Round
from edge_mtp.runner.trace import Costs, Trace

DECODE_S, DRAFT_S, VERIFY_S = 0.010, 0.001, 0.015
STEPS = 3
COSTS = DRAFT_S / DECODE_S, VERIFY_S / DECODE_S  # c = 0.1, v = 1.5
EVEN = STEPS * COSTS[0] + COSTS[1]  # 1.8 tokens a round
CHEAP, DEAR = (0.05, 1.0), (0.5, 3.0)


def plain_reply(tokens: int, decode_s: float = DECODE_S) -> Trace:
    rounds = tuple(Round(place, (7,), (1.0,), target_s=decode_s) for place in range(tokens))
    return Trace(5, 0.1, 0.1 + decode_s * (tokens - 1), rounds)


def drafted_reply(*accepted: int, steps: int = STEPS) -> Trace:
    """The first token plain, then a round of `steps` drafts for each of `accepted`."""
    rounds = [Round(0, (7,), (1.0,), target_s=DECODE_S)]
    for count in accepted:
        kept = (7,) * (count + 1)
        drafts = (7,) * steps
        rounds.append(Round(0, kept, (1.0,) * len(kept), drafts, count, steps * DRAFT_S, VERIFY_S))
    seconds = len(accepted) * (steps * DRAFT_S + VERIFY_S)
    return Trace(5, 0.1, 0.1 + seconds, tuple(rounds))


def replies(suite: str, *accepted: tuple[int, ...]) -> tuple[Replies, ...]:
    """One prompt for each of `accepted`, the counts of its rounds."""
    made = []
    for number, counts in enumerate(accepted):
        task = Task(Prompt(suite, f"{suite}-{number}", "x"), (1, 2))
        drafted = drafted_reply(*counts)
        made.append(Replies(task, plain_reply(len(drafted.tokens)), drafted))
    return tuple(made)


def verdicts(given: tuple[Replies, ...], costs: tuple[float, float]) -> list[tuple[str, str]]:
    return [(advice.suite, advice.verdict) for advice in advise(given, *costs, seed=0)]


def test_costs_are_medians():
    """One round that took ten times as long, as on a busy machine, changes nothing."""
    (one,) = replies("chat", (3, 2, 1, 0))
    slow = replace(one.drafted.rounds[1], draft_s=1.0, target_s=1.0)
    busy = replace(one, drafted=replace(one.drafted, rounds=(one.drafted.rounds[0], slow, *one.drafted.rounds[2:])))
    for cost in (measured_costs([one]), measured_costs([busy])):
        assert (cost.draft_ratio, cost.verify_ratio) == pytest.approx(COSTS)


def test_cost_figures():
    found = cost_figures(replies("chat", (3, 1), (2, 2)), STEPS)
    assert found is not None
    assert (found.decode_ms, found.draft_step_ms, found.verify_ms) == pytest.approx((10.0, 1.0, 15.0))
    assert (found.draft_ratio, found.verify_ratio, found.draft_steps) == pytest.approx((*COSTS, STEPS))
    assert found.mean_length == pytest.approx(1.0 + 8 / 4)
    assert found.break_even_length == pytest.approx(EVEN)
    assert found.break_even_rate == pytest.approx((EVEN - 1.0) / STEPS)
    assert found.predicted_speed_up == pytest.approx(3.0 / EVEN)
    assert found.measured_speed_up == pytest.approx(3.0 / EVEN), "every second of these replies is one of a round"


def test_the_curve_crosses_one_where_mtp_breaks_even():
    found = cost_figures(replies("chat", (3, 1)), STEPS)
    assert found is not None
    rates, gains = zip(*found.curve, strict=True)
    assert rates[0] == 0.0 and rates[-1] == 1.0 and gains[0] == pytest.approx(1.0 / EVEN)
    below = max(rate for rate, gain in found.curve if gain < 1.0)
    above = min(rate for rate, gain in found.curve if gain > 1.0)
    assert below < found.break_even_rate < above and above - below == pytest.approx(0.05)


@pytest.mark.parametrize(("verify", "alpha"), [(1.0, 0.135), (1.2, 0.27), (1.5, 0.41), (2.0, 0.59)])
def test_break_even_of_independent_drafts(verify, alpha):
    """K = 3, c = 0.05: drafts that are each accepted with probability α give 1 + α + α² + α³ tokens a round."""
    even = Costs(1.0, 0.05, verify).break_even_length(3)
    assert 1.0 + alpha + alpha**2 + alpha**3 == pytest.approx(even, abs=0.02)


@pytest.mark.parametrize("accepted", [(), ((),)], ids=["no prompt", "no round"])
def test_nothing_drafted_has_no_figures(accepted):
    given = replies("chat", *accepted)
    assert cost_figures(given, STEPS) is None and verdicts(given, COSTS) == []


def test_a_reply_of_one_token_measures_no_speed():
    given = replies("chat", (3, 1))
    with_short = (*given, *replies("chat", ()))
    assert cost_figures(with_short, STEPS) == cost_figures(given, STEPS)


def test_on_and_off():
    good, bad = ((3, 3, 2), (3, 2, 3), (2, 3, 3)), ((0, 0, 1), (0, 1, 0), (1, 0, 0))
    given = (*replies("chat", *good), *replies("code", *bad))
    assert verdicts(given, COSTS) == [("chat", "on"), ("code", "off")]
    assert verdicts(given, CHEAP) == [("chat", "on"), ("code", "on")]
    assert verdicts(given, DEAR) == [("chat", "off"), ("code", "off")]


def test_an_interval_that_holds_one_decides_nothing():
    given = replies("chat", (0, 0, 0), (1, 1, 0), (3, 3, 3), (1, 0, 1))
    (advice,) = advise(given, *COSTS, seed=0)
    assert advice.verdict == "undecided" and advice.speed_up.low < 1.0 < advice.speed_up.high
    assert advice.reason.endswith("the interval holds 1; more prompts would narrow it")


@pytest.mark.parametrize("accepted", [(3, 3, 3), (0, 0, 0)])
def test_one_prompt_decides_nothing(accepted):
    (advice,) = advise(replies("chat", accepted), *COSTS, seed=0)
    assert advice.verdict == "undecided"
    assert advice.reason.endswith("1 prompt); one prompt says nothing of the next")
    assert verdicts(replies("chat", accepted, accepted), COSTS)[0][1] in ("on", "off"), "two of the same do"


def test_the_value_is_the_formulas():
    given = replies("chat", (3, 1), (2, 2), (0, 1))
    (advice,) = advise(given, *COSTS, seed=0)
    assert advice.speed_up.value == pytest.approx((1.0 + 9 / 6) / EVEN)
    assert advice.speed_up.low < advice.speed_up.value < advice.speed_up.high
    assert advice.reason.startswith(f"predicted ×{advice.speed_up.value:.2f} (")


def test_drafts_that_a_budget_cut_short_cost_less():
    short = Replies(Task(Prompt("chat", "a", "x"), (1, 2)), plain_reply(2), drafted_reply(1, steps=1))
    (advice,) = advise((short,), *COSTS, seed=0)
    assert advice.speed_up.value == pytest.approx(2.0 / (1 * COSTS[0] + COSTS[1]))


def test_speed_ups_of_draft_lengths():
    rows = (DraftLength(1, 0.0, 0.8, 1.8, 1.0, None), DraftLength(3, 0.4, 0.7, 2.4, 2.0, None))
    found = with_speed_ups(rows, *COSTS)
    assert [row.speed_up for row in found] == pytest.approx([1.8 / 1.6, 2.4 / 1.7])
    assert [replace(row, speed_up=None) for row in found] == list(rows)
