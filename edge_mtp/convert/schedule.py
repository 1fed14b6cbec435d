"""Runs an export's jobs on worker processes and passes on what they tell."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from threading import Thread
from typing import Any, Final, Protocol, TypeVar

from edge_mtp.convert import worker
from edge_mtp.errors import ResourceError

T = TypeVar("T")

WORKERS: Final = 2
"""Of each stage; more would raise the peak of memory, which two tracers set."""


class Reporter(Protocol):
    """Hears how an export goes on; the command line draws it."""

    def start(self, task: str, total: int | None) -> None:
        """`task` is queued or begins; `total` bytes are to do, or None where that is not known."""

    def advance(self, task: str, count: int) -> None:
        """`count` more bytes of `task` are done."""

    def finish(self, task: str, seconds: float | None = None) -> None:
        """`task` is done after `seconds` of work; None where an earlier run had finished it."""


@dataclass(frozen=True)
class Job:
    """One task for a worker: what to call it, and its bytes to do where known."""

    task: str
    call: Callable[..., None]
    arguments: tuple[Any, ...]
    total: int | None = None


def run_jobs(pool: ProcessPoolExecutor, jobs: Sequence[Job], reporter: Reporter) -> None:
    """Runs `jobs`, begun in their order."""
    running: dict[Future[float], Job] = {}
    for job in jobs:
        reporter.start(job.task, job.total)
        running[pool.submit(worker.timed, job.call, *job.arguments)] = job
    for future in as_completed(running):
        reporter.finish(running[future].task, result_of(future))


@contextmanager
def worker_pool(log: Path, hear: Callable[[str, int], None]) -> Iterator[ProcessPoolExecutor]:
    """Spawned workers whose progress is passed to `hear`; they are killed when the block ends badly.

    Ctrl-C reaches the whole process group, but is the parent's to answer: workers never hear of it.
    """
    context = get_context("spawn")
    progress: SimpleQueue[worker.Message | None] = context.SimpleQueue()
    listener = Thread(target=_listen, args=(progress, hear), daemon=True)
    listener.start()
    pool = ProcessPoolExecutor(WORKERS, mp_context=context, initializer=worker.start_worker, initargs=(log, progress))
    try:
        with _interrupts_held():
            pool.submit(os.getpid)  # the first task starts the processes
        yield pool
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.kill()
        pool.shutdown(wait=False, cancel_futures=True)
        raise  # the listener is left waiting: a worker killed while it spoke keeps the queue's lock
    pool.shutdown()
    progress.put(None)
    listener.join()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C waits until the block ends; processes that begin in it never get one."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _listen(progress: "SimpleQueue[worker.Message | None]", hear: Callable[[str, int], None]) -> None:
    while (message := progress.get()) is not None:
        hear(*message)


def result_of(future: "Future[T]") -> T:
    """The future's result; a worker that was killed, or that the disk refused, becomes a ResourceError."""
    try:
        return future.result()
    except BrokenProcessPool:
        raise ResourceError(
            "a worker process was killed, most likely because memory ran out; close other programs and run the "
            "same command again: finished stages are kept"
        ) from None
    except OSError as error:
        raise ResourceError(
            f"a worker process could not go on: {error}; mend that and run the same command again: "
            "finished stages are kept"
        ) from None
