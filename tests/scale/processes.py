"""Memory and CPU time of a process and all it started, read from /proc."""

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_KIB = 1024


@dataclass(frozen=True)
class ProcessMemory:
    """One process: `bytes` of memory, of which `file_bytes` are pages of mapped files.

    Clean file pages are the kernel's to take back, so they are no demand the process makes.
    `peak_resident_bytes` is the most RSS it has had, as the kernel counts it between samples too, `cpu_s` the
    CPU time it has used.
    """

    pid: int
    command: str
    bytes: int
    file_bytes: int
    peak_resident_bytes: int
    cpu_s: float


def has_proportional_sizes() -> bool:
    """Whether the kernel tells PSS, which counts a page shared by n processes as 1/n; else RSS is used."""
    return (PROC / "self" / "smaps_rollup").is_file()


def process_tree(root: int) -> list[int]:
    """Ids of `root`, its descendants, and what runs in the session it leads though its parent has ended."""
    children: dict[int, list[int]] = defaultdict(list)
    found = {root}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (status := _read(entry / "stat")):
            _, parent, _, session = status.rpartition(")")[2].split()[:4]
            children[int(parent)].append(int(entry.name))
            if int(session) == root:
                found.add(int(entry.name))
    waiting = list(found)
    while waiting:
        new = set(children[waiting.pop()]) - found
        found |= new
        waiting += new
    return sorted(found)


def read_memory(pid: int, *, proportional: bool) -> ProcessMemory | None:
    """Memory of `pid`, None where it has ended, if only its parent has not yet heard of it."""
    sizes = _proportional_sizes(pid) if proportional else _resident_sizes(pid)
    if sizes is None or sizes[0] == 0:
        return None
    command = _read(PROC / str(pid) / "cmdline").replace("\0", " ").strip()
    status = _fields(_read(PROC / str(pid) / "status"))
    return ProcessMemory(pid, command, *sizes, _bytes(status.get("VmHWM", "0 kB")), _cpu_s(pid))


def _cpu_s(pid: int) -> float:
    ticks = _read(PROC / str(pid) / "stat").rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def _proportional_sizes(pid: int) -> tuple[int, int] | None:
    fields = _fields(_read(PROC / str(pid) / "smaps_rollup").partition("\n")[2])
    if "Pss" not in fields:
        return None
    return _bytes(fields["Pss"]), _bytes(fields.get("Pss_File", "0 kB"))


def _resident_sizes(pid: int) -> tuple[int, int] | None:
    pages = _read(PROC / str(pid) / "statm").split()
    if len(pages) < 3:
        return None
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    return int(pages[1]) * page_bytes, int(pages[2]) * page_bytes


def _fields(text: str) -> dict[str, str]:
    return dict(line.split(":", 1) for line in text.splitlines())


def _bytes(field: str) -> int:
    return int(field.split()[0]) * _KIB


def _read(path: Path) -> str:
    """Text of a file in /proc, empty where its process has ended or is another user's."""
    try:
        return path.read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""
