"""Counters and what follows from them, by hand; traces to JSON and back."""

import json
from dataclasses import asdict, replace
from math import inf, isfinite

import pytest

from edge_mtp.runner.generate import Finish, Limits, Round
from edge_mtp.runner.sampling import Sampler
from edge_mtp.runner.trace import (
    SCHEMA_VERSION,
    Costs,
    Counters,
    SpeedUp,
    Trace,
    costs,
    count,
    from_json,
    speed_up,
    to_json,
)
from tests.runner.fakes import tokens_of
from tests.runner.replies import plain_reply, speculative_reply

PLAIN = Round(9, (7,), (0.5,), target_s=0.010)
FULL = Round(10, (1, 2, 3, 4), (1.0,) * 4, (1, 2, 3), 3, draft_s=0.003, target_s=0.014)
HALF = Round(14, (5, 6), (1.0, 0.1), (5, 8, 9), 1, draft_s=0.006, target_s=0.012)
NONE = Round(16, (7,), (0.2,), (1, 2), 0, draft_s=0.004, target_s=0.013)
LAST = Round(17, (8,), (0.3,), target_s=0.012, finish=Finish.LENGTH)
ROUNDS = (PLAIN, FULL, HALF, NONE, LAST)
COUNTERS = Counters(3, (3, 3, 2), (2, 1, 1))


def test_counting_by_hand():
    assert count(ROUNDS) == COUNTERS
    assert (COUNTERS.drafted, COUNTERS.accepted) == (8, 4)
    assert COUNTERS.acceptance_rate == 4 / 8
    assert COUNTERS.rate_at == (2 / 3, 1 / 3, 1 / 2)
    assert COUNTERS.mean_length == 1 + 4 / 3


def test_plain_rounds_do_not_count_as_rounds():
    assert count([FULL, HALF, NONE]) == COUNTERS
    assert count([PLAIN, LAST]) == Counters()
    assert count([replace(PLAIN, drafts=(1,)), FULL]) != count([PLAIN, FULL])


def test_nothing_drafted_has_no_rates():
    nothing = count([PLAIN])
    assert (nothing.acceptance_rate, nothing.mean_length, nothing.rate_at) == (None, None, ())


def test_mean_length_is_what_rounds_emit_where_nothing_cuts_them():
    rounds = [current for current in speculative_reply(Sampler(1.0), limits=Limits(50)) if current.drafts]
    assert count(rounds).mean_length == pytest.approx(len(tokens_of(rounds)) / len(rounds), rel=1e-12)


@pytest.mark.parametrize("cut", range(6))
def test_counters_of_parts_add_up(cut):
    assert count(ROUNDS[:cut]) + count(ROUNDS[cut:]) == COUNTERS


def test_costs_are_medians():
    assert costs(ROUNDS) == Costs(0.011, 0.002, 0.013)
    assert costs([PLAIN], [FULL]) == Costs(0.010, 0.001, 0.014)
    assert costs([PLAIN]) == Costs(0.010, None, None)
    assert costs([FULL]) == Costs(None, 0.001, 0.014)


def test_ratios_by_hand():
    cost = Costs(0.010, 0.0005, 0.012)
    assert cost.draft_ratio == pytest.approx(0.05)
    assert cost.verify_ratio == pytest.approx(1.2)
    assert cost.break_even_length(3) == pytest.approx(1.35)


@pytest.mark.parametrize("missing", ["decode_s", "draft_step_s", "verify_s"])
def test_what_was_not_timed_gives_no_speed_up(missing):
    cost = replace(Costs(0.010, 0.0005, 0.012), **{missing: None})
    assert cost.break_even_length(3) is None
    assert speed_up(COUNTERS, cost) is None


def test_speed_up_by_hand():
    """100 rounds, 300 drafts, 150 accepted: 2.5 tokens for the price of 1.35; even at 1.35, so at .35 of 3 drafts."""
    found = speed_up(Counters(100, (100,) * 3, (80, 50, 20)), Costs(0.010, 0.0005, 0.012))
    assert asdict(found) == pytest.approx(asdict(SpeedUp(2.5 / 1.35, 1.35, 0.35 / 3)))


def test_speed_up_of_rounds_of_different_lengths():
    """8 drafts in 3 rounds: what a round costs follows from the mean."""
    found = speed_up(COUNTERS, Costs(0.010, 0.001, 0.012))
    even = 8 / 3 * 0.1 + 1.2
    assert asdict(found) == pytest.approx(asdict(SpeedUp((7 / 3) / even, even, (even - 1) / (8 / 3))))
    assert speed_up(Counters(), Costs(0.010, 0.001, 0.012)) is None


def test_at_the_break_even_rate_the_speed_up_is_one():
    cost = Costs(0.010, 0.0005, 0.0135)
    rate = speed_up(Counters(1000, (1000,) * 3, (0, 0, 0)), cost).break_even_rate
    even, above = (Counters(1000, (1000,) * 3, (round(3000 * share * rate), 0, 0)) for share in (1.0, 1.1))
    assert speed_up(even, cost).predicted == pytest.approx(1.0)
    assert speed_up(above, cost).predicted > 1.01


def break_even_alpha(steps, draft_ratio, verify_ratio):
    """The chance of each draft, given that those before were accepted, at which a + a² + … = break-even - 1."""
    wanted = Costs(1.0, draft_ratio, verify_ratio).break_even_length(steps)
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(middle**i for i in range(steps + 1)) < wanted else (low, middle)
    return low


@pytest.mark.parametrize(("verify_ratio", "alpha"), [(1.0, 0.131), (1.2, 0.263), (1.5, 0.411), (2.0, 0.592)])
def test_break_even_of_independent_drafts(verify_ratio, alpha):
    """K = 3, c = .05: 1 + a + a² + a³ = 3 c + v."""
    assert break_even_alpha(3, 0.05, verify_ratio) == pytest.approx(alpha, abs=5e-4)
    per_round = sum(alpha**i for i in (1, 2, 3))
    counters = Counters(10**6, (10**6,) * 3, tuple(round(10**6 * alpha**i) for i in (1, 2, 3)))
    assert counters.mean_length == pytest.approx(1 + per_round)
    assert speed_up(counters, Costs(1.0, 0.05, verify_ratio)).predicted == pytest.approx(1.0, abs=2e-3)


def test_a_rate_is_not_the_chance_of_each_draft():
    """The two break-evens differ: a rate counts drafts behind a rejected one as rejected."""
    even = speed_up(COUNTERS, Costs(1.0, 0.05, 1.5)).break_even_length
    assert (even - 1.0) / 3 < break_even_alpha(3, 0.05, 1.5) - 0.1


def test_tokens_a_second():
    trace = Trace(5, 0.2, 1.2, ROUNDS)
    assert trace.tokens == (7, 1, 2, 3, 4, 5, 6, 7, 8)
    assert trace.tokens_per_s == pytest.approx(8 / 1.0)
    assert Trace(5, 0.2, 0.2, (PLAIN,)).tokens_per_s is None
    assert Trace(5, 0.2, 0.2, (PLAIN, LAST)).tokens_per_s is None
    assert Trace(5, 0.2, 1.2, ()).tokens_per_s is None


TRACES = {
    "by hand": ROUNDS,
    "plain": plain_reply(Sampler(0.7)),
    "speculative": speculative_reply(Sampler(1.0, top_p=0.9)),
    "nothing": (),
}


@pytest.mark.parametrize("rounds", TRACES.values(), ids=TRACES)
def test_a_trace_survives_json(rounds):
    trace = Trace(5, 0.25, 1.5, tuple(rounds))
    text = json.dumps(to_json(trace), allow_nan=False)
    assert from_json(json.loads(text)) == trace
    assert from_json(to_json(trace)) == trace
    assert all(isinstance(current.tokens, tuple) for current in from_json(json.loads(text)).rounds)


@pytest.mark.parametrize("temperature", [0.0, 0.05, 1.0])
def test_margins_fit_into_json_however_sure(temperature):
    """JSON has no infinity."""
    rounds = speculative_reply(Sampler(temperature, seed=1))
    assert all(isfinite(margin) for current in rounds for margin in current.margins)
    with pytest.raises(ValueError, match="Out of range"):
        json.dumps(to_json(Trace(1, 0.0, 1.0, (replace(PLAIN, margins=(inf,)),))), allow_nan=False)


def test_every_changed_value_is_seen():
    trace = Trace(5, 0.25, 1.5, ROUNDS)
    for name, value in asdict(PLAIN).items():
        changed = json.loads(json.dumps(to_json(trace)))
        changed["rounds"][0][name] = "stop" if name == "finish" else [3, 4] if isinstance(value, tuple) else 77
        assert from_json(changed) != trace, name


def test_other_json_is_refused():
    good = to_json(Trace(5, 0.25, 1.5, ROUNDS))
    with pytest.raises(ValueError, match=f"version 0, this program reads {SCHEMA_VERSION}"):
        from_json({**good, "schema_version": 0})
    with pytest.raises(KeyError):
        from_json({"rounds": []})
    with pytest.raises(KeyError):
        from_json({key: value for key, value in good.items() if key != "prompt_tokens"})
    with pytest.raises(TypeError):
        from_json({**good, "rounds": [{**good["rounds"][0], "speed": 1}]})
    with pytest.raises(ValueError, match="bored"):
        from_json({**good, "rounds": [{**good["rounds"][0], "finish": "bored"}]})
