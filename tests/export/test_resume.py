"""An export that was cut off loses nothing, leaves nothing half-written, and goes on where it stopped."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_mtp import names
from edge_mtp.bundle.manifest import manifest_path
from edge_mtp.bundle.writer import partial_path
from edge_mtp.convert import pipeline
from edge_mtp.convert.schedule import result_of, worker_pool
from edge_mtp.convert.stages import CACHE_VARIABLE, ENGINE_CACHE
from edge_mtp.errors import ResourceError
from tests.export.checkpoints import copy_pair, shorten
from tests.export.command import (
    PATIENCE_S,
    environment,
    export_command,
    group_is_alive,
    run_export,
    start_export,
    wait_until,
)
from tests.export.dying import die_while_speaking
from tests.export.recipes import SHORT
from tests.export.tree import contents
from tests.scale.checkpoint import PairPaths

OLDER = b"the bundle of an earlier export"
AFTERLIFE_S = 10.0
"""How long what a killed export started may live on; on a machine that is not busy it takes about a second."""

# What lies in the work directory or beside the output at the moment.
MOMENTS = {
    "weights are quantized": lambda output: any(work_of(output).glob("*.npz")),
    "a section is spliced": lambda output: any(work_of(output).glob("*.tflite")),
    "the bundle is being written": lambda output: partial_path(output).exists(),
    "the engine runs": lambda output: any(work_of(output).glob(f"{ENGINE_CACHE}*")),
}


def work_of(output: Path) -> Path:
    return output.with_name(f"{output.name}.work")


@pytest.fixture
def output(tmp_path) -> Path:
    """Where an older bundle lies, which only a finished export may replace."""
    path = tmp_path / "tiny.litertlm"
    path.write_bytes(OLDER)
    return path


def kill_when(moment: Callable[[], bool], export: subprocess.Popen[str]) -> str:
    """Kills the export, not its workers, at `moment`; what it had printed, once all it started has ended."""
    try:
        wait_until(lambda: moment() or export.poll() is not None, PATIENCE_S, "the moment to kill")
        assert export.poll() is None, export.communicate()[0]
    finally:
        export.kill()
    export.wait()
    wait_until(lambda: not group_is_alive(export.pid), AFTERLIFE_S, "the end of the workers")
    return export.communicate()[0]


def finished_tasks(work: Path) -> set[str]:
    """What the next run need not do, judged by the files that are there."""
    there = {path.name.partition("-")[0] + path.suffix for path in work.iterdir()}
    spliced = {name for name in names.SECTIONS if {f"{name}.npz", f"{name}.tflite"} <= there}
    quantized = {name for name in names.SECTIONS if {f"{name}.npz", f"{name}.codes"} <= there} - spliced
    return {f"section {name}" for name in spliced} | {f"quantize {name}" for name in quantized}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_export_goes_on_where_it_stopped(exported, tiny_pair, output, moment):
    reference = exported()
    kill_when(lambda: MOMENTS[moment](output), start_export(tiny_pair, output, "--overwrite"))
    assert output.read_bytes() == OLDER
    finished = finished_tasks(work_of(output))
    assert finished
    done = run_export(tiny_pair, output, "--overwrite")
    assert done.returncode == 0, done.stdout
    told = {line.removesuffix("finished before").strip() for line in done.stdout.splitlines() if "before" in line}
    assert {task for task in told if not task.startswith("trace")} == finished
    assert output.read_bytes() == reference.read_bytes()
    assert manifest_path(output).read_bytes() == manifest_path(reference).read_bytes()
    assert sorted(path.name for path in output.parent.iterdir()) == [output.name, f"{output.name}.json"]


@dataclass(frozen=True)
class Short:
    """A pair that is soon traced, with the graphs and the bundle of an export that nothing disturbed."""

    pair: PairPaths
    recipe: Path
    cache: Path
    bundle: Path

    def run(self, output: Path, cache: Path, *options: object) -> subprocess.CompletedProcess[str]:
        return run_export(self.pair, output, "--recipe", self.recipe, *options, env={CACHE_VARIABLE: str(cache)})

    def start(self, output: Path, cache: Path) -> subprocess.Popen[str]:
        return start_export(self.pair, output, "--recipe", self.recipe, env={CACHE_VARIABLE: str(cache)})


@pytest.fixture(scope="module")
def short(tiny_pair, tmp_path_factory) -> Short:
    directory = tmp_path_factory.mktemp("short")
    pair = copy_pair(tiny_pair, directory)
    shorten(pair)
    made = Short(pair, directory / "recipe.toml", directory / "cache", directory / "tiny.litertlm")
    made.recipe.write_text(SHORT)
    done = made.run(made.bundle, made.cache)
    assert done.returncode == 0, done.stdout
    return made


def graphs_of(cache: Path) -> dict[str, tuple[int, bytes]]:
    """Traced graphs by name: which file, and its content."""
    return {path.name: (path.stat().st_ino, path.read_bytes()) for path in (cache / "graphs").glob("*.tflite")}


def test_killed_while_tracing(short, tmp_path):
    """The graphs that were there are used, the others come out the same."""
    output, cache = tmp_path / "tiny.litertlm", tmp_path / "cache"
    kill_when(lambda: any((cache / "graphs").glob("*.tflite")), short.start(output, cache))
    assert not output.exists()
    before = graphs_of(cache)
    assert 0 < len(before) < len(graphs_of(short.cache))
    done = short.run(output, cache)
    assert done.returncode == 0, done.stdout
    after = graphs_of(cache)
    assert before.items() <= after.items()
    assert {name: graph for name, (_, graph) in after.items()} == {
        name: graph for name, (_, graph) in graphs_of(short.cache).items()
    }
    assert output.read_bytes() == short.bundle.read_bytes()


def test_without_resuming_everything_is_made_anew(short, tmp_path):
    """Graphs too; what is not an export's stays where it is, though it lies in the work directory."""
    cache, work, output = tmp_path / "cache", tmp_path / "work", tmp_path / "tiny.litertlm"
    shutil.copytree(short.cache, cache)
    (work / "holiday").mkdir(parents=True)
    for name in ("notes.txt", "film.mkv.part", "target-notes.tflite"):
        (work / name).write_text("mine")
    foreign = contents(work)
    before = graphs_of(cache)
    done = short.run(output, cache, "--no-resume", "--work-dir", work)
    assert done.returncode == 0, done.stdout
    assert "finished before" not in done.stdout
    after = graphs_of(cache)
    assert all(before[name][0] != after[name][0] for name in before)
    assert {name: graph for name, (_, graph) in before.items()} == {name: graph for name, (_, graph) in after.items()}
    assert output.read_bytes() == short.bundle.read_bytes()
    assert manifest_path(output).read_bytes() == manifest_path(short.bundle).read_bytes()
    assert foreign.items() <= contents(work).items()


def test_second_export_in_the_same_work_directory_is_refused(exported, tiny_pair, output):
    with start_export(tiny_pair, output, "--overwrite") as first:
        wait_until(lambda: MOMENTS["weights are quantized"](output), PATIENCE_S, "the first export's work")
        first.send_signal(signal.SIGSTOP)
        try:
            second = run_export(tiny_pair, output, "--overwrite")
        finally:
            first.send_signal(signal.SIGCONT)
        printed, _ = first.communicate(timeout=PATIENCE_S)
    assert second.returncode == 1
    refusal = f"error: another export is running in {work_of(output)}; wait for it, or give another --work-dir"
    assert second.stdout.splitlines()[-1] == refusal
    assert first.returncode == 0, printed
    assert output.read_bytes() == exported().read_bytes()


@pytest.mark.parametrize("moment", ["weights are quantized", "the engine runs"])
def test_interrupt_ends_it_at_once_and_says_so(tiny_pair, output, moment):
    with start_export(tiny_pair, output, "--overwrite") as export:
        wait_until(lambda: MOMENTS[moment](output), PATIENCE_S, moment)
        os.killpg(export.pid, signal.SIGINT)  # as a terminal does
        printed, _ = export.communicate(timeout=AFTERLIFE_S)
    assert export.returncode == 130
    assert "interrupted; finished stages are kept, run the same command again to go on\n" in printed
    assert "Traceback" not in printed
    wait_until(lambda: not group_is_alive(export.pid), AFTERLIFE_S, "the end of the workers")
    assert output.read_bytes() == OLDER
    assert sorted(path.name for path in output.parent.iterdir()) == [output.name, work_of(output).name]
    assert not any(work_of(output).glob(f"{ENGINE_CACHE}*"))


def test_workers_never_hear_an_interrupt():
    """Not even while they start, when Python would print a traceback for each."""
    script = """
import os, pathlib, signal
from edge_mtp.convert.schedule import result_of, worker_pool
with worker_pool(pathlib.Path(os.devnull), lambda task, count: None) as pool:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.killpg(0, signal.SIGINT)
    print(result_of(pool.submit(pow, 2, 5)))
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, start_new_session=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("32\n", "")


@pytest.mark.timeout(60)
def test_worker_that_is_killed_becomes_a_refusal(tmp_path):
    """Also one that takes the lock of the queue with it."""
    with (
        pytest.raises(ResourceError, match="a worker process was killed, most likely because memory ran out"),
        worker_pool(tmp_path / "log", lambda task, count: None) as pool,
    ):
        result_of(pool.submit(die_while_speaking))


def test_disk_that_fills_up_halfway(exported, tiny_pair, output):
    """Stood in for by a limit on the size of files, which the largest section's weights pass."""
    command = shlex.join(export_command(tiny_pair, output, "--overwrite"))
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 1024; exec {command}"],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert done.returncode == 1
    assert "error: a worker process could not go on: [Errno 27] File too large; mend that" in done.stderr
    assert "Traceback" not in done.stderr
    assert output.read_bytes() == OLDER
    assert run_export(tiny_pair, output, "--overwrite").returncode == 0
    assert output.read_bytes() == exported().read_bytes()


def test_hashing_is_given_up_with_the_export(tiny_pair, tmp_path):
    """Reading a large checkpoint to its end would keep a user waiting after Ctrl-C."""

    class Slow:
        heard = 0

        def start(self, task, total):
            pass

        def finish(self, task, seconds=None):
            raise AssertionError("hashed to the end")

        def advance(self, task, count):
            self.heard += 1
            time.sleep(0.2)

    slow = Slow()
    request = pipeline.ExportRequest(str(tiny_pair.target), str(tiny_pair.drafter), tmp_path / "x.litertlm")
    with pytest.raises(KeyboardInterrupt), pipeline._source_digests(pipeline.prepare(request), slow):
        raise KeyboardInterrupt
    assert slow.heard <= 1
