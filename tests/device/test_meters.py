"""Six meters: constant power gives what it must, gaps and contradictions are told, and too little is not enough."""

import json
from pathlib import Path

import pytest

from edge_mtp.device.blocks import blocks_of
from edge_mtp.device.energy import baselines, idle_stretches, measure
from edge_mtp.device.host_battery import join_host, read_host_battery
from edge_mtp.device.meters import NoReading, Power, Reading, moves, read
from edge_mtp.device.validity import judge
from tests.device.spoiling import Change, in_sample, log_of, report_of

OFF_MS = (439_000, 758_000)
"""The block without MTP of `throttling.jsonl`: 5 W for 319 s."""


def throttling(*changes: Change) -> Power:
    return Power(log_of("throttling", *changes))


def dropped(first_ms: int, past_ms: int, every: int = 1) -> Change:
    def change(record):
        hit = record["kind"] == "sample" and first_ms <= record["t_ms"] < past_ms
        return None if hit and record["seq"] % every == 0 else record

    return change


def joules(source: str, power: Power, span=OFF_MS) -> float:
    found = read(source, power, *span)
    assert isinstance(found, Reading), found
    return found.amount


def refusal(source: str, power: Power, span=OFF_MS) -> str:
    found = read(source, power, *span)
    assert isinstance(found, NoReading), found
    return found.reason


def test_the_block_is_where_the_test_thinks():
    blocks = {block.arm: block for block in blocks_of(log_of("throttling"))}
    assert (blocks["spec_off"].start_ms, blocks["spec_off"].end_ms) == OFF_MS
    assert blocks["spec_off"].duration_s == 319


@pytest.mark.parametrize(("source", "watts"), [("voltage_current", 5.0), ("charge_counter", 5.0), ("rails", 3.0)])
def test_constant_power(source, watts):
    assert joules(source, throttling()) == pytest.approx(watts * 319, rel=1e-4)
    half = (OFF_MS[0], OFF_MS[0] + 100_000)
    assert joules(source, throttling(), half) == pytest.approx(watts * 100, rel=1e-4)


def test_a_ramp_is_integrated_by_trapezoids():
    """From 0 to 1 W over 100 s is 50 J; a sum of rectangles from the left would be 49."""
    start = OFF_MS[0]

    def ramp(record):
        if record["kind"] != "sample" or not start <= record["t_ms"] <= start + 100_000:
            return record
        share = (record["t_ms"] - start) / 100_000
        return {**record, "battery_current_ua": -round(250_000 * share), "battery_charge_uah": 1000}

    # Samples lie on even seconds and the block starts on an odd one: the ends hold their nearest sample.
    assert joules("voltage_current", throttling(ramp), (start, start + 100_000)) == pytest.approx(50, rel=2e-3)


def test_short_gaps_are_bridged_and_long_ones_left_out():
    whole = joules("voltage_current", throttling())
    every_second = throttling(dropped(*OFF_MS, every=2))
    assert joules("voltage_current", every_second) == pytest.approx(whole)
    gap = throttling(dropped(500_000, 520_000))
    found = read("voltage_current", gap, *OFF_MS)
    assert found.amount == pytest.approx(whole) and found.covered == pytest.approx(1 - 22 / 319)
    long_gap = throttling(dropped(500_000, 540_000))
    assert refusal("voltage_current", long_gap) == "current and voltage cover 87% of the time, 90% are needed"
    late = throttling(dropped(OFF_MS[0], OFF_MS[0] + 60_000))
    assert "cover 81%" in refusal("voltage_current", late)


def test_power_in_a_gap_is_not_made_up():
    """5 W, then 36 W for 20 s up to a gap of 26 s: the gap counts as the mean of the rest, not as its hot end."""

    def hot(record):
        late = record["kind"] == "sample" and 470_000 <= record["t_ms"] <= 490_000
        return {**record, "battery_current_ua": -9_000_000} if late else record

    power = throttling(in_sample(battery_charge_uah=None), hot, dropped(491_000, 515_000))
    known_s = 319 - 26
    known_j = 5 * (known_s - 20) + 36 * 20 + 31  # the ramp up from 5 to 36 W takes 2 s
    assert joules("voltage_current", power) == pytest.approx(known_j * 319 / known_s, rel=2e-3)


def test_a_counter_has_to_move():
    frozen = in_sample(battery_charge_uah=3_000_000)
    assert refusal("charge_counter", throttling(frozen)) == "the charge counter moved 0 times, 4 are needed"
    assert refusal("charge_counter", throttling(in_sample(battery_charge_uah=None))).endswith("is not in the log")
    no_volts = throttling(in_sample(battery_voltage_mv=None))
    assert "no voltage" in refusal("charge_counter", no_volts) and "not there" in refusal("voltage_current", no_volts)


def test_a_coarse_counter_is_read_at_its_moves():
    coarse = throttling(in_sample(battery_charge_uah=lambda charge: charge // 10_000 * 10_000))
    assert joules("charge_counter", coarse) == pytest.approx(1595, rel=0.02)
    ends = coarse.samples(*OFF_MS)
    naive = (ends[0].battery_charge_uah - ends[-1].battery_charge_uah) * 1e-6 * 3600 * 4
    assert abs(naive - 1595) > 3 * abs(joules("charge_counter", coarse) - 1595)


def test_counters_that_rise_are_refused():
    rising = throttling(in_sample(battery_charge_uah=lambda charge: 6_000_000 - charge))
    assert "being charged" in refusal("charge_counter", rising)
    assert "unit or sign" in refusal("voltage_current", rising)


def test_battery_steps():
    phone = Power(log_of("iphone"))
    on = (8_000, 908_000)
    assert joules("battery_steps", phone, on) == pytest.approx(22.5)
    assert refusal("battery_steps", phone, (8_000, 600_000)) == "the battery level moved 3 times, 4 are needed"
    without = Power(log_of("iphone", lambda one: None if one.get("name") == "battery_step" else one))
    assert joules("battery_steps", without, on) == pytest.approx(22.5)  # the samples tell it too
    assert "cover" not in refusal("battery_steps", Power(log_of("paired")), (0, 150_000))


def test_rails_cover_the_time():
    late = throttling(dropped(OFF_MS[0], 600_000))
    assert refusal("rails", late) == "power monitors cover 49% of the time"


def host_file(tmp_path: Path, **values: object) -> Path:
    lines = []
    for second in range(1868):
        minute, rest = divmod(second, 60)
        now = f"2026-03-01T15:{minute:02}:{rest:02}+01:00"
        sample = {"wall_time": now, "current_ua": -2_000_000, "voltage_mv": 3800, "charging": False}
        lines.append(json.dumps(sample | values))
    path = tmp_path / "battery.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_a_hosts_log_gives_joules_to_a_phone_without_a_gauge(tmp_path):
    """7.6 W for 900 s a block: 0.407 J/token without MTP, 0.271 with."""
    host = read_host_battery(host_file(tmp_path))
    (phone,) = report_of(log_of("iphone"), host=host).phones
    assert phone.energy.source == "host_log"
    found = [arm.gross_per_token.value for arm in phone.energy.arms]
    assert found == [pytest.approx(7.6 * 900 / tokens) for tokens in (16_800, 25_200)]
    assert report_of(log_of("iphone")).phones[0].energy.source == "battery_steps"
    assert phone.energy.percent_source == "battery_steps"


def test_a_hosts_cable_voids_its_log(tmp_path):
    host = read_host_battery(host_file(tmp_path, charging=True))
    log = log_of("iphone")
    assert "charging; read the battery over the network" in refusal(
        "host_log", Power(log, join_host(log, host)), (8_000, 908_000)
    )


def test_baselines_are_of_the_idle_time_around_a_pair():
    log = log_of("sign-flipped")
    power, blocks = Power(log), blocks_of(log)
    assert baselines(power, "voltage_current", blocks) == {0: pytest.approx(1.0), 1: pytest.approx(1.0)}
    stretches = idle_stretches(log.samples)
    assert len(stretches) == 3 and stretches[1][1] - stretches[1][0] == 39_000  # after pair 0, and before pair 1

    def warmer(record):
        late = record["kind"] == "sample" and record["t_ms"] > 330_000
        return {**record, "battery_current_ua": -500_000} if late else record

    changed = log_of("sign-flipped", warmer, in_sample(battery_charge_uah=None))
    found = baselines(Power(changed), "voltage_current", blocks)
    assert found[0] == pytest.approx(1.0) and 1.2 < found[1] < 1.5


def test_a_plugged_in_baseline_is_none():
    plugged = log_of("sign-flipped", lambda one: {**one, "charging": True} if one.get("phase") == "baseline" else one)
    assert idle_stretches(plugged.samples) == []
    measured = measure(Power(plugged), blocks_of(plugged), judge(plugged))
    assert all(one.net("voltage_current") is None for one in measured)
    assert any(one.amount("voltage_current") for one in measured)


def test_moves():
    assert moves([(0, 1.0), (1, 1.0), (2, 0.5), (3, 0.5), (4, 0.7)]) == [(2, 0.5), (4, 0.7)]
    assert moves([]) == []
