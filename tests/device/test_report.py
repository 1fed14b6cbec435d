"""device.json has the schema that its dataclasses declare and docs/device-report.md explains."""

import json
from pathlib import Path

import pytest

from edge_mtp.device import report, report_facts
from edge_mtp.device.log import read_log
from edge_mtp.device.report import Report, to_json
from tests.device.schemas import GOLDEN
from tests.device.spoiling import log_of, report_of
from tests.device.test_golden import LOGS
from tests.documented import classes, faults, undocumented, wrongly_documented

DOCUMENT = Path(__file__).parents[2] / "docs" / "device-report.md"
CLASSES = classes(report_facts, report)


def value(*names: str):
    return json.loads(json.dumps(to_json(report_of(*map(log_of, names)))))


def test_every_field_is_documented_and_nothing_else():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert len(CLASSES) == 24
    assert undocumented(text, CLASSES) == [] and wrongly_documented(text, CLASSES) == []


def test_a_field_left_out_or_made_up_is_noticed():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert undocumented(text.replace("| `percent_source` | ", ""), CLASSES) == ["EnergyFigures.percent_source"]
    assert wrongly_documented(text.replace("| `mean_w` | ", "| `median_w` | "), CLASSES) == ["ArmEnergy"]


@pytest.mark.parametrize("name", [name for name in LOGS if name != "interrupted-resumed"])
def test_the_file_has_the_schema(name):
    found = value(name)
    assert (found.pop("kind"), found.pop("schema_version")) == ("edge_mtp.device", 1)
    assert list(faults(Report, found)) == []


def test_all_parts_are_there_somewhere():
    logs = [log for name in ("throttling", "interrupted", "plugged-in") for log in read_log(GOLDEN / f"{name}.jsonl")]
    phones = json.loads(json.dumps(to_json(report_of(*logs))))["phones"]
    for part in ("remarks", "arms", "rates", "classes", "trials", "heat"):
        assert any(phone[part] for phone in phones), f"{part} is empty, so nothing of its schema was looked at"
    assert phones[0]["energy"]["net_ratio"] and phones[2]["energy"]["void_blocks"]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda one: one.pop("reason"), "report: ['reason']"),
        (lambda one: one["phones"][0].update(more=1), "report.phones[0]: ['more']"),
        (lambda one: one["phones"][0]["energy"].update(unit=3), "report.phones[0].energy.unit: 3"),
        (lambda one: one["phones"][0]["rates"][0]["off"].update(count="1"), "report.phones[0].rates[0].off: "),
    ],
)
def test_another_schema_is_noticed(change, place):
    found = value("throttling")
    del found["kind"], found["schema_version"]
    change(found)
    (fault,) = faults(Report, found)
    assert fault.startswith(place)
