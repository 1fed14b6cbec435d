"""How fast a phone was: on or off by prompt class, cold and sustained rates, and the rates over time."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from edge_mtp.render.chart import Reference, domain
from edge_mtp.render.device_plots import curve_over_time, rates_over_time, states_over_time
from edge_mtp.render.intervals import Estimate, chip, estimates
from edge_mtp.render.markup import NUMBER, Column, Html, join, table, tag
from edge_mtp.render.numbers import (
    NOT_MEASURED,
    between,
    count,
    fixed,
    milliseconds,
    optional,
    significant,
    size,
    times,
)

Part = Mapping[str, Any]

SWITCH: Final = {"on": "switch MTP on", "off": "leave MTP off", "undecided": "undecided"}
ARMS: Final = {"spec_off": "MTP off", "spec_on": "MTP on"}
SPANS: Final = {
    "whole": "whole blocks",
    "cold": "cold: first minute of a block",
    "sustained": "sustained: second half of blocks of 5 minutes or more",
}
RATES: Final = {"runtime": "the runtime's own benchmark", "clock": "the app's clock, first chunk to last"}


def interval(estimate: Part) -> dict[str, float]:
    """Value and ends; an estimate without an interval is a point."""
    value = float(estimate["value"])
    low, high = (value if estimate[end] is None else float(estimate[end]) for end in ("low", "high"))
    return {"low": low, "value": value, "high": high}


def with_interval(estimate: Part | None, digits: int = 3) -> str:
    """A figure with its interval where it has one, else with the number of units behind it."""
    if estimate is None:
        return NOT_MEASURED
    value = significant(estimate["value"], digits)
    if estimate["low"] is None or estimate["high"] is None:
        return f"{value} (n = {count(estimate['count'])}, no interval)"
    ends = "–".join(significant(estimate[end], digits) for end in ("low", "high"))
    return f"{value} ({ends}, n = {count(estimate['count'])})"


def on_or_off(phone: Part) -> list[Html]:
    """Speed and energy with MTP against without, class by class; classes that nothing is known of are named."""
    classes: Sequence[Part] = phone["classes"]
    speed = _strips(classes, "speed_up", "speed_advice", "no gain")
    energy = _strips(classes, "energy_ratio", "energy_advice", "no saving")
    lead = (
        "Tokens a second with MTP ÷ without, pair by pair on the same prompt: geometric mean, 95 % bootstrap interval "
        "over pairs. Right of 1.0× MTP is faster; an interval across the line, or none, decides nothing."
    )
    parts = [tag("h3", "On or off?"), tag("p.lead", lead), speed]
    told = "Energy a token with MTP ÷ without, pair by pair. Left of 1.0× MTP saves battery."
    return [*parts, tag("p.lead", told), energy]


def _strips(classes: Sequence[Part], key: str, advice: str, at_one: str) -> Html:
    known = [one for one in classes if one[key] is not None]
    missing = [one for one in classes if one[key] is None]
    rows = [
        Estimate(
            name=one["prompt_class"],
            interval=interval(one[key]),
            words=_words(one[key]),
            title=f"{one['prompt_class']}: {_words(one[key])}",
            verdict=chip(one[advice]["verdict"], SWITCH.get(one[advice]["verdict"], "")),
            reason=one[advice]["reason"],
        )
        for one in known
    ]
    ends = domain([1.0, *(interval(one[key])[end] for one in known for end in ("low", "high"))])
    drawn = [estimates(rows, ends, "×", Reference(1.0, at_one))] if rows else []
    told = (f"{one['prompt_class']}: {SWITCH[one[advice]['verdict']]}, {one[advice]['reason']}." for one in missing)
    return join([*drawn, *([tag("p.empty", " ".join(told))] if missing else [])])


def _words(estimate: Part) -> str:
    """The ratio as text; `n` is the number of pairs."""
    value, ends = times(estimate["value"]), interval(estimate)
    between_ends = "" if estimate["low"] is None or estimate["high"] is None else f"{between(ends)}, "
    return f"{value} ({between_ends}n = {count(estimate['count'])})"


def rates(phone: Part) -> list[Html]:
    """Cold, sustained and whole rates, and medians of the trials."""
    headings = [
        Column("Span"),
        Column("MTP off", "tokens/s", NUMBER),
        Column("MTP on", "tokens/s", NUMBER),
        Column("On ÷ off", "geometric mean of the pairs", NUMBER),
    ]
    rows = [
        [SPANS[one["span"]], *(with_interval(one[key]) for key in ("off", "on", "ratio"))] for one in phone["rates"]
    ]
    lead = f"Tokens ÷ seconds over all trials that count, by {RATES[phone['rate_source']]}; n counts blocks or pairs."
    return [tag("h3", "Tokens a second"), tag("p.lead", lead), table("Decode rates", headings, rows), _arms(phone)]


def _arms(phone: Part) -> Html:
    headings = [
        Column("Arm"),
        Column("Trials", "that count", NUMBER),
        Column("Decode", "median, tokens/s", NUMBER),
        Column("Prefill", "median, tokens/s", NUMBER),
        Column("First token", "median", NUMBER),
        Column("Memory", "largest footprint", NUMBER),
    ]
    rows = [
        [
            ARMS[arm["arm"]],
            count(arm["trials"]),
            optional(arm["decode_tps"]),
            optional(arm["prefill_tps"]),
            NOT_MEASURED if arm["ttft_ms"] is None else milliseconds(arm["ttft_ms"]),
            NOT_MEASURED if arm["mem_peak_bytes"] is None else size(arm["mem_peak_bytes"]),
        ]
        for arm in phone["arms"]
    ]
    return table("Trials by arm", headings, rows)


def over_time(phone: Part) -> list[Html]:
    """Rates and heat on one time axis each; curves that the phone did not tell are left out."""
    end_s, heat = phone["duration_s"], phone["heat"]
    legend = [tag("span.key-dot", "●"), " MTP on · ◇ MTP off; trials that do not count are drawn too"]
    first = [rates_over_time(phone["trials"], end_s)]
    if any(point["thermal"] is not None for point in heat):
        first.append(states_over_time(heat, end_s))
        legend.append(". Below: the thermal state by the phone's own scale")
    charts = [tag("figure", *first, tag("figcaption", *legend))]
    for key, unit, caption, from_zero in CURVES:
        points = [(point["t_s"], point[key]) for point in heat if point[key] is not None]
        if points:
            charts.append(tag("figure", curve_over_time(points, end_s, unit, from_zero), tag("figcaption", caption)))
    return [tag("h3", "Over time"), tag("div.multiples.many", *charts)]


CURVES: Final = (
    ("temp_c", "°C", "Battery temperature", False),
    ("watts", "W", "Power that leaves the battery, by current and voltage", True),
    ("level", "level", "Battery level, 0 to 1", False),
)


def acceptance(phone: Part) -> list[tuple[str, str]]:
    """Terms and figures of drafting and of the texts."""
    found, texts = phone["acceptance"], phone["texts"]
    rate = NOT_MEASURED if found["engine_rate"] is None else fixed(found["engine_rate"], 3)
    source = f", by {found['engine_source']}" if found["engine_source"] else ""
    chunks = f"{count(found['tokens'])} tokens ÷ {count(found['chunks'])} chunks"
    length = NOT_MEASURED if found["mean_length"] is None else f"{fixed(found['mean_length'])} = {chunks}"
    derived = NOT_MEASURED if found["rate_from_length"] is None else fixed(found["rate_from_length"], 3)
    by_class = ", ".join(
        f"{one['prompt_class']} {fixed(one['mean_length'])}"
        for one in phone["classes"]
        if one["mean_length"] is not None
    )
    return [
        ("Draft acceptance", f"{rate}{source} (accepted ÷ drafted, no bonus token)"),
        ("Drafting, as the engine said", found["drafting"] or "not told"),
        ("Mean acceptance length", length),
        ("By class", by_class or NOT_MEASURED),
        ("Acceptance from that length", f"{derived} ((length − 1) ÷ draft steps)"),
        (
            "Texts equal, MTP off and on",
            f"{count(texts['equal'])} of {count(texts['compared'])} compared, greedy alone",
        ),
    ]
