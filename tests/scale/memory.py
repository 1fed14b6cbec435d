"""Runs a command and says how long it took and how much memory it and all its children held at once.

The kernel walks all pages of a process to tell its PSS, 10 ms a gigabyte, which would slow what is measured.
RSS costs nothing, so PSS is asked for only where the tree's RSS is above that of every earlier PSS by half a
percent, which is then what a peak may be short of.

`python -m tests.scale.memory COMMAND ...` prints the figures of any command.
"""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.scale.processes import ProcessMemory, has_proportional_sizes, process_tree, read_memory

INTERVAL_S = 0.2
SHOWN = 5
NEW_PEAK = 1.005


@dataclass(frozen=True)
class Sample:
    """The process tree at one moment, `elapsed_s` after its start."""

    elapsed_s: float
    processes: tuple[ProcessMemory, ...]

    @property
    def bytes(self) -> int:
        """All memory of the tree."""
        return sum(process.bytes for process in self.processes)

    @property
    def own_bytes(self) -> int:
        """The same without mapped files' pages, which the kernel may take back."""
        return sum(process.bytes - process.file_bytes for process in self.processes)


@dataclass(frozen=True)
class Measured:
    """One run of a command.

    `peak` is the sample with the most memory, `own_peak` that with the most outside mapped files. `processes`
    are all that were seen, each as it was last. `resident_mb` is the tree's largest RSS in each second.
    `stopped_at_bytes` is set where the run was killed for its memory.
    """

    exit_status: int
    wall_s: float
    cpu_s: float
    measure: str
    peak: Sample
    own_peak: Sample
    processes: tuple[ProcessMemory, ...]
    samples: int
    resident_mb: tuple[int, ...]
    stopped_at_bytes: int | None = None

    @property
    def largest_process_bytes(self) -> int:
        """The most RSS any single process had, by the kernel's own count."""
        return max((process.peak_resident_bytes for process in self.processes), default=0)


@dataclass
class Recorder:
    """Keeps the extremes of a series of samples, and the largest RSS in each second."""

    peak: Sample = Sample(0.0, ())
    own_peak: Sample = Sample(0.0, ())
    processes: dict[int, ProcessMemory] = field(default_factory=dict)
    weighed_bytes: int = 0
    weighed_own_bytes: int = 0
    samples: int = 0
    resident_mb: list[int] = field(default_factory=list)

    def may_peak(self, resident: Sample) -> bool:
        """Takes a sample of RSS into account; whether PSS at the same moment may exceed what was seen."""
        self.samples += 1
        self.processes |= {process.pid: process for process in resident.processes}
        missing = int(resident.elapsed_s) + 1 - len(self.resident_mb)
        self.resident_mb += [0] * missing
        self.resident_mb[-1] = max(self.resident_mb[-1], resident.bytes // 1_000_000)
        largest, own = resident.bytes / NEW_PEAK, resident.own_bytes / NEW_PEAK
        if largest <= self.weighed_bytes and own <= self.weighed_own_bytes:
            return False
        self.weighed_bytes = max(self.weighed_bytes, resident.bytes)
        self.weighed_own_bytes = max(self.weighed_own_bytes, resident.own_bytes)
        return True

    def add(self, sample: Sample) -> None:
        """Takes a sample of the sizes to be reported into account."""
        self.peak = max(self.peak, sample, key=lambda known: known.bytes)
        self.own_peak = max(self.own_peak, sample, key=lambda known: known.own_bytes)


def measure(
    command: Sequence[str],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    limit_bytes: int | None = None,
    interval_s: float = INTERVAL_S,
) -> Measured:
    """Runs `command`, its output going to `log`; kills it and its children above `limit_bytes`."""
    proportional = has_proportional_sizes()
    recorder, stopped, start = Recorder(), None, time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    try:
        while (usage := _poll(process)) is None:
            sample = _sample(process.pid, time.monotonic() - start)
            if recorder.may_peak(sample):
                sample = _weigh(sample) if proportional else sample
                recorder.add(sample)
            if limit_bytes is not None and sample.bytes > limit_bytes:
                stopped = sample.bytes
                _kill(sample)
            time.sleep(interval_s)
    finally:
        if process.returncode is None:
            _kill(_sample(process.pid, 0.0))
    return Measured(
        exit_status=process.returncode,
        wall_s=time.monotonic() - start,
        cpu_s=usage.ru_utime + usage.ru_stime,
        measure="PSS" if proportional else "RSS",
        peak=recorder.peak,
        own_peak=recorder.own_peak,
        processes=tuple(recorder.processes.values()),
        samples=recorder.samples,
        resident_mb=tuple(recorder.resident_mb),
        stopped_at_bytes=stopped,
    )


def _poll(process: subprocess.Popen[bytes]) -> resource.struct_rusage | None:
    """Resources used by `process` and the children it waited for, once it has ended."""
    pid, status, usage = os.wait4(process.pid, os.WNOHANG)
    if pid == 0:
        return None
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage


def _sample(root: int, elapsed_s: float) -> Sample:
    """The tree of `root` with RSS."""
    return Sample(elapsed_s, _read_all(process_tree(root), proportional=False))


def _weigh(sample: Sample) -> Sample:
    """The same processes with PSS."""
    pids = [process.pid for process in sample.processes]
    return Sample(sample.elapsed_s, _read_all(pids, proportional=True))


def _read_all(pids: Sequence[int], *, proportional: bool) -> tuple[ProcessMemory, ...]:
    memories = (read_memory(pid, proportional=proportional) for pid in pids)
    return tuple(memory for memory in memories if memory is not None)


def end_with_children() -> None:
    """Turns SIGTERM into SystemExit, on whose way out `measure` ends what it runs; it leads its own session."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def _kill(sample: Sample) -> None:
    for process in sample.processes:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def describe(measured: Measured) -> str:
    """The figures of one run, in lines for a terminal."""
    peak, own = measured.peak, measured.own_peak
    lines = [
        f"exit status {measured.exit_status}, {measured.wall_s:.1f} s wall, {measured.cpu_s:.1f} s CPU",
        f"peak of the process tree {peak.bytes / 1e9:.2f} GB {measured.measure} at {peak.elapsed_s:.0f} s:",
        *(_line(process) for process in _largest(peak.processes)),
        f"without mapped files {own.own_bytes / 1e9:.2f} GB at {own.elapsed_s:.0f} s:",
        *(_line(process) for process in _largest(own.processes)),
        "processes by CPU time:",
    ]
    for process in sorted(measured.processes, key=lambda process: -process.cpu_s)[:SHOWN]:
        peak_gb = process.peak_resident_bytes / 1e9
        lines.append(f"  {process.cpu_s:6.1f} s, {peak_gb:.2f} GB peak RSS: {_short(process)}")
    if measured.stopped_at_bytes is not None:
        lines.append(f"killed at {measured.stopped_at_bytes / 1e9:.1f} GB, its limit")
    return "\n".join(lines)


def _largest(processes: Sequence[ProcessMemory]) -> list[ProcessMemory]:
    return sorted(processes, key=lambda process: -process.bytes)[:SHOWN]


def _line(process: ProcessMemory) -> str:
    return f"  {process.bytes / 1e9:.2f} GB, {process.file_bytes / 1e9:.2f} of files: {_short(process)}"


def _short(process: ProcessMemory) -> str:
    return " ".join(process.command.split())[:90]


def main() -> None:
    """Measures the command on the command line; its output goes to memory.log in the current directory."""
    if len(sys.argv) < 2:
        raise SystemExit("usage: python -m tests.scale.memory COMMAND [ARGUMENT ...]")
    end_with_children()
    measured = measure(sys.argv[1:], Path("memory.log"))
    print(describe(measured))
    raise SystemExit(measured.exit_status)


if __name__ == "__main__":
    main()
