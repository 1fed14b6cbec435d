"""The same figures as CSV: a row a trial, and a row a sample of every phone."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, Final

from edge_mtp.device.facts import watts
from edge_mtp.device.log import RunLog
from edge_mtp.device.records import Sample
from edge_mtp.device.report import PhoneReport, TrialFigures

WHO: Final = ("run", "device_model")
TRIAL_COLUMNS: Final = (*WHO, *(one.name for one in fields(TrialFigures)))
SAMPLE_COLUMNS: Final = (
    *(*WHO, "t_ms", "watts"),
    *(one.name for one in fields(Sample) if one.name not in ("run", "seq", "t_ms", "extra")),
)


def trials_csv(phones: Sequence[PhoneReport]) -> str:
    """A row a trial, those that do not count as well; lists are joined by `;`, unknown is empty."""
    return _csv(TRIAL_COLUMNS, ({**_who(one), **asdict(trial)} for one in phones for trial in one.trials))


def samples_csv(logs: Sequence[RunLog]) -> str:
    """A row a sample as the phone wrote it, with the watts that leave the battery by its current and voltage."""
    rows = (
        {**vars(sample), "device_model": log.run.device_model, "watts": watts(sample)}
        for log in logs
        for sample in log.samples
    )
    return _csv(SAMPLE_COLUMNS, rows)


def _who(phone: PhoneReport) -> dict[str, str]:
    return {"run": phone.run, "device_model": phone.phone.device_model}


def _csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row[column]) for column in columns] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, tuple):
        return ";".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, Mapping) else value
