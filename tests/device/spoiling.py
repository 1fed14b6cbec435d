"""Golden logs with something changed, as a reader would get them."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge_mtp.device.host_battery import HostLog
from edge_mtp.device.log import RunLog, parse_log
from edge_mtp.device.report import PhoneReport, Report
from edge_mtp.device.summary import summarize
from tests.device.schemas import records

NOW = datetime(2026, 3, 2, tzinfo=UTC)
Change = Callable[[dict[str, Any]], dict[str, Any] | None]


def log_of(name: str, *changes: Change, more: tuple[dict[str, Any], ...] = ()) -> RunLog:
    """A golden log; each change gets a record and gives it back, changed, or None to leave it out."""
    found: list[dict[str, Any]] = []
    for record in records(name):
        kept: dict[str, Any] | None = dict(record)
        for change in changes:
            kept = change(kept) if kept is not None else None
        found += [kept] if kept is not None else []
    found = sorted([*found, *more], key=lambda one: one["t_ms"])
    for seq, record in enumerate(found):
        record |= {"seq": seq, "v": 1, "run": found[0]["run"]}
    text = "".join(json.dumps(record) + "\n" for record in found)
    (log,) = parse_log(Path(f"{name}.jsonl"), text.encode())
    return log


def report_of(*logs: RunLog, host: HostLog | None = None, seed: int = 0) -> Report:
    return summarize(logs, host, seed, NOW)


def phone_of(name: str, *changes: Change, more: tuple[dict[str, Any], ...] = ()) -> PhoneReport:
    return report_of(log_of(name, *changes, more=more)).phones[0]


def in_sample(**values: Any) -> Change:
    """Sets values in every sample; a function is called with what is there, None takes a key out."""

    def change(record: dict[str, Any]) -> dict[str, Any]:
        if record["kind"] == "sample":
            for key, value in values.items():
                if callable(value):
                    value = value(record[key]) if key in record else None
                record = {**record, key: value} if value is not None else {k: v for k, v in record.items() if k != key}
        return record

    return change


def in_trial(index: int | None = None, **values: Any) -> Change:
    """Sets values in one trial, or in all of them."""

    def change(record: dict[str, Any]) -> dict[str, Any]:
        hit = record["kind"] == "trial" and index in (None, record["index"])
        return {**record, **values} if hit else record

    return change


def event(t_ms: int, name: str, value: Any = None) -> dict[str, Any]:
    return {"kind": "event", "t_ms": t_ms, "name": name} | ({} if value is None else {"value": value})
