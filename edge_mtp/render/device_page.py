"""`device.json` of `edge-mtp device` as a page: all phones in one table, then one section a run."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from edge_mtp.errors import EdgeMtpError
from edge_mtp.render.chart import verdict_mark
from edge_mtp.render.device_energy import SHORT, energy
from edge_mtp.render.device_evidence import set_up, trials, validity
from edge_mtp.render.device_speed import SWITCH, acceptance, on_or_off, over_time, rates
from edge_mtp.render.intervals import SHAPES, chip
from edge_mtp.render.markup import NUMBER, Column, Html, definitions, join, section, table, tag
from edge_mtp.render.numbers import count, fixed, moment, significant, times
from edge_mtp.render.page import document

Part = Mapping[str, Any]

KIND: Final = "edge_mtp.device"
SCHEMA_VERSION: Final = 1
HEADLINES: Final = {
    "held": "MTP on and off were compared",
    "failed": "MTP did not draft",
    "could not check": "Nothing could be compared",
}
VERDICTS: Final = (("speed_advice", "speed_up"), ("energy_advice", "energy_ratio"))
SCRIPTED: Final = "This engine plays a script: its figures are nobody's and say nothing of MTP."


class DeviceReportError(EdgeMtpError):
    """A JSON file is no device report that this version can show."""


def device_page(report: Part) -> str:
    """The parsed report -> a complete HTML document that needs nothing from anywhere.

    Raises DeviceReportError where `report` is of another kind or schema version.
    """
    found = (report.get("kind"), report.get("schema_version"))
    if found != (KIND, SCHEMA_VERSION):
        raise DeviceReportError(
            f"this is {found[0] or 'no report'}, schema version {found[1]}; this page needs {KIND}, version "
            f"{SCHEMA_VERSION}: pass the device.json that `edge-mtp device` of this release wrote"
        )
    phones: Sequence[Part] = report["phones"]
    headline = HEADLINES[report["outcome"]]
    names = [name_of(phone, phones) for phone in phones]
    links = [tag("a", "Overview", href="#overview")]
    links += [tag("a", name, href=f"#run-{index}") for index, name in enumerate(names, start=1)]
    header = tag("header", *_header(report, headline), tag("nav", *links, aria_label="Contents"))
    sections = [
        _run(phone, index, name) for index, (phone, name) in enumerate(zip(phones, names, strict=True), start=1)
    ]
    main = tag("main", _overview(report, names), *sections)
    return document(f"{', '.join(dict.fromkeys(names))}: {headline}", join([header, main]), report["edge_mtp_version"])


def name_of(phone: Part, phones: Sequence[Part]) -> str:
    """The phone's model, with what tells its runs apart where there are several."""
    model: str = phone["phone"]["device_model"]
    same = [other for other in phones if other["phone"]["device_model"] == model]
    return model if len(same) == 1 else f"{model}, {phone['file']}"


def _header(report: Part, headline: str) -> list[Html]:
    phones = report["phones"]
    models = list(dict.fromkeys(phone["phone"]["device_model"] for phone in phones))
    told = [f"edge-mtp {report['edge_mtp_version']} device", moment(report["wall_time"])]
    outcome = report["outcome"]
    mark = verdict_mark(SHAPES.get(outcome, "question"))
    words = tag("span", headline, tag("span.why", ": ", report["reason"]))
    asked = report["settings"]
    host = f" · host's battery log {asked['host_battery']}" if asked["host_battery"] else ""
    drawn = f"bootstrap seed {asked['seed']}, intervals from {asked['least_units']} units on"
    note = f"exit code {report['exit_code']} · {drawn}{host}"
    return [
        tag("p.muted", " · ".join(told)),
        tag("h1", ", ".join(models)),
        tag(f"p.verdict.{outcome.replace(' ', '-')}", mark, words),
        tag("p.muted", note),
    ]


def _overview(report: Part, names: Sequence[str]) -> Html:
    """One row a run; the verdicts are those over all its prompts."""
    headings = [
        Column("Run"),
        Column("Speed", "on ÷ off"),
        Column("Battery", "on ÷ off"),
        Column("Cold", "tokens/s", NUMBER),
        Column("Hot", "sustained", NUMBER),
        Column("Energy", css=NUMBER),
        Column("Accepted", "÷ drafted", NUMBER),
        Column("Trials", "that count", NUMBER),
    ]
    rows = [_row(phone, name) for phone, name in zip(report["phones"], names, strict=True)]
    lead = (
        "Compare phones by tokens and joules, never by their thermal states, and only with the same bundle and "
        "prompts. Arrows lead from MTP off to MTP on."
    )
    return section(
        "overview", "All runs", tag("p.lead", lead), *_unlike(report["phones"]), table("Runs", headings, rows)
    )


def _unlike(phones: Sequence[Part]) -> list[Html]:
    """Says so where runs had other bundles or other prompts, so that nobody compares what cannot be."""
    differing = [
        word
        for word, values in (
            ("bundles", {phone["bundle"]["sha256"] for phone in phones}),
            ("prompts", {phone["plan"]["prompt_set_sha256"] for phone in phones}),
        )
        if len(values) > 1
    ]
    return [tag("p.fault", f"These runs had different {' and '.join(differing)}.")] if differing else []


def _row(phone: Part, name: str) -> list[str]:
    whole, spans = phone["classes"][0], {one["span"]: one for one in phone["rates"]}
    rate, counted = phone["acceptance"]["engine_rate"], phone["validity"]
    engine = f"{phone['runtime']['backend']}, {phone['bundle']['file']}"
    return [
        join([name, tag("small", engine)]),
        *(_verdict(whole[advice], whole[ratio]) for advice, ratio in VERDICTS),
        *(_from_to(spans[span]["off"], spans[span]["on"]) for span in ("cold", "sustained")),
        _energy(phone["energy"]),
        "–" if rate is None else fixed(rate, 3),
        f"{count(counted['counted'])}/{count(counted['trials'])}",
    ]


def _energy(found: Part) -> str:
    """Joules a token; tokens per percent where joules are not known."""
    if not found["source"]:
        return "–"
    joules = found["unit"] == "J"
    key, unit = ("gross_per_token", "J a token") if joules else ("tokens_per_percent", "tokens per 1 %")
    told = _from_to(*(arm[key] for arm in found["arms"]))
    return join([told, tag("small", unit), tag("small", SHORT[found["source"]])])


def _verdict(advice: Part, ratio: Part | None) -> Html:
    word = advice["verdict"]
    return join([chip(word, SWITCH[word]), tag("small", "–" if ratio is None else times(ratio["value"]))])


def _from_to(off: Part | None, on: Part | None) -> str:
    if off is None and on is None:
        return "–"
    return " → ".join("–" if one is None else significant(one["value"]) for one in (off, on))


def _run(phone: Part, index: int, name: str) -> Html:
    warned = [tag("p.fault", SCRIPTED)] if phone["scripted"] else []
    parts = [
        *warned,
        *on_or_off(phone),
        *over_time(phone),
        *rates(phone),
        *energy(phone),
        tag("h3", "Drafting"),
        definitions(acceptance(phone)),
        *validity(phone),
        *trials(phone),
        *set_up(phone),
    ]
    return section(f"run-{index}", name, *parts)
