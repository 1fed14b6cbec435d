"""What a parity report concludes: the verdict, the ladder's rungs with their controls, and the advice."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from edge_mtp.render.chart import Reference, domain, verdict_mark
from edge_mtp.render.intervals import SHAPES, Estimate, chip, estimates
from edge_mtp.render.markup import Html, folded, join, prose, section, tag
from edge_mtp.render.numbers import between, figure, seconds, times

Part = Mapping[str, Any]

FIGURES_SHOWN: Final = 5
HELD: Final = "held"
FAILED: Final = "failed"
COULD_NOT_CHECK: Final = "could not check"
SWITCH: Final = {"on": "switch MTP on", "off": "leave MTP off", "undecided": "undecided"}


def verdict_sentence(report: Part) -> tuple[str, str]:
    """The outcome in one line, and why where it is not "held"."""
    rungs: Sequence[Part] = report["rungs"]
    if report["outcome"] == HELD:
        return (f"All {len(rungs)} rungs held" if len(rungs) != 1 else "The one rung climbed held"), ""
    stopped = [rung for rung in rungs if rung["verdict"] == report["outcome"]]
    failed = report["outcome"] == FAILED
    if not stopped:
        return ("Failed" if failed else "Could not check anything"), report["first_failed"] or "no rung was climbed"
    first = stopped[0]
    if failed:
        return f"Failed at rung {first['number']}, {report['first_failed'] or first['name']}", first["reason"]
    others = len(stopped) - 1
    more = f" and {others} more rung{'s' if others > 1 else ''}" if others else ""
    return f"Could not check rung {first['number']}, {first['name']}{more}", first["reason"]


def verdict_banner(report: Part) -> Html:
    """The page's largest words, and how many rungs ended how."""
    headline, reason = verdict_sentence(report)
    outcome = report["outcome"]
    words = join([headline, tag("span.why", ": ", prose(reason))] if reason else [headline])
    counted = Counter(rung["verdict"] for rung in report["rungs"])
    tally = ", ".join(
        f"{counted[verdict]} {verdict}" for verdict in (HELD, FAILED, COULD_NOT_CHECK) if counted[verdict]
    )
    mark = verdict_mark(SHAPES.get(outcome, "question"))
    sentence = tag(f"p.verdict.{outcome.replace(' ', '-')}", mark, tag("span", words))
    note = f"{tally or 'no rung was climbed'} · exit code {report['exit_code']}"
    return join([sentence, tag("p.muted", note)])


def ladder(report: Part) -> Html:
    """The rungs in the order they were climbed; each stands on those above it. Nothing where none was climbed."""
    rungs: Sequence[Part] = report["rungs"]
    if not rungs:
        return Html("")
    lead = (
        "Each rung rests on the ones before it, so the first that fails names the stage at fault. "
        "A rung counts only if its control, the same check on something spoilt on purpose, was rejected."
    )
    return section("ladder", "The ladder", tag("p.lead", lead), tag("ol.ladder", *map(_rung, rungs)))


def _rung(rung: Part) -> Html:
    verdict = rung["verdict"]
    stage = "" if rung["stage"] == rung["name"] else f"stage {rung['stage']}, "
    spent = tag("span.stage", f"{stage}{seconds(rung['seconds'])}")
    title = tag("div.title", tag("h3", rung["name"]), chip(verdict), spent)
    reason = [tag("p.fault", prose(rung["reason"]))] if rung["reason"] else []
    evidence = [*_figures(rung["figures"]), *_controls(rung["controls"])]
    body = tag("div.rung", title, tag("p.claim", prose(rung["claim"])), *reason, *evidence)
    return tag(f"li.{verdict.replace(' ', '-')}", tag("span.node", str(rung["number"])), body)


def _figures(figures: Sequence[Part]) -> list[Html]:
    """All where they are few; else the rest folded, after those that missed their bar and those that have one."""
    if len(figures) <= FIGURES_SHOWN:
        return [_list(figures)] if figures else []
    ordered = sorted(figures, key=lambda item: (item["held"], not item["bar"]))
    shown, rest = ordered[: FIGURES_SHOWN - 1], ordered[FIGURES_SHOWN - 1 :]
    return [_list(shown), folded(f"{len(rest)} more figures", _list(rest))]


def _list(figures: Sequence[Part]) -> Html:
    return tag("ul.figures", *map(_figure, figures))


def _figure(item: Part) -> Html:
    parts = [tag("span.name", item["name"]), tag("span.value", _amount(item))]
    if item["bar"]:
        mark = verdict_mark("tick" if item["held"] else "cross")
        words = f"needed {item['bar']}" if item["held"] else f"missed: needed {item['bar']}"
        parts.append(tag("span.bar", mark, words))
    return tag("li.held" if item["held"] else "li.failed", *parts)


def _amount(item: Part) -> str:
    return f"{figure(item['value'])} {item['unit']}".strip()


def _controls(controls: Sequence[Part]) -> list[Html]:
    return [tag("ul.controls", *map(_control, controls))] if controls else []


def _control(control: Part) -> Html:
    rejected = control["rejected"]
    found = ", ".join(f"{item['name']} {_amount(item)}{_needed(item)}" for item in control["figures"])
    word = "control rejected" if rejected else "control NOT rejected"
    mark = verdict_mark("tick" if rejected else "cross")
    told = f": {control['name']}" + (f" → {found}" if found else "")
    return tag("li.held" if rejected else "li.failed", mark, tag("span", tag("strong", word), told))


def _needed(item: Part) -> str:
    return f" (needed {item['bar']}{', held' if item['held'] else ''})" if item["bar"] else ""


def advice(report: Part) -> Html:
    """Whether MTP pays, suite by suite; nothing where that was not measured."""
    given: Sequence[Part] = report["advice"]
    if not given:
        return Html("")
    lead = (
        "Predicted speed-up of decoding with MTP against without, from this machine's costs, with its 95 % interval. "
        "Right of 1.0× MTP pays; an interval across the line decides nothing. A phone has costs of its own."
    )
    rows = [
        Estimate(
            name=item["suite"],
            interval=item["speed_up"],
            words=f"{times(item['speed_up']['value'])} ({between(item['speed_up'])})",
            title=f"{item['suite']}: {times(item['speed_up']['value'])}, interval {between(item['speed_up'])}",
            verdict=chip(item["verdict"], SWITCH.get(item["verdict"], "")),
            reason=item["reason"],
        )
        for item in given
    ]
    ends = domain([1.0, *(item["speed_up"][key] for item in given for key in ("low", "high"))])
    return section(
        "advice", "MTP on or off?", tag("p.lead", lead), estimates(rows, ends, "×", Reference(1.0, "no gain"))
    )
