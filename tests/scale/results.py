"""What `make scale` measures, and the bars it holds the figures against."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.scale.engine import EngineSpeed
from tests.scale.machine import Machine
from tests.scale.memory import Measured


@dataclass(frozen=True)
class Bar:
    """The most a run may take; None where nothing was promised.

    `own_bytes` bounds what the process tree demands: memory outside the pages of mapped files, which the
    kernel takes back when it needs them (the smoke run's engine maps the bundle and its weight cache).
    """

    wall_s: float | None = None
    own_bytes: float | None = None


BARS = {"E2B": Bar(150, 2.0e9), "E4B": Bar(270, 2.5e9), "E2B again": Bar(60, 2.0e9)}
NO_BAR = Bar()


@dataclass(frozen=True)
class ExportRun:
    """One export: `name` is the size, or the size and "again"; `bundle_bytes` is 0 where it failed."""

    name: str
    measured: Measured
    bundle_bytes: int
    bar: Bar
    load: float

    @property
    def misses(self) -> list[str]:
        """What is over the bar, in words."""
        found = []
        if self.measured.exit_status != 0:
            found.append(f"{self.name}: failed with exit status {self.measured.exit_status}")
        if self.bar.wall_s is not None and self.measured.wall_s > self.bar.wall_s:
            wall, most = self.measured.wall_s, self.bar.wall_s
            found.append(f"{self.name}: {wall:.0f} s, over the bar of {most:.0f} s")
        if self.bar.own_bytes is not None and self.measured.own_peak.own_bytes > self.bar.own_bytes:
            own, bar = self.measured.own_peak.own_bytes / 1e9, self.bar.own_bytes / 1e9
            found.append(f"{self.name}: {own:.2f} GB without mapped files, over the bar of {bar:.1f} GB")
        return found


@dataclass(frozen=True)
class Report:
    """Everything one `make scale` measured."""

    machine: Machine
    exports: tuple[ExportRun, ...]
    speeds: dict[str, EngineSpeed]


@dataclass(frozen=True)
class PeerRun:
    """One exporter's run on the common shape; `bundle_bytes` is 0 where it made none."""

    exporter: str
    makes: str
    measured: Measured
    bundle_bytes: int


def write_json(path: Path, value: Any) -> None:
    """All figures, and what the tables leave out."""
    path.write_text(json.dumps(value, indent=1) + "\n")
