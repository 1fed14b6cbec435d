"""report.json has the schema that the dataclasses declare and docs/report.md explains."""

import json
from pathlib import Path

import pytest

from edge_mtp.parity import report, results
from edge_mtp.parity.report import Report, finite
from edge_mtp.parity.results import Finding
from tests.documented import classes, faults, undocumented, wrongly_documented

DOCUMENT = Path(__file__).parents[2] / "docs" / "report.md"
NUMBERS_ONLY = ("margin", "snr_db")
"""Declared as numbers, null in the file where they are infinite."""


CLASSES = classes(report, results)


def missing(text: str) -> list[str]:
    """Finding is not in the file and has no table."""
    return undocumented(text, CLASSES, told_anywhere=(Finding,))


def test_every_field_is_documented():
    assert len(CLASSES) == 19
    assert missing(DOCUMENT.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("old", "fields"),
    [
        ("| `kl_p99` | ", ["SuiteQuality.kl_p99"]),
        ("## Interval\n", ["Interval.value", "Interval.low", "Interval.high"]),
        ("`fault`", ["Finding.fault"]),
    ],
)
def test_a_field_left_out_is_noticed(old, fields):
    text = DOCUMENT.read_text(encoding="utf-8")
    assert old in text and missing(text.replace(old, "")) == fields


def test_nothing_else_is_documented():
    text = DOCUMENT.read_text(encoding="utf-8")
    tabled = [kind for kind in CLASSES if kind is not Finding]
    assert wrongly_documented(text, tabled) == []
    assert wrongly_documented(text.replace("| `kl_p99` | ", "| `kl_p98` | "), tabled) == ["SuiteQuality"]


def test_the_file_has_the_schema(whole):
    value = whole.report
    assert (value.pop("kind"), value.pop("schema_version")) == ("edge_mtp.parity", 1)
    assert list(faults(Report, value, nullable=NUMBERS_ONLY)) == []
    for part in ("rungs", "acceptance", "draft_lengths", "quality", "divergences", "worst_tensors", "advice"):
        assert value[part], f"{part} is empty, so nothing of its schema was looked at"
    for part in ("cost", "engine", "kl_histogram"):
        assert value[part] is not None


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda value: value.pop("advice"), "report: ['advice']"),
        (lambda value: value["bundle"].update(more=1), "report.bundle: ['more']"),
        (lambda value: value["bundle"].update(draft_steps="3"), "report.bundle.draft_steps: '3'"),
        (lambda value: value["rungs"][2].update(verdict="maybe"), "report.rungs[2].verdict: 'maybe'"),
        (lambda value: value["cost"]["curve"][0].append(1.0), "report.cost: "),
        (lambda value: value["quality"][0].update(kl_mean=None), "report.quality[0].kl_mean: None is no"),
        (lambda value: value["settings"].update(seed=True), "report.settings.seed: True is no"),
    ],
)
def test_another_schema_is_noticed(whole, change, place):
    value = whole.report
    del value["kind"], value["schema_version"]
    change(value)
    (fault,) = faults(Report, value, nullable=NUMBERS_ONLY)
    assert fault.startswith(place)


def test_finite():
    inf, nan = float("inf"), float("nan")
    value = {"a": [1, 2.5, -inf], "b": {"c": nan, "d": None, "e": True, "f": "nan"}, "g": (inf, "x")}
    assert finite(value) == {"a": [1, 2.5, None], "b": {"c": None, "d": None, "e": True, "f": "nan"}, "g": [None, "x"]}
    json.dumps(finite(value), allow_nan=False)
    with pytest.raises(ValueError, match="not JSON compliant"):
        json.dumps(value, allow_nan=False)
