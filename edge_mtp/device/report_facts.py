"""What a report repeats of a run's first record, so that its figures can be told from other phones' and plans'."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PhoneFacts:
    """The phone and the app."""

    device_model: str
    platform: str
    os_version: str
    soc: str | None
    ram_bytes: int
    cores: int
    app_version: str


@dataclass(frozen=True)
class RuntimeFacts:
    """The engine and how it was started."""

    name: str
    version: str
    backend: str
    activation: str | None
    threads: int | None
    max_context_tokens: int | None
    cache: str | None
    switch: str | None


@dataclass(frozen=True)
class BundleFacts:
    """The bundle that was run."""

    file: str
    size_bytes: int
    sha256: str | None
    has_drafter: bool | None
    draft_steps: int | None


@dataclass(frozen=True)
class PlanFacts:
    """What was to be run."""

    design: str
    seed: int
    pair_count: int
    warmups: int
    block_s: int
    baseline_s: int
    max_output_tokens: int
    temperature: float
    top_k: int
    prompt_set: str
    prompt_set_sha256: str


@dataclass(frozen=True)
class SettingFacts:
    """What the user said of the surroundings."""

    ambient_c: float | None
    brightness: float | None
    airplane: bool | None
    charger: str | None
    note: str | None


@dataclass(frozen=True)
class LogRemark:
    """Something about the file: a bad or truncated line, lost or repeated records, unknown fields."""

    kind: str
    line: int | None
    text: str
