"""An imagined phone that writes the device log: constant currents and rates, so that all figures follow by hand.

Nothing here imports edge_mtp: what the fixtures hold must not come from the code that they check.
"""

import hashlib
import json
from typing import Any

MASK = 2**64 - 1


def splitmix64(seed: int, count: int) -> list[int]:
    """The first `count` outputs, written down from https://prng.di.unimi.it/splitmix64.c."""
    found, state = [], seed
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        found.append(z ^ (z >> 31))
    return found


def below(draw: int, bound: int) -> int:
    return ((draw >> 32) * bound) >> 32


def plan(seed: int, pairs: int, prompts: list[dict[str, str]], name: str, **lengths: int) -> dict[str, Any]:
    """A plan, made a second time and by other code than `edge_mtp.device.plan`."""
    draws = splitmix64(seed, len(prompts) + 1)
    start = below(draws[0], 2)
    order = [prompt["id"] for prompt in prompts]
    for step in range(1, len(order)):
        last = len(order) - step
        other = below(draws[step], last + 1)
        order[last], order[other] = order[other], order[last]
    whole, size = lengths["block_s"] >= 300, len(order)
    return {
        "format": "edge_mtp.plan", "v": 1, "design": "abba", "seed": seed,
        **lengths,
        "sampler": {"temperature": 1.0, "top_k": 1, "top_p": 1.0, "seed": 0},
        "prompt_set": name,
        "prompt_set_sha256": sha256(json.dumps(prompts, ensure_ascii=False, separators=(",", ":"))),
        "gate": {
            "max_thermal": 0, "min_battery_level": 0.2, "unplugged": True, "low_power_off": True, "max_wait_s": 600,
        },
        "prompts": prompts,
        "pairs": [
            {
                "pair": index,
                "first": ("spec_off", "spec_on")[(start + (index if whole else index % size + index // size)) % 2],
                "prompts": [order[(index + i) % len(order)] for i in range(len(order) if whole else 1)],
            }
            for index in range(pairs)
        ],
    }  # fmt: skip


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Phone:
    """Keeps the clock and the battery, and writes a record for everything that happens."""

    def __init__(self, run: str, plan: dict[str, Any], period_ms: int = 1000, **about: Any) -> None:
        self.run, self.plan, self.period_ms = run, plan, period_ms
        self.lines: list[str] = []
        self.t_ms, self.seq, self.trials = 0, 0, 0
        self.voltage_mv, self.current_ua = 4000, 0
        self.capacity_uah, self.charge_uah, self.energy_nwh = 4_000_000, 3_200_500.0, 12_802_000_000.0
        self.level_step, self.shown_level = 0.01, 0.8
        self.state: dict[str, Any] = {"charging": False, "thermal": 0, "low_power_mode": False}
        self.gauge: tuple[str, ...] = ("battery_current_raw", "battery_current_ua", "battery_charge_uah")
        self.raw = lambda current_ua: current_ua
        self.rails_w: dict[str, float] = {}
        self.rails_uws: dict[str, float] = {}
        self.memory_bytes = 1_500_000_000
        self.write("run", **about, plan=self._plan_in_run())

    def _plan_in_run(self) -> dict[str, Any]:
        left_out = ("format", "v", "prompts", "pairs")
        kept = {key: value for key, value in self.plan.items() if key not in left_out}
        return {**kept, "pair_count": len(self.plan["pairs"])}

    def write(self, kind: str, **fields: Any) -> None:
        record = {"v": 1, "kind": kind, "run": self.run, "seq": self.seq, "t_ms": self.t_ms, **fields}
        self.lines.append(json.dumps(record, ensure_ascii=False, separators=(",", ":")))
        self.seq += 1

    def event(self, name: str, value: Any = None) -> None:
        self.write("event", name=name, **({} if value is None else {"value": value}))

    def change(self, **state: Any) -> None:
        """A new state of heat, charger or power mode, with its event."""
        events = {"thermal": "thermal_change", "charging": "charging_change", "low_power_mode": "low_power_change"}
        for key, value in state.items():
            if self.state[key] != value:
                self.state[key] = value
                self.event(events[key], value)

    def spend(self, ms: int, phase: str, trial: int | None = None) -> None:
        """Time passes; a sample is written at every full period in it."""
        end = self.t_ms + ms
        while self.t_ms < end:
            if self.t_ms % self.period_ms == 0:
                self._sample(phase, trial)
            step = min(end, self.t_ms - self.t_ms % self.period_ms + self.period_ms) - self.t_ms
            self._discharge(step)
            self.t_ms += step

    def _discharge(self, ms: int) -> None:
        hours = ms / 3_600_000
        self.charge_uah += self.current_ua * hours
        self.energy_nwh += self.current_ua * self.voltage_mv * hours
        for name, watts in self.rails_w.items():
            self.rails_uws[name] = self.rails_uws.get(name, 0.0) + watts * ms * 1000

    def _sample(self, phase: str, trial: int | None) -> None:
        level = round(int(self.charge_uah / self.capacity_uah / self.level_step + 1e-9) * self.level_step, 4)
        if level != self.shown_level:
            self.shown_level = level
            self.event("battery_step", level)
        known = {
            "battery_current_raw": self.raw(self.current_ua),
            "battery_current_ua": self.current_ua,
            "battery_charge_uah": round(self.charge_uah),
            "battery_energy_nwh": round(self.energy_nwh),
        }
        volts = {"battery_voltage_mv": self.voltage_mv, "battery_temp_c": 31.5} if self.gauge else {}
        rails = {name: round(value) for name, value in self.rails_uws.items()}
        self.write(
            "sample",
            phase=phase,
            **({} if trial is None else {"trial": trial}),
            battery_level=self.shown_level,
            **self.state,
            mem_footprint_bytes=self.memory_bytes + (50_000_000 if phase == "decode" else 0),
            **{name: known[name] for name in self.gauge},
            **volts,
            **({"rails_uws": rails, "rails_t_ms": self.t_ms} if rails else {}),
        )

    def warm_up(self) -> None:
        """One trial an arm on the first pair's first prompt."""
        for arm in ("spec_off", "spec_on"):
            self.generate(arm, self.plan["pairs"][0]["prompts"][0], 60, 60, 500, 3500, warmup=True)

    def generate(
        self, arm: str, prompt: str, tokens: int, chunks: int, ttft_ms: int, decode_ms: int, **fields: Any
    ) -> None:
        """One trial: prefill, decode, its record."""
        index, start, level, heat = self.trials, self.t_ms, self.shown_level, self.state["thermal"]
        first = len(self.lines)
        self.spend(ttft_ms, "prefill", index)
        self.spend(decode_ms, "decode", index)
        seen = [json.loads(line) for line in self.lines[first:]]
        samples = [one for one in seen if one["kind"] == "sample"]
        hot = sum(1 for one in samples if one["thermal"] > 0)
        classes = {one["id"]: one["prompt_class"] for one in self.plan["prompts"]}
        self.trials += 1
        self.write(
            "trial",
            **{
                "index": index, "arm": arm, "prompt": prompt, "prompt_class": classes[prompt], "warmup": False,
                "start_t_ms": start, "input_tokens": 25, "output_tokens": tokens, "chunks": chunks,
                "finish_reason": "length", "ttft_ms": ttft_ms, "decode_ms": decode_ms, "wall_ms": ttft_ms + decode_ms,
                "output_sha256": sha256(prompt), "battery_level_start": level, "battery_level_end": self.shown_level,
                "thermal_start": heat, "thermal_end": self.state["thermal"],
                "non_nominal_fraction": round(hot / len(samples), 4) if samples else 0.0,
                "mem_peak_bytes": max((one["mem_footprint_bytes"] for one in samples), default=self.memory_bytes),
                "gate_wait_ms": 0, "gate_passed": True, "valid": True, "invalid_reasons": [],
            }
            | fields,
        )  # fmt: skip

    def baseline(self) -> None:
        """Idle time at 1 W (an app with its screen on)."""
        self.current_ua = -250_000
        self.spend(self.plan["baseline_s"] * 1000, "baseline")

    def text(self) -> str:
        return "".join(line + "\n" for line in self.lines)
