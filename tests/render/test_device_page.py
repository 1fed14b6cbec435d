"""The device page says everything the report does, and nothing from the report becomes markup."""

from copy import deepcopy

import pytest

from edge_mtp.render.device_page import DeviceReportError, device_page
from edge_mtp.render.device_plots import held, rates_over_time
from tests.render.device_samples import CROWDED, EMPTY, HOSTILE, REPORTS
from tests.render.reading import read
from tests.render.test_parity_page import leaves, other, with_leaf

VERDICTS = {"on": "off", "off": "on", "undecided": "on"}
WORDS = {
    "outcome": {"held": "failed", "failed": "held", "could not check": "held"},
    "span": None,
    "arm": {"spec_off": "spec_on", "spec_on": "spec_off"},
    "source": None,
    "percent_source": {"battery_steps": "charge_counter", "charge_counter": "battery_steps"},
    "rate_source": {"runtime": "clock", "clock": "runtime"},
    "verdict": VERDICTS,
}
"""Fields with few words: what another one is; None where the page relies on their order."""
PAGES = {name: device_page(report) for name, report in {**REPORTS, "crowded": CROWDED, "empty": EMPTY}.items()}


def changed(path, value):
    """Another value for a leaf, or None where there is no other."""
    if path[-1] in WORDS:
        words = WORDS[path[-1]]
        return None if words is None else words[value]
    if path[-1] == "thermal":
        return (value + 1) % 4
    if str(path[-1]).endswith("_bytes"):
        return value * 2
    return other(value)


def unseen(report):
    """Leaves whose change does not change the page."""
    page = device_page(report)
    found = []
    for path, value in leaves(report):
        told = None if path[0] in ("kind", "schema_version") else changed(path, value)
        if told is not None and device_page(with_leaf(report, path, told)) == page:
            found.append(path)
    return found


def small(name):
    """A report with few trials and moments: every leaf of it is changed in turn."""
    report = deepcopy(REPORTS[name])
    for phone in report["phones"]:
        phone["trials"], phone["heat"] = phone["trials"][1:4], phone["heat"][::60]
    return report


def empty(path, report):
    """Zeros of an energy or a mean length that is not there: the page says that it is not, and no more."""
    phone = report["phones"][path[1]] if path[0] == "phones" else {}
    without_energy = path[2:4] == ("energy", "arms") and phone["energy"]["source"] is None
    without_length = path[2:] in (("acceptance", "tokens"), ("acceptance", "chunks"))
    return without_energy or (without_length and phone["acceptance"]["mean_length"] is None)


@pytest.mark.parametrize("name", ["throttling", "plugged-in", "interrupted", "silent-no-draft", "paired", "iphone"])
def test_everything_is_on_the_page(name):
    report = small(name)
    assert [path for path in unseen(report) if not empty(path, report)] == []


def test_what_is_not_on_the_page_would_be_noticed():
    report = small("paired")
    report["phones"][0]["phone"]["colour"] = "blue"
    assert ("phones", 0, "phone", "colour") in unseen(report)


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_well_formed_and_ask_for_nothing(name):
    reading = read(PAGES[name])
    assert reading.faults == []
    assert not reading.named("script") and not reading.named("img") and not reading.named("link")
    anchors = {element.attributes.get("id") for element in reading.elements}
    links = [element.attributes["href"] for element in reading.named("a")]
    assert links and all(link[0] == "#" and link[1:] in anchors for link in links)


def test_nothing_becomes_markup():
    assert HOSTILE not in PAGES["crowded"] and HOSTILE in read(PAGES["crowded"]).words


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("paired", ("switch MTP on", "leave MTP off", "1.39×", "6 pairs, interval", "11 of 12 compared")),
        (
            "throttling",
            ("current × voltage", "charge counter", "0.598", "6 → 8", "10 → 15", "3,120 tokens ÷ 1,300 chunks"),
        ),
        ("silent-no-draft", ("MTP did not draft", "nothing was drafted on Example Phone 9 (6 trials)", "exit code 3")),
        ("plugged-in", ("a charger was connected", "judged otherwise in trials 12", "10/14")),
        ("interrupted", ("line 41, truncated", "interrupted")),
        ("iphone", ("tokens per 1 %", "896 → 1,120", "battery steps", "is not in the log")),
        ("all", ("iPhone0,0", "Example Phone 9, paired.jsonl", "different prompts")),
    ],
)
def test_words(name, words):
    said = read(PAGES[name]).words
    for word in words:
        assert word in said, word


def test_phones_are_told_apart_by_their_files_only_where_they_must():
    assert "Example Phone 9, throttling.jsonl" not in read(PAGES["throttling"]).words.split("What it was run on")[0]
    headings = [element.attributes for element in read(PAGES["all"]).named("section")]
    assert [one["id"] for one in headings] == ["overview", *(f"run-{n}" for n in range(1, 7))]


def test_runs_of_the_same_prompts_are_not_warned_of():
    assert "These runs had different" not in PAGES["throttling"]
    both = deepcopy(REPORTS["all"])
    both["phones"] = [phone for phone in both["phones"] if phone["plan"]["prompt_set"] == "golden"]
    assert "These runs had different" not in device_page(both)
    both["phones"][0]["bundle"]["sha256"] = "0" * 64
    assert "These runs had different bundles." in device_page(both)


def test_a_script_is_said_to_be_one():
    report = deepcopy(REPORTS["paired"])
    report["phones"][0]["scripted"] = True
    assert "plays a script" in device_page(report) and "plays a script" not in PAGES["paired"]


@pytest.mark.parametrize("change", [{"kind": "edge_mtp.parity"}, {"schema_version": 2}, {"kind": None}])
def test_other_reports_are_refused(change):
    with pytest.raises(DeviceReportError, match=r"pass the device\.json that `edge-mtp device`"):
        device_page({**REPORTS["paired"], **change})


def test_stretches_of_heat():
    def point(t_s, thermal):
        return {"t_s": t_s, "thermal": thermal}

    heat = [point(0, 0), point(1, 0), point(2, 2), point(3, None), point(4, 2)]
    assert held(heat, 6) == [(0, 2, 0), (2, 3, 2), (4, 6, 2)] and held([], 5) == []


def test_dots_are_where_the_trials_are():
    trial = {"start_s": 0.0, "end_s": 60.0, "arm": "spec_on", "decode_tps": 10.0}
    late, slow = {**trial, "start_s": 60.0, "end_s": 120.0}, {**trial, "decode_tps": 5.0}
    (early,), (later,), (lower,) = (
        read(rates_over_time([one, {**trial, "arm": "spec_off"}], 120.0)).named("circle") for one in (trial, late, slow)
    )
    assert float(early.attributes["cx"]) < float(later.attributes["cx"])
    assert float(early.attributes["cy"]) < float(lower.attributes["cy"])
    assert not read(rates_over_time([{**trial, "decode_tps": None}], 120.0)).named("circle")
