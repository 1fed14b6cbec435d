"""Draws an export's progress on a terminal, or as plain lines where there is none."""

import time
from threading import Lock

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

LINE_EVERY_S = 10.0


class RichReporter:
    """`convert.schedule.Reporter` over rich: bars with rates and time left, one line a finished task."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description:<30}"),
            BarColumn(bar_width=24),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._started_s: dict[str, float] = {}
        self._done: dict[str, int] = {}
        self._totals: dict[str, int | None] = {}
        self._spoke_s: dict[str, float] = {}
        self._lock = Lock()

    def __enter__(self) -> "RichReporter":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def start(self, task: str, total: int | None) -> None:
        """Shows a bar for `task`; `total` is in bytes, None where unknown."""
        with self._lock:
            self._tasks[task] = self._bars.add_task(task, total=total)
            self._done[task], self._totals[task] = 0, total

    def advance(self, task: str, count: int) -> None:
        """`count` more bytes of `task`; without a terminal a line every ten seconds."""
        with self._lock:
            if task not in self._tasks:
                return
            self._bars.advance(self._tasks[task], count)
            now = time.monotonic()
            self._started_s.setdefault(task, now)
            self._spoke_s.setdefault(task, now)
            self._done[task] += count
            if not self._console.is_terminal and now - self._spoke_s[task] > LINE_EVERY_S:
                self._spoke_s[task] = now
                self._console.print(self._line(task, now))

    def finish(self, task: str, seconds: float | None = None) -> None:
        """Takes the bar away and leaves a line with the seconds it took."""
        with self._lock:
            if task in self._tasks:
                self._bars.remove_task(self._tasks.pop(task))
            took = "finished before" if seconds is None else f"{seconds:6.1f} s"
            self._console.print(f"  {task:<32}{took}", highlight=False)

    def _line(self, task: str, now: float) -> str:
        done, total = self._done[task], self._totals[task]
        rate = done / max(now - self._started_s[task], 1e-3)
        left = f", {(total - done) / rate:.0f} s left" if total and rate else ""
        return f"  {task:<32}{done / 1e9:.1f} GB at {rate / 1e6:.0f} MB/s{left}"
