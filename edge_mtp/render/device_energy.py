"""What a phone's battery paid: joules or percent a token, their source, and what every other source says."""

from collections.abc import Mapping
from typing import Any, Final

from edge_mtp.render.device_speed import ARMS, with_interval
from edge_mtp.render.markup import NUMBER, WIDE, Column, Html, table, tag
from edge_mtp.render.numbers import NOT_MEASURED, count, optional, significant

Part = Mapping[str, Any]

SOURCES: Final = {
    "voltage_current": "current × voltage, integrated",
    "charge_counter": "charge counter × voltage",
    "energy_counter": "energy counter",
    "host_log": "a host's battery log",
    "rails": "power monitors, all rails together (parts of the phone)",
    "battery_steps": "steps of the battery level",
}
SHORT: Final = {
    "voltage_current": "volts × amperes",
    "charge_counter": "charge counter",
    "energy_counter": "energy counter",
    "host_log": "host's log",
    "rails": "parts of the phone",
    "battery_steps": "battery steps",
}


def energy(phone: Part) -> list[Html]:
    """The chosen source's figures, the idle power, the other sources and the blocks without energy."""
    found = phone["energy"]
    return [
        tag("h3", "Energy"),
        tag("p.lead", _lead(found)),
        *([_arms(found)] if found["source"] else []),
        _sources(found),
        *_void(found),
    ]


def _lead(found: Part) -> str:
    if not found["source"]:
        return "No block has an energy; below is why, source by source."
    idle = "an idle phone was not measured, so there is no net"
    if found["baseline_w"] is not None:
        idle = f"net is less the idle phone's {significant(found['baseline_w'])} W"
    gross, net = (with_interval(found[key]) for key in ("gross_ratio", "net_ratio"))
    percent = f" Percent by {SOURCES[found['percent_source']]}." if found["percent_source"] else ""
    return (
        f"By {SOURCES[found['source']]}, over blocks of a minute or more, prefill included; {idle}. "
        f"MTP on ÷ off: gross {gross}, net {net}.{percent}"
    )


def _arms(found: Part) -> Html:
    unit = found["unit"]
    headings = [
        Column("Arm"),
        Column("Blocks", css=NUMBER),
        Column("Tokens", css=NUMBER),
        Column("Power", "mean, W", NUMBER),
        Column("Gross", f"{unit} a token", NUMBER),
        Column("Net", f"{unit} a token", NUMBER),
        Column("Tokens per 1 %", "of the battery", NUMBER),
    ]
    rows = [
        [
            ARMS[arm["arm"]],
            count(arm["blocks"]),
            count(arm["tokens"]),
            optional(arm["mean_w"]),
            *(with_interval(arm[key]) for key in ("gross_per_token", "net_per_token", "tokens_per_percent")),
        ]
        for arm in found["arms"]
    ]
    return table("Energy by arm", headings, rows)


def _sources(found: Part) -> Html:
    headings = [
        Column("Source", "best first"),
        Column("Blocks", css=NUMBER),
        Column("Unit", css=NUMBER),
        Column("MTP off", "a token", NUMBER),
        Column("MTP on", "a token", NUMBER),
        Column("What was missing", css=WIDE),
    ]
    rows = [
        [
            SOURCES[one["source"]],
            count(one["blocks"]),
            one["unit"],
            *(NOT_MEASURED if one[arm] is None else significant(one[arm]) for arm in ("off", "on")),
            one["reason"] or "nothing",
        ]
        for one in found["sources"]
    ]
    return table("Every source of energy, gross", headings, rows)


def _void(found: Part) -> list[Html]:
    told = [tag("li", f"{count(one['blocks'])} blocks without energy: {one['reason']}") for one in found["void_blocks"]]
    return [tag("ul.notes", *told)] if told else []
