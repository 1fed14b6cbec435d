"""report.json has the schema that the dataclasses declare and docs/report.md explains."""

import dataclasses
import json
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest

from edge_mtp.parity import report, results
from edge_mtp.parity.report import Report, finite
from edge_mtp.parity.results import Finding, Verdict

DOCUMENT = Path(__file__).parents[2] / "docs" / "report.md"
NUMBERS_ONLY = ("margin", "snr_db")
"""Declared as numbers, null in the file where they are infinite."""


def classes() -> list[type]:
    return [
        value
        for module in (report, results)
        for value in vars(module).values()
        if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__module__ == module.__name__
    ]


def sections(text: str) -> dict[str, str]:
    """Heading -> what stands under it."""
    parts = text.split("\n## ")[1:]
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in parts}


def undocumented(text: str) -> list[str]:
    """`Class.field` for every field without a row in its class's table; Finding is not in the file and has no table."""
    found = sections(text)
    missing = []
    for kind in classes():
        for field in dataclasses.fields(kind):
            row = f"| `{field.name}` | "
            told = f"`{field.name}`" in text if kind is Finding else row in found.get(kind.__name__, "")
            if not told:
                missing.append(f"{kind.__name__}.{field.name}")
    return missing


def test_every_field_is_documented():
    assert len(classes()) == 19
    assert undocumented(DOCUMENT.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("old", "missing"),
    [
        ("| `kl_p99` | ", ["SuiteQuality.kl_p99"]),
        ("## Interval\n", ["Interval.value", "Interval.low", "Interval.high"]),
        ("`fault`", ["Finding.fault"]),
    ],
)
def test_a_field_left_out_is_noticed(old, missing):
    text = DOCUMENT.read_text(encoding="utf-8")
    assert old in text and undocumented(text.replace(old, "")) == missing


def test_nothing_else_is_documented():
    """A row for a field that is gone would be as wrong as a field without a row."""
    known = {kind.__name__: {field.name for field in dataclasses.fields(kind)} for kind in classes()}
    for heading, text in sections(DOCUMENT.read_text(encoding="utf-8")).items():
        rows = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]
        assert set(rows) == known[heading], heading


def faults(kind: Any, value: Any, place: str = "report") -> Iterator[str]:
    """Where a JSON value is not what `kind` declares: a missing or unknown key, another type."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        if not isinstance(value, dict) or set(value) != set(hints):
            yield f"{place}: {value if not isinstance(value, dict) else sorted(set(value) ^ set(hints))}"
            return
        for name, hint in hints.items():
            yield from faults(hint, value[name], f"{place}.{name}")
    elif get_origin(kind) is tuple:
        given = get_args(kind)
        if not isinstance(value, list) or (given[-1] is not Ellipsis and len(value) != len(given)):
            yield f"{place}: {value}"
            return
        for index, inner in enumerate(value):
            yield from faults(given[0] if given[-1] is Ellipsis else given[index], inner, f"{place}[{index}]")
    elif get_origin(kind) in (types.UnionType, Union):
        if all(list(faults(option, value, place)) for option in get_args(kind)):
            yield f"{place}: {value!r}"
    elif get_origin(kind) is Mapping or kind is Mapping or str(kind).startswith("collections.abc.Mapping"):
        if not isinstance(value, dict) or not all(isinstance(part, str) for pair in value.items() for part in pair):
            yield f"{place}: {value}"
    elif kind is Verdict:
        if value not in list(Verdict):
            yield f"{place}: {value!r}"
    elif not _is(kind, value) and not (value is None and place.rpartition(".")[2] in NUMBERS_ONLY):
        yield f"{place}: {value!r} is no {kind}"


def _is(kind: Any, value: Any) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is kind or (kind is types.NoneType and value is None)


def test_the_file_has_the_schema(whole):
    value = whole.report
    assert (value.pop("kind"), value.pop("schema_version")) == ("edge_mtp.parity", 1)
    assert list(faults(Report, value)) == []
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
    (fault,) = faults(Report, value)
    assert fault.startswith(place)


def test_finite():
    inf, nan = float("inf"), float("nan")
    value = {"a": [1, 2.5, -inf], "b": {"c": nan, "d": None, "e": True, "f": "nan"}, "g": (inf, "x")}
    assert finite(value) == {"a": [1, 2.5, None], "b": {"c": None, "d": None, "e": True, "f": "nan"}, "g": [None, "x"]}
    json.dumps(finite(value), allow_nan=False)
    with pytest.raises(ValueError, match="not JSON compliant"):
        json.dumps(value, allow_nan=False)
