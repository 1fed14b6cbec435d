"""What a parity report compared: quality under quantization, diverging tokens, worst tensors, the engine."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from edge_mtp.render.markup import NUMBER, WIDE, Column, Html, definitions, folded, join, prose, section, table, tag
from edge_mtp.render.numbers import count, fixed, rate, significant, times, visible
from edge_mtp.render.plots import histogram

Part = Mapping[str, Any]

DIVERGENCES_SHOWN: Final = 12
TOKEN_RUNGS: Final = (5, 7)
COULD_NOT_CHECK: Final = "could not check"


def quality(report: Part) -> Html:
    """How far quantization moved the target from the float checkpoint; nothing where not measured."""
    suites: Sequence[Part] = report["quality"]
    found: Part | None = report["kl_histogram"]
    if not suites and found is None:
        return Html("")
    lead = (
        "The bundle's target against the float checkpoint, token by token over the same replies. "
        "KL(float ‖ bundle) is what is lost, in nats, by taking one distribution for the other; 0 is equal."
    )
    charted = [_kl_chart(found)] if found is not None and found["counts"] else []
    summed = [definitions(_extremes(suites))] if suites else []
    by_suite = [_quality_table(suites)] if suites else []
    return section(
        "quality", "Quality under quantization", tag("p.lead", lead), tag("div.pair", *charted, *summed), *by_suite
    )


def _kl_chart(found: Part) -> Html:
    drawn = histogram(found["edges"], found["counts"], found["scale"], "KL, nats")
    return tag("figure", drawn, tag("figcaption", f"Tokens by KL, {found['scale']} scale"))


def _extremes(suites: Sequence[Part]) -> list[tuple[str, str]]:
    """The suite that came off worst, figure by figure."""
    named = (
        ("Largest KL mean", "kl_mean", max, " nats"),
        ("Largest KL p99", "kl_p99", max, " nats"),
        ("Largest KL of a token", "kl_max", max, " nats"),
        ("Least top-1 agreement", "top1", min, ""),
        ("Largest perplexity ratio", "perplexity_ratio", max, ""),
    )
    found = []
    for name, key, pick, unit in named:
        worst = pick(suites, key=lambda suite: suite[key])
        found.append((name, f"{significant(worst[key])}{unit}, {worst['suite']}"))
    return found


def _quality_table(suites: Sequence[Part]) -> Html:
    headings = [
        Column("Suite"),
        Column("Tokens", css=NUMBER),
        Column("KL\u00a0mean", "nats", NUMBER),
        Column("KL\u00a0p99", "nats", NUMBER),
        Column("KL\u00a0max", "nats", NUMBER),
        Column("Top-1", "same best token", NUMBER),
        Column("Top-5", "share of the five", NUMBER),
        Column("Perplexity", "bundle ÷ float ± error", NUMBER),
        Column("Divergences", "per 1,000 equal tokens", NUMBER),
    ]
    rows = [
        [
            suite["suite"],
            count(suite["tokens"]),
            *(significant(suite[key]) for key in ("kl_mean", "kl_p99", "kl_max")),
            rate(suite["top1"]),
            rate(suite["top5"]),
            f"{fixed(suite['perplexity_ratio'], 3)} ± {fixed(suite['perplexity_ratio_error'], 3)}",
            fixed(suite["divergences_per_1000"]),
        ]
        for suite in suites
    ]
    return table("Quality by suite", headings, rows)


def divergences(report: Part) -> Html:
    """Where tokens that had to be equal were not, the unexcused first; nothing where none were compared."""
    found: Sequence[Part] = sorted(report["divergences"], key=lambda item: bool(item["excused"]))
    if not found:
        return _no_divergence(report["rungs"])
    lead = (
        "First places where two token sequences that should be equal differ. One is excused where the expected "
        "choice was less firm (margin) than numeric differences can explain (tolerance), both in logits."
    )
    first, rest = found[:DIVERGENCES_SHOWN], found[DIVERGENCES_SHOWN:]
    parts = [tag("p.lead", lead), _divergence_table("Diverging tokens", first)]
    if rest:
        parts.append(folded(f"{len(rest)} more", _divergence_table("More diverging tokens", rest)))
    return section("divergences", "Divergences", *parts)


def _no_divergence(rungs: Sequence[Part]) -> Html:
    """Nothing found is only worth saying where tokens were compared."""
    if not any(rung["number"] in TOKEN_RUNGS and rung["verdict"] != COULD_NOT_CHECK for rung in rungs):
        return Html("")
    words = "None: all token sequences that had to be equal were equal."
    return section("divergences", "Divergences", tag("p.empty", words))


def _divergence_table(caption: str, found: Sequence[Part]) -> Html:
    headings = [
        Column("Rung"),
        Column("Where", "and whether excused"),
        Column("Text", "context, then expected / found", WIDE),
        Column("Token", css=NUMBER),
        Column("Margin", "logits", NUMBER),
        Column("Tolerance", "logits", NUMBER),
    ]
    return table(caption, headings, map(_divergence, found))


def _divergence(item: Part) -> list[str]:
    expected = tag("ins", visible(item["expected"]), title="expected")
    differing = tag("del", visible(item["found"]), title="found")
    context = tag("span.context", item["context"].replace("\n", "↵\n"))
    prompt = tag("small", item["prompt"])
    excused = tag("small", "excused") if item["excused"] else tag("strong.failed", "not excused")
    return [
        str(item["rung"]),
        join([item["arm"], tag("small", item["suite"]), excused]),
        join([tag("bdi.tokens", context, expected, " / ", differing), prompt]),
        count(item["at_token"]),
        "none" if item["margin"] is None else significant(item["margin"]),  # JSON has no infinity
        significant(item["tolerance"]),
    ]


def worst_tensors(report: Part) -> Html:
    """Weights that lost most; nothing where the manifest names none."""
    found: Sequence[Part] = report["worst_tensors"]
    if not found:
        return Html("")
    headings = [Column("Tensor", css=WIDE), Column("Section"), Column("Format"), Column("SNR", "dB", NUMBER)]
    rows = [[tag("code", item["name"]), item["section"], item["format"], fixed(item["snr_db"], 1)] for item in found]
    lead = tag("p.lead", "Weights that quantization hurt most; 6 dB more is half the error.")
    return section(
        "tensors", "Worst tensors", lead, table("Weights with the lowest signal-to-noise ratio", headings, rows)
    )


def engine(report: Part) -> Html:
    """What LiteRT-LM itself made of the same prompts; nothing where it was not run."""
    found: Part | None = report["engine"]
    if found is None:
        return Html("")
    off, on = found["decode_tokens_per_s_off"], found["decode_tokens_per_s_on"]
    gain = f", {times(on / off)}" if off else ""
    engines, runners = rate(found["acceptance_rate"]), rate(found["runner_acceptance_rate"])
    pairs = [
        ("Engine", f"LiteRT-LM {found['version']}, {found['backend']}"),
        ("Texts equal to the runner's", f"{count(found['texts_equal'])} of {count(found['texts'])}"),
        (
            "Draft acceptance rate",
            f"{engines}, in our runner {runners}",
        ),
        ("Decode, MTP off → on", f"{significant(off)} → {significant(on)} tokens/s{gain}"),
    ]
    notes = [tag("ul.notes", *(tag("li", prose(note)) for note in found["notes"]))] if found["notes"] else []
    return section("engine", "LiteRT-LM's own run", definitions(pairs), *notes)
