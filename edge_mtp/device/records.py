"""The records of a device log as docs/device-log.md has them; None where the phone did not say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Arm = Literal["spec_off", "spec_on"]
ARMS: Final[tuple[Arm, Arm]] = ("spec_off", "spec_on")
Extra = Mapping[str, Any]


def _nothing() -> Extra:
    return {}


@dataclass(frozen=True, kw_only=True)
class Record:
    """What every record has: `t_ms` since the run's start, `extra` the keys that this version does not know."""

    run: str
    seq: int
    t_ms: int
    extra: Extra = field(default_factory=_nothing)


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """The engine; `backend` "scripted" plays a script, and its figures are nobody's."""

    name: str
    version: str
    backend: str
    activation: str | None = None
    threads: int | None = None
    max_context_tokens: int | None = None
    cache: str | None = None
    switch: str | None = None
    extra: Extra = field(default_factory=_nothing)


@dataclass(frozen=True, kw_only=True)
class BundleFile:
    """The bundle that was run."""

    file: str
    bytes: int
    sha256: str | None = None
    has_drafter: bool | None = None
    draft_steps: int | None = None
    manifest_sha256: str | None = None
    extra: Extra = field(default_factory=_nothing)


@dataclass(frozen=True, kw_only=True)
class LoggedGate:
    """What the phone had to be like before a block."""

    max_thermal: int = 0
    min_battery_level: float = 0.2
    unplugged: bool = True
    low_power_off: bool = True
    max_wait_s: int = 600
    extra: Extra = field(default_factory=_nothing)


@dataclass(frozen=True, kw_only=True)
class LoggedSampler:
    """How tokens were chosen."""

    temperature: float
    top_k: int
    top_p: float
    seed: int
    extra: Extra = field(default_factory=_nothing)


@dataclass(frozen=True, kw_only=True)
class LoggedPlan:
    """The plan without its prompts and pairs."""

    design: str
    seed: int
    pair_count: int
    warmups: int
    block_s: int
    baseline_s: int
    max_output_tokens: int
    sampler: LoggedSampler
    prompt_set: str
    prompt_set_sha256: str
    gate: LoggedGate
    cooldown_s: int | None = None
    extra: Extra = field(default_factory=_nothing)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What the user said of the surroundings."""

    ambient_c: float | None = None
    brightness: float | None = None
    airplane: bool | None = None
    charger: str | None = None
    note: str | None = None
    extra: Extra = field(default_factory=_nothing)


@dataclass(frozen=True, kw_only=True)
class Run(Record):
    """The first record of a run."""

    wall_time: str
    app_version: str
    platform: str
    os_version: str
    device_model: str
    ram_bytes: int
    cores: int
    runtime: Runtime
    bundle: BundleFile
    plan: LoggedPlan
    setting: Setting
    soc: str | None = None


@dataclass(frozen=True, kw_only=True)
class Sample(Record):
    """The phone once a second; `battery_current_ua` is negative while discharging."""

    phase: str
    trial: int | None = None
    battery_level: float | None = None
    charging: bool | None = None
    thermal: int | None = None
    thermal_raw: str | None = None
    low_power_mode: bool | None = None
    mem_footprint_bytes: int | None = None
    mem_available_bytes: int | None = None
    battery_current_raw: int | None = None
    battery_current_ua: int | None = None
    battery_voltage_mv: float | None = None
    battery_temp_c: float | None = None
    battery_charge_uah: float | None = None
    battery_energy_nwh: float | None = None
    battery_age_ms: int | None = None
    thermal_headroom: float | None = None
    rails_uws: Mapping[str, float] | None = None
    rails_t_ms: int | None = None


@dataclass(frozen=True, kw_only=True)
class Event(Record):
    """Something that happened; `value` is any JSON."""

    name: str
    value: Any = None


@dataclass(frozen=True, kw_only=True)
class TokenGaps:
    """Milliseconds between chunks."""

    p50: float | None = None
    p95: float | None = None
    max: float | None = None
    extra: Extra = field(default_factory=_nothing)


@dataclass(frozen=True, kw_only=True)
class Trial(Record):
    """One generation from `start_t_ms` to `t_ms`; `pair`, `order` and `repeat` are None for warm-ups."""

    index: int
    arm: Arm
    prompt: str
    prompt_class: str
    warmup: bool
    start_t_ms: int
    finish_reason: str
    valid: bool
    pair: int | None = None
    order: int | None = None
    repeat: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    chunks: int | None = None
    ttft_ms: float | None = None
    decode_ms: float | None = None
    prefill_tps: float | None = None
    decode_tps: float | None = None
    wall_ms: float | None = None
    itl_ms: TokenGaps | None = None
    output_sha256: str | None = None
    output_equals_pair: bool | None = None
    battery_level_start: float | None = None
    battery_level_end: float | None = None
    thermal_start: int | None = None
    thermal_end: int | None = None
    non_nominal_fraction: float | None = None
    mem_peak_bytes: int | None = None
    gate_wait_ms: int | None = None
    gate_passed: bool | None = None
    invalid_reasons: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Engine(Record):
    """One engine from its load to its end; `trials` are the indices that it ran."""

    index: int
    speculative: bool
    trials: tuple[int, ...]
    acceptance_source: str
    load_ms: float | None = None
    load_mem_bytes: int | None = None
    acceptance_rate: float | None = None
    drafting: str | None = None


@dataclass(frozen=True, kw_only=True)
class End(Record):
    """The last record; `summary` is the app's own, for a look without tools."""

    reason: str
    summary: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Unknown(Record):
    """A kind of record that this version does not know; all its keys are in `extra`."""

    kind: str


KINDS: Final[Mapping[str, type[Record]]] = {
    "run": Run,
    "sample": Sample,
    "event": Event,
    "trial": Trial,
    "engine": Engine,
    "end": End,
}
