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

PART: Final = ".part"
CACHE_VARIABLE: Final = "EDGE_MTP_CACHE"
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
        weights = _digest("weights", source, _described(section), _sources("quantize.py", "packing.py"))
        spliced = _digest("section", lowering, weights, _sources("splice.py", "flatbuffer.py", "constants.py"))
        return Stages(
            lowered={name: self.graphs / f"{section.name}-{lowering}-{name}.tflite" for name in signatures},
            codes=self.directory / f"{section.name}-{weights}.codes",
            scales=self.directory / f"{section.name}-{weights}.npz",
            spliced=self.directory / f"{section.name}-{spliced}.tflite",
        )

    def clear(self) -> None:
        """Removes this export's directory, keeping the shared graphs."""
        shutil.rmtree(self.directory, ignore_errors=True)


def default_graph_cache() -> Path:
    """`$EDGE_MTP_CACHE`, else the user's cache directory."""
    base = os.environ.get(CACHE_VARIABLE)
    if base:
        return Path(base)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-mtp"


@contextmanager
def open_work_dir(directory: Path, *, resume: bool) -> Iterator[WorkDir]:
    """The work directory, locked against a second export; its unfinished files are swept away.

    Without `resume` finished stages and the graphs are made anew too.
    """
    graphs = default_graph_cache() / "graphs"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        graphs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(f"cannot make the work directory {directory} ({error.strerror}); choose another") from None
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise EdgeMtpError(
                f"another export is running in {directory}; wait for it, or give another --work-dir"
            ) from None
        for stale in directory.glob("*" if not resume else f"*{PART}"):
            if stale.name != "lock":
                stale.unlink()
        yield WorkDir(directory, graphs)


def lowering_key(spec: GraphSpec) -> str:
    """Digest of all that shapes a lowered graph: the spec, our graph code, the tools' versions."""
    versions = repr([(tool, version(tool)) for tool in LOWERING_TOOLS])
    graphs = sorted(Path(edge_mtp.graphs.__path__[0]).glob("*.py"))
    described = json.dumps(asdict(spec), sort_keys=True, default=str)
    return _digest(described, versions, _sources("lower.py"), *(path.read_text() for path in graphs))


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
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]
