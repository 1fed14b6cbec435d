"""Checks disk and memory before an export begins; refuses with figures instead of failing halfway."""

import shutil
from pathlib import Path
from typing import Final

from edge_mtp.convert.plan import ExportPlan
from edge_mtp.convert.stages import finished_bytes
from edge_mtp.errors import ResourceError

PARENT_BYTES: Final = 250 << 20
TRACER_BYTES: Final = 700 << 20
TRACER_BYTES_PER_LAYER: Final = 1 << 20
"""Per layer and signature. Together they give E2B the 1.87 GB that `make scale` measured; weights never add to them,
because they are streamed in chunks."""


def needed_disk_bytes(plan: ExportPlan) -> int:
    """Work directory: sections, and codes not yet spliced or the engine's weight cache; beside it the bundle."""
    largest = max(section.bytes for section in plan.sections)
    return 2 * plan.bundle_bytes + largest


def needed_memory_bytes(plan: ExportPlan) -> int:
    """Peak of the parent and two tracing workers, mapped files not counted."""
    signatures = len(plan.lengths.prefill) + 2
    layers = plan.pair.target.decoder.layers
    return PARENT_BYTES + 2 * TRACER_BYTES + TRACER_BYTES_PER_LAYER * layers * signatures


def check_resources(plan: ExportPlan, work_dir: Path, output: Path) -> None:
    """ResourceError where disk or memory is too small for `plan`; what a killed run left is room already taken."""
    memory, needed_memory = available_memory_bytes(), needed_memory_bytes(plan)
    if memory is not None and memory < needed_memory:
        raise ResourceError(
            f"{_gb(memory)} of memory are free, this export needs about {_gb(needed_memory)}; "
            "close other programs, or use a machine with more memory"
        )
    needed_work = max(needed_disk_bytes(plan) - plan.bundle_bytes - finished_bytes(work_dir), 0)
    places = {_existing(work_dir): needed_work, _existing(output.parent): plan.bundle_bytes}
    if len({place.stat().st_dev for place in places}) == 1:
        places = {_existing(work_dir): needed_work + plan.bundle_bytes}
    for place, needed in places.items():
        free = shutil.disk_usage(place).free
        if free < needed:
            raise ResourceError(
                f"{place} has {_gb(free)} free, this export needs about {_gb(needed)} there; "
                "free some space, or give another --work-dir or --output"
            )


def available_memory_bytes() -> int | None:
    """Memory a new program may take: the kernel's estimate, bounded by the cgroup; None where unknown."""
    bounds = [_meminfo_available(), _cgroup_available()]
    known = [bound for bound in bounds if bound is not None]
    return min(known) if known else None


def _meminfo_available() -> int | None:
    path = Path("/proc/meminfo")
    lines = path.read_text().splitlines() if path.exists() else []
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(found[0]) * 1024 if found else None


def _cgroup_available() -> int | None:
    """What the memory cgroup (version 2) still allows; file pages it holds can be given back."""
    base = Path("/sys/fs/cgroup")
    limit, used, stat = base / "memory.max", base / "memory.current", base / "memory.stat"
    if not all(path.exists() for path in (limit, used, stat)) or limit.read_text().strip() == "max":
        return None
    pages = dict(line.split() for line in stat.read_text().splitlines())
    return int(limit.read_text()) - int(used.read_text()) + int(pages.get("inactive_file", 0))


def _existing(path: Path) -> Path:
    """`path` or its nearest ancestor that exists."""
    path = path.resolve()
    return next(place for place in (path, *path.parents) if place.exists())


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
