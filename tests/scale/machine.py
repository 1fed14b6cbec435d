"""What a figure depends on besides the code: machine, load, versions."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("litert-lm-api", "litert-torch", "ai-edge-litert", "torch", "numpy")


@dataclass(frozen=True)
class Machine:
    """Printed above every table. `load` is the mean number of running processes over the last minute."""

    cpu: str
    cores: int
    memory_gb: float
    load: float
    kernel: str
    python: str
    versions: dict[str, str]

    def __str__(self) -> str:
        packages = ", ".join(f"{name} {found}" for name, found in self.versions.items())
        return (
            f"{self.cpu}, {self.cores} cores, {self.memory_gb:.0f} GB, {self.kernel}; load before the run "
            f"{self.load:.1f}{' (not idle: times are upper bounds)' if self.load > 0.5 else ''}\n"
            f"Python {self.python}, {packages}"
        )


def read_machine() -> Machine:
    """The machine as it is now."""
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return Machine(
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=pages * page_bytes / 1e9,
        load=os.getloadavg()[0],
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        versions={name: found for name in _PACKAGES if (found := _version(name))},
    )


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
