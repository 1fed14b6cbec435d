"""What the report says of the golden logs, against figures worked out by hand, and how it follows what is changed."""

import json
from dataclasses import replace

import pytest

from edge_mtp.device.records import ARMS
from edge_mtp.device.report import to_json
from tests.device.schemas import GOLDEN
from tests.device.spoiling import event, in_sample, in_trial, log_of, phone_of, report_of

EXPECTED = json.loads((GOLDEN / "expected.json").read_text(encoding="utf-8"))
EXPECTED["interrupted-resumed"] = EXPECTED["interrupted"]


def near(value, **tolerance):
    return None if value is None else pytest.approx(value, **(tolerance or {"rel": 2e-6}))


def value(estimate):
    return None if estimate is None else estimate.value


@pytest.mark.parametrize("name", EXPECTED)
def test_speed(name):
    phone, wanted = phone_of(name), EXPECTED[name]
    assert phone.ended == wanted["ended"]
    for rates in phone.rates:
        assert [value(rates.off), value(rates.on)] == [near(one) for one in wanted["tps"][rates.span]]
    classes = {one.prompt_class: one for one in phone.classes}
    for word, speed_up in wanted["speed_up"].items():
        assert value(classes[word].speed_up) == near(speed_up)
    for word, verdict in wanted["verdict"].items():
        assert classes[word].speed_advice.verdict == verdict
    assert (phone.texts.compared, phone.texts.equal) == tuple(wanted["texts"])


@pytest.mark.parametrize("name", EXPECTED)
def test_validity(name):
    phone, wanted = phone_of(name), EXPECTED[name]
    reasons = dict(wanted["reasons"])
    if reasons.get("not_drafting") == "every spec_on":
        reasons["not_drafting"] = [one.index for one in phone.trials if one.arm == "spec_on" and one.pair is not None]
    found = {reason: [one.index for one in phone.trials if reason in one.reasons] for reason in reasons}
    assert found == reasons
    assert {one.reason: one.trials for one in phone.validity.reasons} == {word: len(at) for word, at in reasons.items()}
    assert (phone.validity.counted, phone.validity.pairs) == (wanted["counted"], wanted["pairs"])
    assert list(phone.validity.app_differs) == wanted["app_differs"]
    assert phone.validity.counted == sum(one.counts for one in phone.trials)


@pytest.mark.parametrize("name", EXPECTED)
def test_energy(name):
    energy, wanted = phone_of(name).energy, EXPECTED[name]["energy"]
    assert energy.source == wanted["source"]
    if energy.source is None:
        assert value(energy.gross_ratio) is None and energy.void_blocks
        return
    assert [value(arm.gross_per_token) for arm in energy.arms] == [near(one) for one in wanted["gross"]]
    assert [value(arm.net_per_token) for arm in energy.arms] == [near(one, rel=1e-5) for one in wanted["net"]]
    assert value(energy.gross_ratio) == near(wanted["ratio"])
    assert energy.baseline_w == near(wanted["baseline_w"])
    rails = next(one for one in energy.sources if one.source == "rails")
    assert [rails.off, rails.on] == [near(one) for one in wanted["rails"]]
    found = [value(arm.tokens_per_percent) for arm in energy.arms]
    assert found == [near(one, rel=0.02) for one in wanted["tokens_per_percent"]]


@pytest.mark.parametrize("name", EXPECTED)
def test_acceptance_and_memory(name):
    phone, wanted = phone_of(name), EXPECTED[name]
    assert phone.acceptance.engine_rate == near(wanted["engine_rate"])
    assert phone.acceptance.mean_length == near(wanted["mean_length"])
    assert phone.arms[0].mem_peak_bytes == wanted["mem_peak_bytes"]


def test_meters_agree_where_a_phone_has_several():
    for name, sources in (("plugged-in", 3), ("throttling", 2), ("sign-flipped", 2)):
        known = [one for one in phone_of(name).energy.sources if one.unit == "J" and one.off and one.source != "rails"]
        assert len(known) == sources
        assert [one.off for one in known] == [near(known[0].off, rel=1e-3)] * sources


def test_a_gauge_with_the_wrong_sign_is_found_out():
    """Its joules are not used: the charge counter's are, and the report says why."""
    phone = phone_of("sign-flipped", in_sample(battery_current_ua=lambda current: -current))
    by_current = next(one for one in phone.energy.sources if one.source == "voltage_current")
    assert by_current.off is None and "unit or sign" in by_current.reason
    assert phone.energy.source == "charge_counter"
    assert value(phone.energy.gross_ratio) == near(EXPECTED["sign-flipped"]["energy"]["ratio"], rel=1e-3)
    without = in_sample(battery_current_ua=lambda current: -current, battery_charge_uah=None)
    assert phone_of("sign-flipped", without).energy.source is None


def test_a_gauge_with_the_wrong_unit_is_found_out():
    phone = phone_of("sign-flipped", in_sample(battery_current_ua=lambda current: current // 1000))
    assert phone.energy.source == "charge_counter"
    assert "mAh were drawn" in phone.energy.sources[0].reason


def test_a_charger_voids_trial_and_block():
    phone = phone_of("sign-flipped", more=(event(130_000, "charging_change", True),))
    voided = [one.index for one in phone.trials if "charging" in one.reasons]
    assert voided == [5]
    assert [(one.reason, one.blocks) for one in phone.energy.void_blocks] == [("a charger was connected", 1)]
    assert phone.energy.gross_ratio.count == 1
    assert phone_of("sign-flipped").energy.gross_ratio.count == 2


def test_an_unpaired_trial_enters_no_ratio():
    """All of one pair's trials with MTP are cancelled; what is left of the pair is fast, and changes no ratio."""
    alone = [one.index for one in phone_of("paired").trials if one.pair == 3 and one.arm == "spec_on"]
    partner = [one.index for one in phone_of("paired").trials if one.pair == 3 and one.arm == "spec_off"]
    spoilt = phone_of("paired", in_trial(alone[0], finish_reason="cancelled"), in_trial(partner[0], decode_ms=1.0))
    dropped = phone_of("paired", lambda one: None if one.get("pair") == 3 and one["kind"] == "trial" else one)
    assert spoilt.validity.pairs == 11 and spoilt.validity.counted == 23
    assert value(spoilt.classes[0].speed_up) == near(value(dropped.classes[0].speed_up))
    assert value(spoilt.classes[0].speed_up) != near(value(phone_of("paired").classes[0].speed_up))


def test_warm_ups_do_not_count():
    fast = phone_of("paired", in_trial(0, decode_ms=1.0), in_trial(1, decode_ms=1.0))
    assert fast.classes == phone_of("paired").classes and fast.rates == phone_of("paired").rates


def test_the_runtimes_rate_and_the_clocks_are_never_mixed():
    assert phone_of("throttling").rate_source == "runtime"
    one_without = phone_of("throttling", lambda one: {k: v for k, v in one.items() if k != "decode_tps"})
    assert one_without.rate_source == "clock"
    assert one_without.trials[5].decode_tps == near((120 - 120 / 50) / 8)


def test_a_minute_is_needed_for_energy_and_five_for_a_sustained_rate():
    short = phone_of("throttling", lambda one: None if one["kind"] == "trial" and one.get("repeat", 0) > 3 else one)
    assert [(one.reason, one.blocks) for one in short.energy.void_blocks] == [("shorter than 60 s", 2)]
    medium = phone_of("throttling", lambda one: None if one["kind"] == "trial" and one.get("repeat", 0) > 10 else one)
    assert medium.energy.source == "voltage_current" and medium.rates[2].off is None
    assert medium.rates[1].off.value == near(10)


def test_a_block_whose_gate_did_not_pass_is_not_cold():
    phone = phone_of("iphone", in_trial(gate_passed=False))
    assert phone.rates[1].off is None and phone.validity.counted == 0
    assert {one.reason for one in phone.validity.reasons} == {"warmup", "gate_timeout"}


def test_an_engine_that_falls_back_is_a_failed_gate():
    report = report_of(log_of("paired", more=(event(0, "fallback", "no drafter"),)))
    assert (report.outcome, report.exit_code) == ("failed", 3)
    assert "Example Phone 9 (12 trials)" in report.reason


def test_outcomes():
    good, silent = log_of("paired"), log_of("silent-no-draft")
    nothing = log_of("iphone", in_trial(gate_passed=False))
    assert [report_of(one).exit_code for one in (good, silent, nothing)] == [0, 3, 4]
    assert report_of(good, nothing).exit_code == 4 and report_of(good, nothing, silent).exit_code == 3
    assert [one.phone.platform for one in report_of(good, nothing).phones] == ["android", "ios"]


def test_more_prompts_of_one_pair_are_no_more_pairs():
    """Six prompts of one pair of blocks were run under the same heat: one unit, so no interval and no verdict."""
    (whole, *classes) = phone_of("throttling").classes
    assert [one.speed_up.count for one in (whole, *classes)] == [1, 1, 1]
    assert whole.speed_up.low is None and "1 pair: too few to tell, 5 are needed" in whole.speed_advice.reason


def test_sampled_replies_are_not_compared():
    def hot(record):
        if record["kind"] != "run":
            return record
        return {**record, "plan": {**record["plan"], "sampler": {**record["plan"]["sampler"], "top_k": 40}}}

    assert phone_of("paired", hot).texts.compared == 0


def test_the_app_saw_the_texts_and_is_believed():
    """With MTP on a text may go on where its budget cut the other: the hashes differ, the app says that it is equal."""
    second = next(one for one in log_of("paired").trials if one.order == 1 and one.prompt != "chat-3")
    before = phone_of("paired").texts.equal
    other = "0" * 64
    assert phone_of("paired", in_trial(second.index, output_sha256=other)).texts.equal == before
    told = in_trial(second.index, output_sha256=other, output_equals_pair=False)
    assert phone_of("paired", told).texts.equal == before - 1

    def silent(record):
        return {key: value for key, value in record.items() if key != "output_equals_pair"}

    assert phone_of("paired", silent).texts.equal == before
    assert phone_of("paired", silent, in_trial(second.index, output_sha256=other)).texts.equal == before - 1


def test_the_series_is_thinned_and_keeps_the_warmest():
    phone, log = phone_of("throttling"), log_of("throttling")
    assert len(phone.heat) <= 400 and max(one.thermal for one in phone.heat) == 2
    assert phone.heat[0].watts == near(5.0) and phone.heat[-1].t_s == log.samples[-1].t_ms / 1000


def test_the_same_logs_give_the_same_report():
    one, other = (to_json(report_of(log_of("paired"))) for _ in range(2))
    assert one == other
    seeded = report_of(log_of("paired"), seed=1)
    assert seeded.phones[0].classes[0].speed_up.low != report_of(log_of("paired")).phones[0].classes[0].speed_up.low
    assert replace(seeded.phones[0].classes[0].speed_up, low=0, high=0) == replace(
        report_of(log_of("paired")).phones[0].classes[0].speed_up, low=0, high=0
    )


def test_arms_come_off_first():
    assert [one.arm for one in phone_of("paired").arms] == list(ARMS)
