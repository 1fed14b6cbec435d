"""Reading device logs: every line is a record or a remark with its number, and nothing stops at a bad one.

Only a file that holds nothing to read, a version that is not known, or a run without its first record is refused.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from edge_mtp.device.decoding import DecodeError, decode
from edge_mtp.device.records import KINDS, End, Engine, Event, Record, Run, Sample, Trial, Unknown
from edge_mtp.errors import EdgeMtpError

VERSION: Final = 1
ALL_KEYS: Final = frozenset({"v", "kind"})

RemarkKind = Literal["bad line", "truncated", "lost", "unknown", "repeated", "clock"]


class DeviceLogError(EdgeMtpError):
    """A file is no device log, or one that this version cannot read."""


@dataclass(frozen=True)
class Remark:
    """Something about a file worth saying; `line` counts from 1, None where it is about the whole."""

    kind: RemarkKind
    line: int | None
    text: str


@dataclass(frozen=True)
class RunLog:
    """One run, records in the file's order; `others` are of kinds that this version does not know."""

    path: Path
    run: Run
    samples: tuple[Sample, ...] = ()
    events: tuple[Event, ...] = ()
    trials: tuple[Trial, ...] = ()
    engines: tuple[Engine, ...] = ()
    end: End | None = None
    others: tuple[Unknown, ...] = ()
    remarks: tuple[Remark, ...] = ()

    @property
    def interrupted(self) -> bool:
        """Whether the app was killed: its next start said so, or the file simply ends."""
        return self.end is None


@dataclass
class _Lines:
    """What was read of a file so far."""

    records: list[tuple[int, Record]] = field(default_factory=list)
    bad: dict[int, str] = field(default_factory=dict)


def read_logs(paths: Sequence[Path]) -> tuple[RunLog, ...]:
    """All runs of all files; DeviceLogError where one cannot be read, or where two hold the same run."""
    runs: dict[str, RunLog] = {}
    for log in (log for path in paths for log in read_log(path)):
        if log.run.run in runs:
            raise DeviceLogError(
                f"{log.path} and {runs[log.run.run].path} both hold run {log.run.run}; give each run once"
            )
        runs[log.run.run] = log
    return tuple(runs.values())


def read_log(path: Path) -> tuple[RunLog, ...]:
    """The runs in one file, in the order in which they start."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DeviceLogError(f"cannot read {path} ({error.strerror}); give a device log, a .jsonl file") from None
    return tuple(parse_log(path, content))


def parse_log(path: Path, content: bytes) -> Iterator[RunLog]:
    """The runs in `content`; `path` is for messages alone."""
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    whole = not lines[-1].strip()
    found = _Lines()
    for number, line in enumerate(lines, start=1):
        if line.strip():
            _read_line(path, number, line, found)
    if not found.records:
        raise DeviceLogError(
            f"{path} holds no record of a device log ({_first(found.bad) or 'it is empty'}); give the .jsonl file that "
            "the app wrote"
        )
    remarks = list(_line_remarks(found, None if whole else len(lines)))
    names = list(dict.fromkeys(record.run for _, record in found.records))
    for name in names:
        own = [(number, record) for number, record in found.records if record.run == name]
        yield _run_log(path, own, remarks if name == names[0] else [])


def _read_line(path: Path, number: int, line: bytes, found: _Lines) -> None:
    try:
        found.records.append((number, _record(line)))
    except _OtherVersion as error:
        raise DeviceLogError(
            f"{path}, line {number}: version {error} of the log, this edge-mtp reads version {VERSION}; use the "
            "edge-mtp that came with the app"
        ) from None
    except DecodeError as error:
        found.bad[number] = str(error)


class _OtherVersion(Exception):
    """A record of a version that is not known."""


def _record(line: bytes) -> Record:
    try:
        value = json.loads(line.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise DecodeError("not UTF-8 text") from None
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"not JSON ({error})") from None
    if not isinstance(value, dict):
        raise DecodeError(f"a {type(value).__name__}, needed an object")
    if "v" not in value or isinstance(value["v"], bool) or not isinstance(value["v"], int):
        raise DecodeError("`v`, the log's version, is missing or no integer")
    if value["v"] != VERSION:
        raise _OtherVersion(value["v"])
    kind = value.get("kind")
    if not isinstance(kind, str):
        raise DecodeError("`kind` is missing or no text")
    if kind not in KINDS:
        return decode(Unknown, value, frozenset({"v"}))
    record = decode(KINDS[kind], value, ALL_KEYS)
    if isinstance(record, Run):
        _check_time(record.wall_time)
    return record


def _check_time(text: str) -> None:
    """Wall time joins a host's log to the run, so it needs a place on the earth."""
    try:
        known = datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        known = False
    if not known:
        raise DecodeError(f"`wall_time` is {text[:40]!r}, needed a date and time with its offset from UTC")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _first(bad: dict[int, str]) -> str:
    return next((f"line {number}: {why}" for number, why in bad.items()), "")


def _line_remarks(found: _Lines, open_end: int | None) -> Iterator[Remark]:
    """Bad lines, told apart from those that a killed app left: `open_end` is the number of a last line without end."""
    next_record = dict(found.records)
    for number, why in found.bad.items():
        after = next_record.get(number + 1)
        if number == open_end or (isinstance(after, Event) and after.name == "interrupted"):
            yield Remark("truncated", number, "the line is cut off: the app was killed while writing it")
        else:
            yield Remark("bad line", number, why)


def _run_log(path: Path, own: Sequence[tuple[int, Record]], remarks: Sequence[Remark]) -> RunLog:
    first_line, first = own[0]
    head = next((record for _, record in own if isinstance(record, Run)), None)
    if head is None:
        told = "; ".join(f"line {one.line}: {one.text}" for one in remarks[:1])
        raise DeviceLogError(
            f"{path}: run {first.run} (from line {first_line} on) has no `run` record that can be read"
            f"{f' ({told})' if told else ''}; without it the phone and the plan are unknown"
        )
    kept, doubts = _in_order(own)
    notes = [*remarks, *doubts, *_unknown(own)]
    return RunLog(
        path,
        head,
        tuple(one for one in kept if isinstance(one, Sample)),
        tuple(one for one in kept if isinstance(one, Event)),
        tuple(one for one in kept if isinstance(one, Trial)),
        tuple(one for one in kept if isinstance(one, Engine)),
        next((one for one in reversed(kept) if isinstance(one, End)), None),
        tuple(one for one in kept if isinstance(one, Unknown)),
        tuple(sorted(notes, key=lambda one: one.line or 0)),
    )


def _in_order(own: Sequence[tuple[int, Record]]) -> tuple[list[Record], list[Remark]]:
    """Records without those that come twice, and what is odd about their numbers and times."""
    kept: list[Record] = []
    remarks: list[Remark] = []
    for number, record in own:
        last = kept[-1] if kept else None
        if last is not None and record.seq <= last.seq:
            remarks.append(
                Remark("repeated", number, f"seq {record.seq} after {last.seq}: left out, it seems to come twice")
            )
            continue
        expected = 0 if last is None else last.seq + 1
        if record.seq > expected:
            count = record.seq - expected
            remarks.append(Remark("lost", number, f"{count} record{'s' if count > 1 else ''} before it are not there"))
        if last is not None and record.t_ms < last.t_ms:
            remarks.append(Remark("clock", number, f"t_ms falls from {last.t_ms} to {record.t_ms}"))
        kept.append(record)
    return kept, remarks


def _unknown(own: Sequence[tuple[int, Record]]) -> Iterator[Remark]:
    """One remark for each key and kind that nobody knows, at its first line."""
    first: dict[str, int] = {}
    counts: Counter[str] = Counter()
    for number, record in own:
        name = type(record).__name__.lower()
        told = (f"`{key}` in `{name}`" for key in record.extra)
        for what in [f"kind `{record.kind}`"] if isinstance(record, Unknown) else told:
            first.setdefault(what, number)
            counts[what] += 1
    for what, number in first.items():
        yield Remark("unknown", number, f"{what} is not known to this version: kept, not used ({counts[what]} times)")
