"""Which trials count: every reason is found where it holds, and only there."""

from dataclasses import replace

import pytest

from edge_mtp.device.log import RunLog
from edge_mtp.device.records import Event
from edge_mtp.device.timeline import Timeline
from edge_mtp.device.validity import CHECKS, WORDS, judge
from tests.device.schemas import LOG
from tests.device.spoiling import Change, event, in_sample, in_trial, log_of

TRIAL = 7
"""A trial of `paired.jsonl` that every change below is aimed at; its neighbours are 6 and 8."""


def span() -> tuple[int, int]:
    trial = log_of("paired").trials[TRIAL]
    return trial.start_t_ms, trial.t_ms


def sampled(first_ms: int, past_ms: int, **values: object) -> Change:
    change = in_sample(**values)
    return lambda record: change(record) if first_ms <= record["t_ms"] < past_ms else record


def reasons(log: RunLog) -> dict[int, tuple[str, ...]]:
    return {one.trial.index: one.reasons for one in judge(log) if one.reasons and not one.trial.warmup}


def test_all_of_the_golden_pairs_count():
    assert reasons(log_of("paired")) == {}


START, END = span()
CASES = {
    "error": (log_of("paired", in_trial(TRIAL, finish_reason="error")), "error"),
    "error text": (log_of("paired", in_trial(TRIAL, error="out of memory")), "error"),
    "cancelled": (log_of("paired", in_trial(TRIAL, finish_reason="cancelled")), "cancelled"),
    "background": (
        log_of("paired", more=(event(START + 10, "background"), event(START + 900, "foreground"))),
        "background",
    ),
    "charging sample": (log_of("paired", sampled(START, END, charging=True)), "charging"),
    "charging for a moment": (
        log_of(
            "paired", more=(event(START + 10, "charging_change", True), event(START + 20, "charging_change", False))
        ),
        "charging",
    ),
    "low power": (log_of("paired", sampled(START, END, low_power_mode=True)), "low_power"),
    "warm": (log_of("paired", sampled(START, END, thermal=1)), "thermal"),
    "battery": (log_of("paired", in_trial(TRIAL, battery_level_end=0.19)), "battery_low"),
    "gate": (log_of("paired", in_trial(TRIAL, gate_passed=False)), "gate_timeout"),
    "no tokens": (log_of("paired", in_trial(TRIAL, output_tokens=0)), "incomplete"),
    "no time": (log_of("paired", in_trial(TRIAL, decode_ms=0)), "incomplete"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_reason_is_found_where_it_holds_and_nowhere_else(name):
    log, reason = CASES[name]
    found = reasons(log)
    assert found[TRIAL] == (reason,)
    # A sample holds until the next one, which may lie in the next trial.
    assert set(found) <= {TRIAL, TRIAL + 1}


@pytest.mark.parametrize("name", CASES)
def test_the_app_is_contradicted_when_it_says_otherwise(name):
    log, reason = CASES[name]
    (told,) = (one for one in judge(log) if one.trial.index == TRIAL)
    assert told.differs == (reason != "incomplete")


def test_the_app_agrees_where_it_gives_the_same_reasons():
    change = in_trial(TRIAL, finish_reason="cancelled", valid=False, invalid_reasons=["cancelled"])
    assert not any(one.differs for one in judge(log_of("paired", change)))
    wrong = in_trial(TRIAL, valid=False, invalid_reasons=["charging"])
    assert [one.trial.index for one in judge(log_of("paired", wrong)) if one.differs] == [TRIAL]


def test_events_just_outside_a_trial_do_not_matter():
    log = log_of("paired")
    before, after = log.trials[TRIAL].start_t_ms, log.trials[TRIAL].t_ms
    more = (event(after, "charging_change", True), event(after + 1, "charging_change", False))
    assert TRIAL not in reasons(log_of("paired", more=more))
    assert before == log.trials[TRIAL - 1].t_ms  # the trials touch, so what ends one begins the next
    unplugged = (event(before - 5, "charging_change", True), event(before, "charging_change", False))
    assert set(reasons(log_of("paired", more=unplugged))) == {TRIAL - 1}


def test_warm_for_less_than_half_of_the_time_counts():
    middle = (START + END) // 2
    long = (event(START, "thermal_change", 1), event(middle + 400, "thermal_change", 0))
    short = (event(START, "thermal_change", 1), event(middle - 400, "thermal_change", 0))
    quiet = in_sample(thermal=None)
    assert set(reasons(log_of("paired", quiet, more=long))) == {TRIAL}
    assert reasons(log_of("paired", quiet, more=short)) == {}


def test_without_samples_the_trials_own_states_tell():
    quiet = in_sample(thermal=None)
    hot = in_trial(TRIAL, thermal_start=1, thermal_end=2)
    assert set(reasons(log_of("paired", quiet, hot))) == {TRIAL}
    assert reasons(log_of("paired", quiet, in_trial(TRIAL, thermal_start=0, thermal_end=2))) == {}


def test_a_sustained_block_may_get_warm():
    assert reasons(log_of("throttling")) == {}

    def shorter(record):
        return {**record, "plan": {**record["plan"], "block_s": 299}} if record["kind"] == "run" else record

    assert {reason for found in reasons(log_of("throttling", shorter)).values() for reason in found} == {"thermal"}


def test_silent_drafting_is_judged_block_by_block():
    log = log_of("sign-flipped")
    block = [trial.index for trial in log.trials if trial.pair == 0 and trial.arm == "spec_on"]
    spoilt = [in_trial(index, chunks=220) for index in block]
    assert reasons(log_of("sign-flipped", *spoilt)) == dict.fromkeys(block, ("not_drafting",))
    assert reasons(log_of("sign-flipped", spoilt[0])) == {}  # the others of its block drafted
    barely = [in_trial(index, chunks=217) for index in block]  # 228 ÷ 217 = 1.0507
    assert reasons(log_of("sign-flipped", *barely)) == {}


def test_a_fallback_voids_what_comes_after_it_with_mtp():
    log = log_of("paired", more=(event(START + 1, "fallback", "no drafter"),))
    on = {trial.index for trial in log.trials if trial.arm == "spec_on" and trial.t_ms > START and not trial.warmup}
    assert reasons(log) == dict.fromkeys(on, ("fallback",))


def test_a_trial_without_a_place_in_the_plan():
    def lost(record):
        return (
            {key: value for key, value in record.items() if key != "pair"} if record.get("index") == TRIAL else record
        )

    assert reasons(log_of("paired", lost)) == {TRIAL: ("no_place",)}


def test_reasons_have_the_documents_order():
    order = LOG.schema["$defs"]["trial"]["properties"]["invalid_reasons"]["items"]["enum"]
    assert [word for word in WORDS if word in order] == order and list(CHECKS) == list(WORDS)
    both = log_of("paired", in_trial(TRIAL, gate_passed=False, finish_reason="cancelled"))
    assert reasons(both) == {TRIAL: ("cancelled", "gate_timeout")}


def test_an_events_value_of_the_wrong_type_tells_nothing():
    more = (event(START + 1, "thermal_change", "hot"), event(START + 2, "battery_step", [0]))
    assert reasons(log_of("paired", more=more)) == {}


def with_event(seq: int, name: str, value: object) -> RunLog:
    """Golden pairs with an event in the very millisecond in which the trial ends; `seq` says on which side of it."""
    log = log_of("paired")
    trial = log.trials[TRIAL]
    told = Event(run=trial.run, seq=trial.seq + seq, t_ms=trial.t_ms, name=name, value=value)
    return replace(log, events=(*log.events, told))


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("charging_change", True, "charging"),
        ("low_power_change", True, "low_power"),
        ("battery_step", 0.1, "battery_low"),
        ("background", None, "background"),
    ],
)
def test_within_a_millisecond_the_logs_order_tells(name, value, reason):
    assert reasons(with_event(-1, name, value))[TRIAL] == (reason,)
    assert TRIAL not in reasons(with_event(1, name, value))


def test_within_a_millisecond_the_logs_order_tells_of_a_fallback():
    arm_on = log_of("paired").trials[TRIAL].arm == "spec_on"
    assert (TRIAL in reasons(with_event(-1, "fallback", "no drafter"))) == arm_on
    assert TRIAL not in reasons(with_event(1, "fallback", "no drafter"))


def test_timelines():
    line = Timeline((10, 20, 30), (False, True, False), (1, 2, 3))
    assert line.during(0, 10) == () and line.during(0, 11) == (False,)
    assert line.during(10, 20) == (False,) and line.during(15, 25) == (False, True)
    assert line.during(10, 20, 2) == (False,) and line.during(10, 20, 3) == (False, True)
    assert line.during(20, 20) == (True,) and line.during(40, 50) == (False,)
    assert line.share(10, 30, bool) == 0.5 and line.share(20, 30, bool) == 1.0 and line.share(0, 10, bool) == 0.0
    assert line.share(25, 25, bool) == 1.0 and Timeline((), (), ()).during(0, 5) == ()
