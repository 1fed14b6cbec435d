"""Writes the golden plans and logs of this directory anew: `python -m tests.golden.device.write`.

README.md says what each phone does and how expected.json follows from it. Deterministic: a second run changes nothing.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.golden.device.given import ANDROID, IPHONE, PROMPTS, TWELVE, about, lengths
from tests.golden.device.phone import Phone, below, plan, sha256, splitmix64

HERE = Path(__file__).parent


def arms_of(first: str) -> list[str]:
    return [first, "spec_on" if first == "spec_off" else "spec_off"]


def finish(phone: Phone, accepted: float | None) -> str:
    """Two engines unloaded, and the end."""
    records = [json.loads(line) for line in phone.lines]
    for number, arm in enumerate(("spec_off", "spec_on")):
        trials = [one["index"] for one in records if one["kind"] == "trial" and one["arm"] == arm]
        known = accepted if arm == "spec_on" else None
        source = {"acceptance_source": "none"}
        if known is not None:
            source = {"acceptance_rate": known, "acceptance_source": "runtime_log"}
        drafting = "off" if arm == "spec_off" else "inactive" if accepted is None else "active"
        phone.write(
            "engine",
            index=number,
            speculative=arm == "spec_on",
            trials=trials,
            load_ms=2400,
            **source,
            drafting=drafting,
        )
    trials = {
        arm: {"trials": sum(1 for one in records if one["kind"] == "trial" and one["arm"] == arm)}
        for arm in ("spec_off", "spec_on")
    }
    phone.write("end", reason="finished", summary=trials)
    return phone.text()


def throttling() -> str:
    """One sustained pair of 300 s blocks; 10 → 6 tok/s without and 15 → 8 with MTP from some 130 s on."""
    phone = Phone(
        "00000000-0000-4000-8000-000000000001",
        plan(42, 1, PROMPTS, "golden", **lengths(300, 60, 120, 60)),
        period_ms=2000,
        **about(ANDROID, 9),
    )
    phone.event("current_calibration", {"unit": "ua", "discharge_sign": -1, "samples": 10, "idle_ua": -250000})
    phone.current_ua = -1_250_000
    phone.warm_up()
    phone.baseline()
    rates = {  # fast tok/s, how many such trials, slow tok/s, current, watts of two rails
        "spec_off": (10.0, 10, 6.0, -1_250_000, (2.0, 1.0)),
        "spec_on": (15.0, 15, 8.0, -1_500_000, (2.5, 1.5)),
    }
    pair = phone.plan["pairs"][0]
    for order, arm in enumerate(arms_of(pair["first"])):
        fast_tps, fast, slow_tps, phone.current_ua, (cpu, gpu) = rates[arm]
        phone.rails_w = {"CPU_BIG": cpu, "GPU": gpu}
        phone.event("block", {"pair": 0, "order": order, "arm": arm})
        start, repeat = phone.t_ms, 0
        while phone.t_ms - start < 300_000:
            if repeat == fast:
                phone.change(thermal=1)
            if repeat == fast + 4:
                phone.change(thermal=2)
            tps = fast_tps if repeat < fast else slow_tps
            prompt = pair["prompts"][repeat % len(PROMPTS)]
            chunks = 120 if arm == "spec_off" else 50
            place = {"pair": 0, "order": order, "repeat": repeat, "decode_tps": tps}
            phone.generate(arm, prompt, 120, chunks, 1000, round(120_000 / tps), **place)
            repeat += 1
        phone.current_ua, phone.rails_w = -250_000, {"CPU_BIG": 0.1, "GPU": 0.0}
        phone.change(thermal=1)
        if order == 0:
            phone.spend(60_000, "cooldown")
            phone.change(thermal=0)
    phone.change(thermal=0)
    phone.baseline()
    return finish(phone, 0.5)


def blocks(phone: Phone, currents_ua: dict[str, int], hook: Callable[[int, int, int], dict[str, Any]]) -> None:
    """All pairs of 60 s blocks of three trials of 20 s: 190 tokens at 10 tok/s, 228 at 12 tok/s."""
    for pair in phone.plan["pairs"]:
        phone.baseline()
        for order, arm in enumerate(arms_of(pair["first"])):
            phone.event("block", {"pair": pair["pair"], "order": order, "arm": arm})
            phone.current_ua = currents_ua[arm]
            tokens, chunks, tps = (190, 190, 10.0) if arm == "spec_off" else (228, 95, 12.0)
            for repeat in range(3):
                said = hook(pair["pair"], order, repeat)
                place = {"pair": pair["pair"], "order": order, "repeat": repeat, "decode_tps": tps}
                phone.generate(arm, pair["prompts"][0], tokens, chunks, 1000, 19_000, **place, **said)
        phone.baseline()


def plugged_in() -> str:
    """Two pairs of 60 s blocks; the charger goes in before the last block's second trial; the app misses it once."""
    phone = Phone(
        "00000000-0000-4000-8000-000000000002",
        plan(7, 2, PROMPTS, "golden", **lengths(60, 20, 228)),
        **about(ANDROID, 10, backend="gpu", activation="fp16"),
    )
    phone.gauge = ("battery_current_raw", "battery_current_ua", "battery_charge_uah", "battery_energy_nwh")
    phone.event("current_calibration", {"unit": "ua", "discharge_sign": -1, "samples": 10, "idle_ua": -250000})
    phone.current_ua = -1_000_000
    phone.warm_up()

    def plug(pair: int, order: int, repeat: int) -> dict[str, Any]:
        if (pair, order, repeat) == (1, 1, 1):
            phone.change(charging=True)
            phone.current_ua = 900_000
        if (pair, order, repeat) == (1, 1, 2):
            return {"valid": False, "invalid_reasons": ["charging"]}
        return {}

    blocks(phone, {"spec_off": -1_000_000, "spec_on": -1_100_000}, plug)
    return finish(phone, 0.47)


def sign_flipped() -> str:
    """The gauge says milliamperes, positive while discharging; the app learns so while idle, then writes the rest."""
    phone = Phone(
        "00000000-0000-4000-8000-000000000003",
        plan(3, 2, PROMPTS, "golden", **lengths(60, 20, 228)),
        **about(ANDROID, 11),
    )
    phone.raw = lambda current_ua: -current_ua // 1000
    phone.gauge = ("battery_current_raw", "battery_charge_uah")
    phone.current_ua = -250_000
    phone.spend(30_000, "idle")
    phone.event("current_calibration", {"unit": "ma", "discharge_sign": 1, "samples": 30, "idle_ua": -250000})
    phone.gauge = ("battery_current_raw", "battery_current_ua", "battery_charge_uah")
    phone.current_ua = -1_000_000
    phone.warm_up()
    blocks(phone, {"spec_off": -1_000_000, "spec_on": -1_100_000}, lambda pair, order, repeat: {})
    return finish(phone, 0.47)


def trial_by_trial(phone: Phone, pairs: int, on: Callable[[str], tuple[int, int]]) -> None:
    """Pairs of one trial an arm, 60 tokens; without MTP 5.9 s, which is 10 tok/s; `on` gives chunks and ms with it."""
    for pair in phone.plan["pairs"][:pairs]:
        for order, arm in enumerate(arms_of(pair["first"])):
            prompt = pair["prompts"][0]
            chunks, decode_ms = (60, 5900) if arm == "spec_off" else on(prompt)
            same = {"output_equals_pair": prompt != "chat-3"} if order else {}
            text = {"output_sha256": sha256(prompt + (arm if prompt == "chat-3" else ""))}
            place = {"pair": pair["pair"], "order": order, "repeat": 0}
            phone.generate(arm, prompt, 60, chunks, 500, decode_ms, **place, **same, **text)


def interrupted() -> tuple[str, str]:
    """Killed in the third pair, its last line cut; and the same file after the app's next start."""
    phone = Phone(
        "00000000-0000-4000-8000-000000000004", plan(5, 6, PROMPTS, "golden", **lengths(0, 0, 60)), **about(ANDROID, 12)
    )
    phone.current_ua = -1_000_000
    phone.warm_up()
    trial_by_trial(phone, 2, lambda prompt: (24, 3833))
    phone.spend(3000, "decode", phone.trials)
    whole, last = phone.lines[:-1], phone.lines[-1]
    cut = "".join(line + "\n" for line in whole) + last[: len(last) // 2]
    phone.seq -= 1
    phone.t_ms = json.loads(whole[-1])["t_ms"]
    phone.event("interrupted", {"wall_time": "2026-03-01T12:31:00.000+01:00"})
    return cut, cut + "\n" + phone.lines[-1] + "\n"


def silent_no_draft() -> str:
    """Drafting is asked for and the engine says nothing, but one token comes a chunk in both arms."""
    phone = Phone(
        "00000000-0000-4000-8000-000000000005", plan(6, 6, PROMPTS, "golden", **lengths(0, 0, 60)), **about(ANDROID, 13)
    )
    phone.current_ua = -1_000_000
    phone.warm_up()
    trial_by_trial(phone, 6, lambda prompt: (60, 6000))
    text = finish(phone, None).splitlines()
    records = [json.loads(line) for line in text]
    for record in records:
        if record["kind"] == "trial" and record["arm"] == "spec_on":
            record |= {"valid": False, "invalid_reasons": ["not_drafting"]}
    return "".join(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n" for record in records)


PAIRED_MS = {
    "code-1": 3800, "code-2": 4000, "code-3": 4750, "code-4": 3800, "code-5": 4560, "code-6": 3750,
    "chat-1": 6500, "chat-2": 7800, "chat-3": 6000, "chat-4": 6250, "chat-5": 6500, "chat-6": 7500,
}  # fmt: skip


def paired() -> str:
    """Twelve pairs of single trials: MTP is faster for code and slower for chat. No decode_tps: the app's clock."""
    phone = Phone(
        "00000000-0000-4000-8000-000000000006", plan(8, 12, TWELVE, "twelve", **lengths(0, 0, 60)), **about(ANDROID, 14)
    )
    phone.current_ua = -1_000_000
    phone.warm_up()
    trial_by_trial(phone, 12, lambda prompt: (20 if prompt.startswith("code") else 40, PAIRED_MS[prompt]))
    return finish(phone, 0.33)


def iphone() -> str:
    """One sustained pair of 900 s blocks; no gauge, and a battery level that moves by 5 %: every 240 s, then 200 s."""
    phone = Phone(
        "00000000-0000-4000-8000-000000000007",
        plan(9, 1, PROMPTS, "golden", **lengths(900, 0, 560)),
        period_ms=5000,
        **about(IPHONE, 15, backend="gpu", activation="fp16", switch="conversation"),
    )
    phone.gauge, phone.level_step, phone.shown_level = (), 0.05, 0.95
    phone.capacity_uah, phone.charge_uah = 100_000_000, 98_000_000.0
    phone.warm_up()
    pair = phone.plan["pairs"][0]
    for order, arm in enumerate(arms_of(pair["first"])):
        phone.event("block", {"pair": 0, "order": order, "arm": arm})
        period_s, tokens, chunks = (240, 560, 560) if arm == "spec_off" else (200, 840, 350)
        phone.current_ua = -5_000_000 * 3600 // period_s
        step_uah = 5_000_000
        phone.charge_uah -= phone.charge_uah % step_uah or step_uah
        phone.charge_uah += step_uah * 60 // period_s  # so that the first step of the block comes 60 s into it
        for repeat in range(30):
            if repeat == 10:
                phone.change(thermal=1)
            place = {"pair": 0, "order": order, "repeat": repeat, "decode_tps": tokens / 28}
            phone.generate(arm, pair["prompts"][repeat % 6], tokens, chunks, 2000, 28_000, **place)
        phone.current_ua = 0
        if order == 0:
            phone.spend(60_000, "cooldown")
            phone.change(thermal=0)
    return finish(phone, 0.47)


def invalid_logs() -> dict[str, str]:
    """Logs that are wrong in one way each."""
    lines = silent_no_draft().splitlines()[:40]
    other = [json.loads(line) for line in lines]
    other[1] |= {"battery_cycles": 211}
    other[2] |= {"kind": "gpu_clock", "gpu_mhz": 850}
    newer = [{**json.loads(line), "v": 2} for line in lines]
    return {
        "bad-line": "\n".join([*lines[:9], lines[9][:50], "{}", '"text"', *lines[10:]]) + "\n",
        "unknown-fields": "".join(json.dumps(one, ensure_ascii=False, separators=(",", ":")) + "\n" for one in other),
        "unknown-version": "".join(json.dumps(one, ensure_ascii=False, separators=(",", ":")) + "\n" for one in newer),
    }


def logs() -> dict[str, str]:
    """All logs by file name without ending."""
    cut, resumed = interrupted()
    return {
        "throttling": throttling(), "plugged-in": plugged_in(), "sign-flipped": sign_flipped(), "interrupted": cut,
        "interrupted-resumed": resumed, "silent-no-draft": silent_no_draft(), "paired": paired(), "iphone": iphone(),
    }  # fmt: skip


def golden_plans() -> dict[str, Any]:
    """The plans, and outputs of the generator behind them (as text: not every JSON reader has 64 bits)."""
    seeds = (0, 1, 42, 1234567, 2**53 - 1)
    bounds = (2, 3, 6, 24, 144)
    return {
        "plan-abba": plan(1234567, 8, PROMPTS, "golden", **lengths(0, 0, 128)),
        "plan-sustained": plan(42, 2, PROMPTS, "golden", **lengths(600, 60, 256, 120)),
        "splitmix64": [
            {
                "seed": seed,
                "outputs": [str(one) for one in splitmix64(seed, 5)],
                "below": [
                    {"bound": bound, "values": [below(one, bound) for one in splitmix64(seed, 5)]} for bound in bounds
                ],
            }
            for seed in seeds
        ],
    }


def main() -> None:
    for name, text in logs().items():
        (HERE / f"{name}.jsonl").write_text(text, encoding="utf-8")
    for name, text in invalid_logs().items():
        (HERE / "invalid" / f"{name}.jsonl").write_text(text, encoding="utf-8")
    for name, value in golden_plans().items():
        text = json.dumps(value, ensure_ascii=False, indent=1) + "\n"
        (HERE / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
