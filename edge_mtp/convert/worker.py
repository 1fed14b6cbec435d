"""What runs in worker processes: tracing, quantizing, splicing. Each task writes one finished file.

Workers are spawned, silent (their output goes to a log file), tell their progress through a queue, and end
with their parent, however it ends.
"""

import gc
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing import connection, parent_process
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_mtp.checkpoint.tensors import Checkpoint, open_checkpoint
from edge_mtp.convert.constants import Constant, array_constant, raw_codes_constant, weight_constant
from edge_mtp.convert.plan import PlannedWeight, SectionNeeds, SectionPlan
from edge_mtp.convert.quantize import QuantizedTensor, WeightRows, quantize_weight
from edge_mtp.convert.splice import splice
from edge_mtp.convert.stages import Stages, written_whole
from edge_mtp.graphs.spec import GraphSpec, checkpoint_of
from edge_mtp.recipe import WeightFormat

WEIGHT_PREFIX = "weights_core."
"""How litert-torch spells the signature input of parameter X of `core`: this, then X."""

Message = tuple[str, int]
"""(task, amount done since the last message)."""


@dataclass(frozen=True)
class Sources:
    """Checkpoint directories by names.TARGET and names.DRAFTER."""

    directories: Mapping[str, Path]

    def of(self, section: str) -> Checkpoint:
        """The checkpoint that feeds `section`, opened anew."""
        return open_checkpoint(self.directories[checkpoint_of(section)])


_progress: "list[SimpleQueue[Message | None]]" = []
"""The queue to the parent; a worker gets it when it starts, since tasks cannot carry it."""


def start_worker(log: Path, progress: "SimpleQueue[Message | None]") -> None:
    """Initializer: sends the process's own output to `log` and ties its life to its parent's."""
    _progress.append(progress)
    with log.open("ab") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


def timed(call: Callable[..., None], *arguments: Any) -> float:
    """Calls a task; the seconds it took."""
    started = time.monotonic()
    call(*arguments)
    return time.monotonic() - started


def quantize_task(section: str) -> str:
    """What the quantizing of `section` is called in progress messages."""
    return f"quantize {section}"


def describe(specs: Sequence[GraphSpec], drafter: Path) -> dict[str, SectionNeeds]:
    """What each section needs, read off its graph on `meta`."""
    from edge_mtp.graphs.signatures import build_section
    from edge_mtp.graphs.weights import made_tables, weight_slots

    checkpoint = open_checkpoint(drafter)
    sections = {spec.section: build_section(spec) for spec in specs}
    return {
        name: SectionNeeds(weight_slots(section), made_tables(section, checkpoint))
        for name, section in sections.items()
    }


def lower(spec: GraphSpec, signature: str, path: Path) -> None:
    """The weightless graph of one signature of `spec`."""
    import torch

    from edge_mtp.convert.lower import lower_to_file

    torch.set_num_threads(1)
    with written_whole(path) as part:
        lower_to_file(spec, signature, part)
    gc.collect()  # a traced graph is full of cycles: left to the collector's own pace, three of them are 0.5 GB


def quantize(section: SectionPlan, sources: Sources, stages: Stages) -> None:
    """The section's weights: codes in one file, then scales and errors in another, which marks the stage done."""
    checkpoint = sources.of(section.name)

    with (
        written_whole(stages.codes) as part,
        part.open("wb") as out,
        _Progress(quantize_task(section.name)) as progress,
    ):
        tensors = [
            quantize_weight(weight_rows(checkpoint, weight), weight.format, out, progress.add)
            for weight in section.weights
        ]
    with written_whole(stages.scales) as part:
        save_tensors(part, tensors)


def splice_section(section: SectionPlan, stages: Stages) -> None:
    """The finished `.tflite` of a section; its codes go once it stands."""
    tensors = load_tensors(stages.scales)
    bindings, constants = bind(section, tensors, stages)
    inputs = {f"{WEIGHT_PREFIX}{parameter}": name for parameter, name in bindings.items()}
    lowered = [path.read_bytes() for path in stages.lowered.values()]
    with written_whole(stages.spliced) as part:
        splice(lowered, dict.fromkeys(stages.lowered, inputs), constants, part)
    stages.codes.unlink(missing_ok=True)


def weight_rows(checkpoint: Checkpoint, weight: PlannedWeight) -> WeightRows:
    """Rows of a weight as they are stored, after its shape was checked; gathered rows in cluster order."""
    slot = weight.slot
    stored = checkpoint.stored_name(slot.name)
    checkpoint.expect(stored, slot.shape)
    origin = f"{checkpoint.info(stored).path}: {stored}"
    if slot.kind != "rows":
        return WeightRows(slot.name, slot.shape, lambda a, b: checkpoint.read_raw(stored, a, b), origin)
    from edge_mtp.graphs.weights import token_order

    ordered = checkpoint.read_raw(stored)[token_order(checkpoint, slot.shape[0])]
    return WeightRows(slot.name, slot.shape, lambda a, b: ordered[a:b], origin)


def bind(
    section: SectionPlan, tensors: Mapping[str, QuantizedTensor], stages: Stages
) -> tuple[dict[str, str], dict[str, Constant]]:
    """(parameter -> constant's name, constants by name) of a section."""
    bindings: dict[str, str] = {}
    constants: dict[str, Constant] = {}
    for weight in section.weights:
        slot, tensor = weight.slot, tensors[weight.slot.name]
        bindings[slot.parameter] = slot.name
        if slot.kind != "rows":
            constants[slot.name] = weight_constant(tensor, stages.codes)
            continue
        drafter = section.spec.drafter
        shape = (drafter.centroids, drafter.tokens_per_centroid * slot.shape[1])
        constants[slot.name] = replace(raw_codes_constant(tensor, stages.codes), shape=shape)
        if tensor.scales is not None:
            name = f"{slot.name}.scales"
            bindings["head.scales"], constants[name] = name, array_constant(name, tensor.scales.reshape(shape[0], -1))
    for name, table in section.tables.items():
        bindings[name], constants[name] = name, array_constant(name, table)
    return bindings, constants


def save_tensors(path: Path, tensors: Sequence[QuantizedTensor]) -> None:
    """Scales and figures of `tensors` as one `.npz`; their codes are elsewhere."""
    facts = [{**vars(t), "format": vars(t.format), "scales": None} for t in tensors]
    arrays: dict[str, Any] = {f"scales_{i}": t.scales for i, t in enumerate(tensors) if t.scales is not None}
    with path.open("wb") as out:
        np.savez(out, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8), **arrays)


def load_tensors(path: Path, *, with_scales: bool = True) -> dict[str, QuantizedTensor]:
    """What `save_tensors` wrote, by weight name; the scales of E2B alone are 0.1 GB, and errors do not need them."""
    with np.load(path) as stored:
        facts = json.loads(stored["facts"].tobytes())
        return {
            fact["name"]: _tensor(fact, stored.get(f"scales_{i}") if with_scales else None)
            for i, fact in enumerate(facts)
        }


def _tensor(fact: dict[str, Any], scales: npt.NDArray[Any] | None) -> QuantizedTensor:
    shaped = {"shape": tuple(fact["shape"]), "format": WeightFormat(**fact["format"]), "scales": scales}
    return QuantizedTensor(**{**fact, **shaped})


class _Progress:
    """Adds up bytes and tells the parent every 8 MB or so: a message costs more than a chunk's arithmetic."""

    def __init__(self, task: str) -> None:
        self._task, self._pending = task, 0

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._tell()

    def add(self, count: int) -> None:
        """`count` more bytes."""
        self._pending += count
        if self._pending >= 8 << 20:
            self._tell()

    def _tell(self) -> None:
        for queue in _progress:
            queue.put((self._task, self._pending))
        self._pending = 0
