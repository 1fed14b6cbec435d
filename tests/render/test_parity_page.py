"""The page says everything the report does, in order, and nothing from the report becomes markup."""

import math
import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from edge_mtp.parity import report as schema
from edge_mtp.parity.results import Verdict
from edge_mtp.render import numbers
from edge_mtp.render.parity_ladder import verdict_sentence
from edge_mtp.render.parity_page import KIND, SCHEMA_VERSION, ReportError, parity_page
from tests.render.reading import read
from tests.render.samples import COULD_NOT_CHECK, FAILED, FULL, HOSTILE, REPORTS, parsed

PAGES = {name: parity_page(parsed(report)) for name, report in REPORTS.items()}
VERDICTS = set(Verdict)
DRAWN = ("curve",)
"""What a chart shows and no text repeats."""

Path = tuple[str | int, ...]


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every figure and text of a report, with the way to it."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*path, key))
    elif value is not None:
        yield path, value


def with_leaf(report: dict[str, Any], path: Path, value: Any) -> dict[str, Any]:
    copy = deepcopy(report)
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return copy


def other(value: Any) -> Any:
    """A value that differs enough to be seen; shares stay shares."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return next(verdict for verdict in sorted(VERDICTS) if verdict != value) if value in VERDICTS else value + "~"
    return value + 7 if isinstance(value, int) else value * 0.6 if value > 0.5 else value * 1.5 + 0.25


def unseen(report: dict[str, Any]) -> list[Path]:
    """Leaves whose change does not change the page."""
    page = parity_page(report)
    inner = [(path, value) for path, value in leaves(report) if path[0] not in ("kind", "schema_version")]
    return [path for path, value in inner if parity_page(with_leaf(report, path, other(value))) == page]


def unsaid(report: dict[str, Any], words: str) -> list[Path]:
    """Leaves that no text of the page says, in any of the ways in which it writes figures."""
    flat = re.sub(r"\s+", " ", words)
    found = []
    for path, value in leaves(report):
        if path[0] in ("kind", "schema_version") or (path[1:2] and path[1] in DRAWN):
            continue
        if not any(re.sub(r"\s+", " ", spelling) in flat for spelling in spellings(value)):
            found.append(path)
    return found


def spellings(value: Any) -> list[str]:
    if isinstance(value, bool):
        return ["excused", "needed", "rejected"]
    if isinstance(value, str):
        plain = value.replace("`", "")
        words = {"on": "switch MTP on", "off": "leave MTP off"}.get(plain, plain)
        return [words, numbers.visible(value), value.replace("\n", "↵\n"), value.replace("T", " ")]
    if isinstance(value, int):
        return [f"{value:,}", str(value)]
    fixed = [f"{value:.{digits}f}".replace("-", "−") for digits in (1, 2, 3)]
    return [numbers.significant(value), numbers.figure(value), numbers.seconds(value), *fixed]


@pytest.mark.parametrize("name", REPORTS)
def test_every_value_of_the_report_is_said(name):
    report = parsed(REPORTS[name])
    assert unsaid(report, read(PAGES[name]).words) == []


def test_a_value_that_is_not_said_would_be_found():
    words = read(PAGES["held"]).words
    assert unsaid(parsed(FULL), words.replace("20261", "").replace("layers.1.mlp.down_proj.weight", "")) == [
        ("settings", "seed"),
        ("worst_tensors", 0, "name"),
    ]


def test_every_value_changes_the_page():
    assert unseen(parsed(FAILED)) == []


def test_a_value_that_changes_nothing_would_be_found(monkeypatch):
    monkeypatch.setattr("edge_mtp.render.parity_page.significant", lambda value: "1.0")
    assert unseen({**parsed(COULD_NOT_CHECK), "rungs": []}) == [("settings", "temperature")]


@pytest.mark.parametrize("name", PAGES)
def test_markup_is_well_formed(name):
    assert read(PAGES[name]).faults == []
    assert read(PAGES[name].replace("</section>", "", 1)).faults != []


@pytest.mark.parametrize("name", PAGES)
def test_nothing_can_be_loaded_or_run(name):
    reading = read(PAGES[name])
    assert {element.name for element in reading.elements}.isdisjoint({"script", "link", "img", "iframe", "object"})
    for element in reading.elements:
        assert {"src", "srcset", "style", "action"}.isdisjoint(element.attributes)
        assert not any(attribute.startswith("on") for attribute in element.attributes)
        assert element.attributes.get("href", "#").startswith("#")
    said = PAGES[name].replace(str(read(HOSTILE).words), "")
    for forbidden in ("http://", "https://", "@import", "url(", "javascript:"):
        assert forbidden not in said


def test_links_lead_to_sections_that_are_there():
    for page in PAGES.values():
        reading = read(page)
        anchors = [element.attributes["id"] for element in reading.named("section")]
        assert len(set(anchors)) == len(anchors)
        assert {link.attributes["href"][1:] for link in reading.named("a")} <= set(anchors)


def test_text_from_a_report_never_becomes_markup():
    report = parsed(FULL)
    for path, value in list(leaves(report)):
        if isinstance(value, str) and value not in VERDICTS and path[0] not in ("kind", "schema_version"):
            report = with_leaf(report, path, HOSTILE)
    reading = read(parity_page(report))
    assert reading.named("script") == []
    assert reading.faults == []
    assert reading.words.count("alert('hi')") > 100
    assert len(read(f"<p>{HOSTILE}</p>").named("script")) == 1


def test_verdict_sentences():
    assert verdict_sentence(parsed(FULL)) == ("All 8 rungs held", "")
    assert verdict_sentence(parsed(FAILED)) == (
        "Failed at rung 3, quantization",
        "KL mean is 0.4 nats, needed ≤ 0.1",
    )
    head, why = verdict_sentence(parsed(COULD_NOT_CHECK))
    assert (head, why[:21]) == ("Could not check rung 0, pairing", "the bundle has no dra")
    blocked = tuple(replace(rung, verdict=Verdict.COULD_NOT_CHECK, reason="no oracle") for rung in FULL.rungs[1:4])
    two = replace(FULL, outcome=Verdict.COULD_NOT_CHECK, rungs=(FULL.rungs[0], *blocked))
    assert verdict_sentence(parsed(two)) == ("Could not check rung 1, graphs and 2 more rungs", "no oracle")
    none = replace(two, rungs=())
    assert verdict_sentence(parsed(none)) == ("Could not check anything", "no rung was climbed")


def test_the_verdict_is_the_first_thing_said_and_names_the_page():
    words = read(PAGES["failed"]).words
    assert words.startswith("gemma-4-E2B-it-mtp.litertlm: Failed at rung 3, quantization")
    assert words.index("Failed at rung 3, quantization: KL mean is 0.4 nats") < words.index("The ladder")
    assert "6 held, 1 failed, 1 could not check" in words


def test_each_rung_says_its_verdict_and_its_control():
    words = read(PAGES["held"]).words
    assert words.count("control rejected") == len(FULL.rungs)
    assert "control rejected: drafter position + 1 → lowest suite 0.31 (needed ≥ 0.3)" in words
    assert "control NOT rejected: every draft accepted" in read(PAGES["failed"]).words
    assert "control NOT rejected" not in words


def test_many_figures_are_folded_and_a_missed_one_comes_first():
    page = PAGES["failed"]
    rung = page[page.index("<h3>quantization") : page.index("<h3>verify")]
    shown, _, rest = rung.partition("<details>")
    assert "missed: needed ≤ 0.1" in shown and "KL p99" in shown
    assert "worst tensor" in rest and "worst tensor" not in shown
    assert "<details>" not in page[page.index("<h3>pairing") : page.index("<h3>graphs")]


def test_what_was_not_measured_is_left_out_and_listed():
    words = read(PAGES["could not check"]).words
    listed = words[words.index("Not measured in this run") :]
    assert "On or off, acceptance, cost, quality, divergences, worst tensors, engine." in listed
    assert "Cost and break-even" not in words
    assert "Not measured in this run" not in read(PAGES["held"]).words


@pytest.mark.parametrize("part", ["acceptance", "draft_lengths", "quality", "kl_histogram", "cost", "engine", "advice"])
def test_any_part_may_be_missing(part):
    report = parsed(FULL)
    report[part] = None if part in ("kl_histogram", "cost", "engine") else []
    assert read(parity_page(report)).faults == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e-300, -5.0, 1e12])
def test_figures_no_chart_has_a_place_for_do_no_harm(value):
    report = parsed(FULL)
    for path in [path for path, found in leaves(report) if isinstance(found, float)]:
        report = with_leaf(report, path, value)
    page = parity_page(report)
    assert read(page).faults == []
    assert not re.search(r'="(nan|inf|-inf)"', page)


def test_draft_lengths_are_shown_without_live_acceptance():
    words = read(parity_page({**parsed(FULL), "acceptance": []})).words
    assert "Draft lengths, replayed" in words and "Acceptance by suite" not in words
    assert "Draft lengths, replayed" not in read(parity_page({**parsed(FULL), "draft_lengths": []})).words


def test_no_divergence_is_only_said_where_tokens_were_compared():
    said = "None: all token sequences that had to be equal were equal."
    assert said in parity_page(parsed(replace(FULL, divergences=())))
    assert said not in PAGES["held"]
    assert said not in PAGES["could not check"]


def test_unexcused_divergences_come_first_and_many_are_folded():
    words = read(PAGES["failed"]).words
    assert words.index("not excused") < words.index("chatexcused")
    many = parity_page(parsed(replace(FULL, divergences=FULL.divergences * 10)))
    assert "8 more" in read(many).words


def test_a_break_even_that_no_rate_reaches_is_said():
    slow = replace(FULL, cost=replace(FULL.cost, break_even_rate=1.32))
    assert "break-even 1.320, which no rate can be" in read(parity_page(parsed(slow))).words
    assert "which no rate can be" not in read(PAGES["held"]).words


def test_key_figures_follow_from_the_counters():
    words = read(PAGES["held"]).words
    drafted, accepted, rounds = (
        sum(getattr(suite, name) for suite in FULL.acceptance) for name in ("drafted", "accepted", "rounds")
    )
    assert f"Acceptance{accepted / drafted:.3f}" in words
    assert f"Mean acceptance length{1 + accepted / rounds:.2f}" in words


def test_the_schema_is_the_one_that_parity_writes():
    assert (KIND, SCHEMA_VERSION) == (schema.KIND, schema.SCHEMA_VERSION)


@pytest.mark.parametrize(
    "change", [{"kind": "edge_mtp.inspect"}, {"schema_version": 2}, {"kind": None, "schema_version": None}]
)
def test_other_files_are_refused(change):
    with pytest.raises(ReportError, match=r"this page needs edge_mtp\.parity, version 1: pass the report\.json"):
        parity_page({**parsed(FULL), **change})


def test_a_page_can_be_made_from_the_stored_report():
    """JSON has no infinity: a text that goes on behind another has no margin there."""
    report = parsed(FULL)
    report["divergences"][0]["margin"] = None
    assert "<td>none</td>" in re.sub(r"<td[^>]*>", "<td>", parity_page(report))
    assert "<td>none</td>" not in re.sub(r"<td[^>]*>", "<td>", parity_page(parsed(FULL)))
