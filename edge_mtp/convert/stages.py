"""Where an export keeps what it has finished, so that a killed run is taken up where it stopped.

A stage's file bears a key of everything that decides its bytes, and gets that name only when it is whole:
a file that exists is right, whoever made it. Lowered graphs do not depend on weights, so they live in a
cache of their own that every export shares; weights and sections live in the export's work directory.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import edge_mtp.convert
import edge_mtp.graphs
from edge_mtp.checkpoint.tensors import Checkpoint
from edge_mtp.convert.plan import SectionPlan
from edge_mtp.errors import EdgeMtpError, ResourceError
from edge_mtp.graphs.spec import GraphSpec, signature_names
from edge_mtp.names import SECTIONS

PART: Final = ".part"
ENGINE_CACHE: Final = "edge-mtp-engine-cache-"
WORKER_LOG: Final = "worker.log"
LOCK: Final = "lock"
KEY_DIGITS: Final = 20
CACHE_VARIABLE: Final = "EDGE_MTP_CACHE"
QUANTIZING: Final = ("worker.py", "quantize.py", "minmax.py", "packing.py")
SPLICING: Final = ("splice.py", "flatbuffer.py", "constants.py")
LOWERING_TOOLS: Final = ("torch", "litert-torch", "litert-converter", "ai-edge-litert")


@dataclass(frozen=True)
class Stages:
    """File names of one section's stages."""

    lowered: Mapping[str, Path]
    """By signature."""
    codes: Path
    scales: Path
    spliced: Path


@dataclass(frozen=True)
class WorkDir:
    """The two places of unfinished business: this export's directory, and the shared cache of graphs."""

    directory: Path
    graphs: Path

    def stages(self, section: SectionPlan, source: str) -> Stages:
        """Names for `section`, its weights from files with key `source` (see `source_key`)."""
        lowering = lowering_key(section.spec)
        signatures = signature_names(section.spec)
        weights = _digest("weights", source, _described(section), _sources(*QUANTIZING))
        spliced = _digest("section", lowering, weights, _sources(*SPLICING))
        return Stages(
            lowered={name: self.graphs / f"{section.name}-{lowering}-{name}.tflite" for name in signatures},
            codes=self.directory / f"{section.name}-{weights}.codes",
            scales=self.directory / f"{section.name}-{weights}.npz",
            spliced=self.directory / f"{section.name}-{spliced}.tflite",
        )

    def clear(self) -> None:
        """Removes what exports wrote here, and the directory where nothing else lies in it; the graphs stay."""
        _sweep(self.directory, finished_too=True)
        for name in (WORKER_LOG, LOCK):
            (self.directory / name).unlink(missing_ok=True)
        if not any(self.directory.iterdir()):
            self.directory.rmdir()


def default_graph_cache() -> Path:
    """`$EDGE_MTP_CACHE`, else the user's cache directory."""
    base = os.environ.get(CACHE_VARIABLE)
    if base:
        return Path(base)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-mtp"


@contextmanager
def open_work_dir(directory: Path, *, resume: bool) -> Iterator[WorkDir]:
    """The work directory, locked against a second export.

    Unfinished files of earlier exports are swept away, without `resume` the finished ones too. What else lies in
    the directory is left alone: it may be one that the user had before.
    """
    graphs = default_graph_cache() / "graphs"
    try:
        graphs.mkdir(parents=True, exist_ok=True)
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / LOCK).open("w")
    except OSError as error:
        raise ResourceError(
            f"cannot write {error.filename} ({error.strerror}); give another --work-dir, or {CACHE_VARIABLE} "
            "for the cache of graphs"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise EdgeMtpError(
                f"another export is running in {directory}; wait for it, or give another --work-dir"
            ) from None
        _sweep(directory, finished_too=not resume)
        yield WorkDir(directory, graphs)


def finished_bytes(directory: Path) -> int:
    """Size of the stages that `directory` holds, of whatever export."""
    return sum(path.stat().st_size for path in _stage_files(directory))


def _stage_files(directory: Path) -> list[Path]:
    """Files with the names that `WorkDir.stages` gives, unfinished ones among them."""
    pattern = "[0-9a-f]" * KEY_DIGITS
    return [path for section in SECTIONS for path in directory.glob(f"{section}-{pattern}.*")]


def _sweep(directory: Path, *, finished_too: bool) -> None:
    """Removes stage files, and the caches of smoke runs that were killed."""
    for cache in directory.glob(f"{ENGINE_CACHE}*"):
        shutil.rmtree(cache)
    for path in _stage_files(directory):
        if finished_too or path.suffix == PART:
            path.unlink()


def lowering_key(spec: GraphSpec) -> str:
    """Digest of all that shapes a lowered graph: the spec, our graph code, the tools' versions."""
    versions = repr([(tool, version(tool)) for tool in LOWERING_TOOLS])
    graphs = sorted(Path(edge_mtp.graphs.__path__[0]).glob("*.py"))
    described = json.dumps(asdict(spec), sort_keys=True, default=str)
    return _digest(described, versions, _sources("lower.py", "lowerings.py"), *(path.read_text() for path in graphs))


def source_key(*checkpoints: Checkpoint) -> str:
    """Digest of which files the weights come from: names, sizes, times of change. No content is read."""
    files = [
        (str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns)
        for checkpoint in checkpoints
        for path in checkpoint.files
    ]
    return _digest(json.dumps(files))


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A name to write to; it becomes `path` when the block ends well and vanishes when it does not."""
    part = path.with_name(f"{path.name}.{os.getpid()}{PART}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _described(section: SectionPlan) -> str:
    return repr([(weight.slot, weight.format) for weight in section.weights])


def _sources(*files: str) -> str:
    """Digest of our own code that decides a stage's bytes."""
    folder = Path(edge_mtp.convert.__path__[0])
    return hashlib.sha256(b"".join((folder / file).read_bytes() for file in files)).hexdigest()


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:KEY_DIGITS]
