"""Runs an export's jobs on worker processes: every part of a section, then the job that joins them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
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
"""Two tracers, or a tracer and a quantizer; more would raise the peak of memory and few laptops have the cores."""


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
    """One task for a worker: what to call it, the section it belongs to, bytes to do where known."""

    task: str
    section: str
    call: Callable[..., None]
    arguments: tuple[Any, ...]
    total: int | None = None


def run_jobs(pool: ProcessPoolExecutor, parts: Sequence[Job], joins: Mapping[str, Job], reporter: Reporter) -> None:
    """Runs `parts` in their order, and the join of each section as soon as all its parts are done."""
    left = {section: sum(job.section == section for job in parts) for section in joins}
    running = {_submit(pool, job, reporter): job for job in parts}
    running |= {_submit(pool, joins[section], reporter): joins[section] for section, count in left.items() if not count}
    while running:
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            job = running.pop(future)
            reporter.finish(job.task, result_of(future))
            left[job.section] -= 1
            if left[job.section] == 0:
                join = joins[job.section]
                running[_submit(pool, join, reporter)] = join


def _submit(pool: ProcessPoolExecutor, job: Job, reporter: Reporter) -> "Future[float]":
    reporter.start(job.task, job.total)
    return pool.submit(worker.timed, job.call, *job.arguments)


@contextmanager
def worker_pool(log: Path, hear: Callable[[str, int], None]) -> Iterator[ProcessPoolExecutor]:
    """Spawned workers whose progress is passed to `hear`; they are killed when the block ends badly."""
    context = get_context("spawn")
    progress: SimpleQueue[worker.Message | None] = context.SimpleQueue()
    listener = Thread(target=_listen, args=(progress, hear), daemon=True)
    listener.start()
    pool = ProcessPoolExecutor(WORKERS, mp_context=context, initializer=worker.start_worker, initargs=(log, progress))
    try:
        yield pool
        pool.shutdown()
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.kill()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    finally:
        progress.put(None)
        listener.join()


def _listen(progress: "SimpleQueue[worker.Message | None]", hear: Callable[[str, int], None]) -> None:
    while (message := progress.get()) is not None:
        hear(*message)


def result_of(future: "Future[T]") -> T:
    """The future's result; a worker that was killed becomes a ResourceError."""
    try:
        return future.result()
    except BrokenProcessPool:
        raise ResourceError(
            "a worker process was killed, most likely because memory ran out; close other programs and run the "
            "same command again: finished stages are kept"
        ) from None
