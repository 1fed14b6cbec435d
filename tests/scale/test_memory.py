"""The memory sampler: a tree's sum, mapped files told apart, the limit, exit codes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.scale import memory
from tests.scale.processes import PROC, ProcessMemory, read_memory

pytestmark = pytest.mark.skipif(not PROC.is_dir(), reason="needs Linux's /proc")

MB = 1_000_000
PARENT = """
import subprocess, sys, time
block = b"x" * 60_000_000
subprocess.run([sys.executable, "-c", "import time; block = b'x' * 40_000_000; time.sleep(0.6)"])
"""
DETACHED = """
import subprocess, sys, time
middle = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]])"
subprocess.run([sys.executable, "-c", middle, "import time; block = b'x' * 50_000_000; time.sleep(0.6)"])
time.sleep(0.6)
"""
ANNOUNCED = """
import os, pathlib, sys, time
pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
time.sleep(60)
"""
MAPPED = """
import mmap, sys, time
with open(sys.argv[1], "rb") as file:
    view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    total = sum(view[at] for at in range(0, len(view), 4096))
time.sleep(0.4)
"""


def measure(tmp_path: Path, source: str, *arguments: str, limit_bytes: int | None = None) -> memory.Measured:
    """Runs `source` in a fresh interpreter under the sampler."""
    command = [sys.executable, "-c", source, *arguments]
    return memory.measure(command, tmp_path / "log", limit_bytes=limit_bytes, interval_s=0.05)


def test_parent_and_child_count_together(tmp_path: Path) -> None:
    """The peak is that of the tree, beyond the largest process's own."""
    measured = measure(tmp_path, PARENT)
    assert measured.exit_status == 0
    assert 100 * MB < measured.peak.bytes < 160 * MB
    assert 60 * MB < measured.largest_process_bytes < 100 * MB
    assert len(measured.peak.processes) == 2
    assert measured.samples > 5 and max(measured.resident_mb) >= measured.peak.bytes // MB


def test_orphans_of_the_session_count(tmp_path: Path) -> None:
    """A grandchild whose parent has ended is still the command's."""
    assert measure(tmp_path, DETACHED).peak.bytes > 55 * MB


def test_mapped_files_are_told_apart(tmp_path: Path) -> None:
    """Pages of a mapped file count in the peak, and not in what the command holds itself."""
    big = tmp_path / "big"
    big.write_bytes(b"x" * 50 * MB)
    measured = measure(tmp_path, MAPPED, str(big))
    assert measured.peak.bytes > 50 * MB
    assert measured.own_peak.own_bytes < 30 * MB


def test_too_much_memory_is_killed(tmp_path: Path) -> None:
    """Parent and child are gone at once, and the figure says why."""
    measured = measure(tmp_path, PARENT.replace("0.6", "30"), limit_bytes=80 * MB)
    assert measured.exit_status == -9
    assert measured.stopped_at_bytes is not None and measured.stopped_at_bytes > 80 * MB
    assert measured.wall_s < 10
    assert "its limit" in memory.describe(measured)


def test_a_terminated_measurement_ends_what_it_runs(tmp_path: Path) -> None:
    """SIGTERM to the benchmark does not leave an export running."""
    command = [sys.executable, "-m", "tests.scale.memory", sys.executable, "-c", ANNOUNCED, str(tmp_path / "pid")]
    root = Path(__file__).parent.parent.parent
    watcher = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(root)})
    pid = _appearing(tmp_path / "pid")
    watcher.terminate()
    assert watcher.wait(10) == 128 + signal.SIGTERM
    for _ in range(50):
        if read_memory(pid, proportional=False) is None:
            return
        time.sleep(0.1)
    pytest.fail(f"process {pid} was left running")


def _appearing(path: Path) -> int:
    """The number in `path`, once another process has written it."""
    for _ in range(200):
        if path.is_file() and (text := path.read_text()):
            return int(text)
        time.sleep(0.05)
    raise TimeoutError(path)


def test_output_and_failure_are_kept(tmp_path: Path) -> None:
    """The exit status is the command's, its words are in the log."""
    measured = measure(tmp_path, "print('words'); raise SystemExit(3)")
    assert measured.exit_status == 3
    assert (tmp_path / "log").read_text() == "words\n"


def test_resident_sizes_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel tells no PSS, RSS is summed, and named."""
    monkeypatch.setattr(memory, "has_proportional_sizes", lambda: False)
    measured = measure(tmp_path, PARENT)
    assert measured.measure == "RSS"
    assert measured.peak.bytes > 100 * MB


def test_recorder_keeps_the_largest_of_each_second() -> None:
    """Peaks of the whole and of what is not files may lie apart; seconds without a sample are 0."""
    recorder = memory.Recorder()
    sizes = [(0.1, 5, 0), (0.9, 9, 8), (3.2, 7, 0)]
    for at, size, files in sizes:
        sample = memory.Sample(at, (ProcessMemory(1, "x", size * MB, files * MB, size * MB, 0.0),))
        assert recorder.may_peak(sample)
        recorder.add(sample)
    assert recorder.resident_mb == [9, 0, 0, 7]
    assert recorder.peak.bytes == 9 * MB and recorder.own_peak.own_bytes == 7 * MB
    assert not recorder.may_peak(memory.Sample(4.0, (ProcessMemory(1, "x", 9 * MB, 5 * MB, 9 * MB, 0.0),)))
