"""What a parity report measured about drafting: acceptance, draft lengths, cost and break-even."""

from collections.abc import Mapping, Sequence
from typing import Any

from edge_mtp.render.chart import FEW_COLUMNS, Reference, columns
from edge_mtp.render.intervals import Estimate, estimates
from edge_mtp.render.markup import NUMBER, Column, Html, definitions, join, section, table, tag, text
from edge_mtp.render.numbers import between, count, fixed, milliseconds, rate, significant, times
from edge_mtp.render.plots import speed_up_curve

Part = Mapping[str, Any]


def acceptance(report: Part) -> Html:
    """Live acceptance by suite and by position, and what other draft lengths would give; nothing where not measured."""
    suites: Sequence[Part] = report["acceptance"]
    lengths = _draft_lengths(report)
    if not suites:
        return section("acceptance", "Acceptance", *lengths) if lengths else Html("")
    steps = report["bundle"]["draft_steps"]
    lead = (
        "Live: the bundle's drafter against the bundle's own target"
        + (f", K = {steps} drafts a round" if steps is not None else "")
        + ". Draft acceptance rate = accepted ÷ drafted; the bonus token that the target adds to every round is not "
        "counted. The whisker is the 95 % bootstrap interval."
    )
    parts = [tag("p.lead", lead), _by_suite(suites, report["cost"]), *_by_position(suites), _suite_table(suites)]
    return section("acceptance", "Acceptance", *parts, *lengths)


def _by_suite(suites: Sequence[Part], cost: Part | None) -> Html:
    rows = [
        Estimate(
            name=suite["suite"],
            interval=suite["rate"],
            words=f"{rate(suite['rate']['value'])} ({between(suite['rate'])})",
            title=f"{suite['suite']}: {rate(suite['rate']['value'])}, interval {between(suite['rate'])}",
            other=suite["float_rate"],
        )
        for suite in suites
    ]
    reference = Reference(cost["break_even_rate"], f"break-even {rate(cost['break_even_rate'])}") if cost else None
    legend = [join([tag("span.key-dot", "●"), " bundle's drafter"])]
    if any(suite["float_rate"] is not None for suite in suites):
        legend.append(text("▽ float drafter, same target"))
    if reference is not None and not 0.0 <= reference.value <= 1.0:
        legend.append(text(f"{reference.label}, which no rate can be"))
        reference = None
    drawn = estimates(rows, (0.0, 1.0), "", reference)
    return join([tag("h3", "By suite"), drawn, tag("p.legend", join(legend, " · "))])


def _by_position(suites: Sequence[Part]) -> list[Html]:
    shown = [suite for suite in suites if suite["rate_at"]]
    if not shown:
        return []
    note = "Share of rounds in which the draft at that position was accepted; a draft counts only if all before it did."
    many = max(len(suite["rate_at"]) for suite in shown) > FEW_COLUMNS
    grid = "div.multiples.many" if many else "div.multiples"
    charts = [tag("figure", _positions(suite), tag("figcaption", suite["suite"])) for suite in shown]
    return [tag("h3", "By draft position"), tag("p.lead", note), tag(grid, *charts)]


def _positions(suite: Part) -> Html:
    rates = suite["rate_at"]
    told = ", ".join(f"{index}: {rate(value)}" for index, value in enumerate(rates, 1))
    labels = [str(index) for index in range(1, len(rates) + 1)]
    return columns(rates, labels, f"{suite['suite']}, acceptance by draft position, {told}")


def _suite_table(suites: Sequence[Part]) -> Html:
    headings = [
        Column("Suite"),
        Column("Prompts", css=NUMBER),
        Column("Rounds", css=NUMBER),
        Column("Drafted", css=NUMBER),
        Column("Accepted", "bonus not counted", NUMBER),
        Column("Rate", "accepted ÷ drafted", NUMBER),
        Column("Mean length", "1 + accepted ÷ rounds", NUMBER),
        Column("Float drafter", "its rate, same target", NUMBER),
    ]
    rows = [
        [
            suite["suite"],
            *(count(suite[key]) for key in ("prompts", "rounds", "drafted", "accepted")),
            rate(suite["rate"]["value"]),
            fixed(suite["mean_length"]),
            rate(suite["float_rate"]),
        ]
        for suite in suites
    ]
    return table("Acceptance by suite, from its counters", headings, rows)


def _draft_lengths(report: Part) -> list[Html]:
    lengths: Sequence[Part] = report["draft_lengths"]
    if not lengths:
        return []
    note = (
        "Replayed exactly from the same replies. With a threshold, drafting stops after a draft less sure than it; "
        "0 means a fixed length."
    )
    headings = [
        Column("K", "most drafts a round"),
        Column("Threshold", css=NUMBER),
        Column("Drafts a round", css=NUMBER),
        Column("Rate", "accepted ÷ drafted", NUMBER),
        Column("Mean length", "1 + accepted ÷ rounds", NUMBER),
        Column("Speed-up", "predicted", NUMBER),
        Column(""),
    ]
    best = max((item["speed_up"] for item in lengths if item["speed_up"] is not None), default=None)
    rows = [_draft_length(item, report["bundle"]["draft_steps"], best) for item in lengths]
    return [tag("h3", "Other draft lengths"), tag("p.lead", note), table("Draft lengths, replayed", headings, rows)]


def _draft_length(item: Part, steps: int | None, best: float | None) -> list[str]:
    words = ["this bundle"] if item["steps"] == steps and item["threshold"] == 0 else []
    words += ["fastest"] if best is not None and item["speed_up"] == best else []
    return [
        str(item["steps"]),
        significant(item["threshold"]),
        fixed(item["drafts_a_round"]),
        rate(item["rate"]),
        fixed(item["mean_length"]),
        times(item["speed_up"]),
        tag("strong", ", ".join(words)),
    ]


def cost(report: Part) -> Html:
    """What a round costs, and the acceptance rate from which it pays; nothing where not measured."""
    found: Part | None = report["cost"]
    if found is None:
        return Html("")
    lead = (
        "A round costs K draft steps and one verify, and yields the mean acceptance length in tokens. Times are "
        "medians of the bundle's graphs in our runner on this machine; other devices have other ratios."
    )
    chart = speed_up_curve(
        found["curve"], found["break_even_rate"], found["predicted_speed_up"], found["measured_speed_up"]
    )
    legend = [join([tag("span.key-dot", "●"), f" predicted {times(found['predicted_speed_up'])}"])]
    if found["measured_speed_up"] is not None:
        legend.append(text(f"◇ measured {times(found['measured_speed_up'])}"))
    caption = tag("figcaption", join(legend, " · "))
    figures = definitions(_cost_figures(found))
    return section(
        "cost", "Cost and break-even", tag("p.lead", lead), tag("div.pair", tag("figure", chart, caption), figures)
    )


def _cost_figures(found: Part) -> list[tuple[str, str]]:
    steps, draft, verify = found["draft_steps"], found["draft_ratio"], found["verify_ratio"]
    c, v, length = significant(draft), significant(verify), fixed(found["mean_length"])
    measured = found["measured_speed_up"]
    formula = f"{length} ÷ ({steps} × {c} + {v})"
    return [
        ("Decode, one token", milliseconds(found["decode_ms"])),
        ("Draft step", f"{milliseconds(found['draft_step_ms'])}; c = draft step ÷ decode = {c}"),
        ("Verify, all drafts at once", f"{milliseconds(found['verify_ms'])}; v = verify ÷ decode = {v}"),
        ("Mean acceptance length", f"{length} = 1 + accepted ÷ rounds"),
        ("Break-even", _break_even(found)),
        ("Speed-up, predicted", f"{times(found['predicted_speed_up'])} = {formula}"),
        ("Speed-up, measured", times(measured)),
    ]


def _break_even(found: Part) -> str:
    length, at = fixed(found["break_even_length"]), rate(found["break_even_rate"])
    return f"mean length {length} = K·c + v; acceptance rate {at}"
