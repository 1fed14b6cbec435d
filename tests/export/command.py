"""Runs `edge-mtp` as a user does: in a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.scale.checkpoint import PairPaths

COMMAND = [sys.executable, "-m", "edge_mtp.cli"]
PATIENCE_S = 300.0


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The tests' own environment, on a wide terminal and without the hub."""
    return {**os.environ, "COLUMNS": "240", "HF_HUB_OFFLINE": "1", **(more or {})}


def export_command(pair: PairPaths, output: Path, *options: object) -> list[str]:
    return [*COMMAND, "export", str(pair.target), str(pair.drafter), "--output", str(output), *map(str, options)]


def run_export(
    pair: PairPaths, output: Path, *options: object, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """An export from begin to end; `stdout` is all that it printed."""
    with start_export(pair, output, *options, env=env) as running:
        printed, _ = running.communicate(timeout=PATIENCE_S)
    return subprocess.CompletedProcess(running.args, running.returncode, printed)


def start_export(
    pair: PairPaths, output: Path, *options: object, env: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """An export that runs; it leads a process group of its own, with all it starts in it."""
    return subprocess.Popen(
        export_command(pair, output, *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=environment(env),
    )


def group_is_alive(leader: int) -> bool:
    """Whether any process of the group that `leader` leads or led still exists."""
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition: Callable[[], bool], patience_s: float, what: str) -> None:
    """Returns as soon as `condition` holds; looks every few milliseconds, since stages of a tiny export are short."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience_s:.0f} s in vain: {what}")
        time.sleep(0.002)
