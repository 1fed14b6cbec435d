"""`report.json` of `edge-mtp parity` as a page: the verdict first, then the evidence, then what it depends on."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from edge_mtp.errors import EdgeMtpError
from edge_mtp.render.markup import NUMBER, WIDE, Column, Html, definitions, join, section, table, tag
from edge_mtp.render.numbers import NOT_MEASURED, count, fixed, moment, optional, rate, significant, size, times
from edge_mtp.render.page import document
from edge_mtp.render.parity_compared import divergences, engine, quality, worst_tensors
from edge_mtp.render.parity_ladder import advice, ladder, verdict_banner, verdict_sentence
from edge_mtp.render.parity_measured import acceptance, cost

Part = Mapping[str, Any]

KIND: Final = "edge_mtp.parity"
SCHEMA_VERSION: Final = 1


class ReportError(EdgeMtpError):
    """A JSON file is no report that this version can show."""


def parity_page(report: Part) -> str:
    """The parsed report -> a complete HTML document that needs nothing from anywhere.

    Raises ReportError where `report` is of another kind or schema version.
    """
    _check_kind(report)
    headline, _ = verdict_sentence(report)
    built = [(anchor, word, build(report)) for anchor, word, build in SECTIONS]
    shown = [part for part in built if part[2]]
    missing = [word for _, word, content in built if not content]
    links = [tag("a", word, href=f"#{anchor}") for anchor, word, _ in shown]
    header = tag("header", *_header(report), tag("nav", *links, aria_label="Contents"))
    *measured, set_up = (content for _, _, content in shown)
    main = tag("main", *measured, *_not_measured(missing), set_up)
    return document(f"{report['bundle']['file']}: {headline}", join([header, main]), report["edge_mtp_version"])


def _check_kind(report: Part) -> None:
    found = (report.get("kind"), report.get("schema_version"))
    if found != (KIND, SCHEMA_VERSION):
        raise ReportError(
            f"this is {found[0] or 'no report'}, schema version {found[1]}; this page needs {KIND}, "
            f"version {SCHEMA_VERSION}: pass the report.json that `edge-mtp parity` of this release wrote"
        )


def _header(report: Part) -> list[Html]:
    bundle, place = report["bundle"], report["environment"]
    version, when = report["edge_mtp_version"], moment(report["wall_time"])
    told = [f"edge-mtp {version} parity", when, place["cpu"], report["settings"]["backend"]]
    return [
        tag("p.muted", " · ".join(told)),
        tag("h1", bundle["file"]),
        verdict_banner(report),
        _key(_key_figures(report)),
    ]


def _key(figures: Sequence[tuple[str, str, str]]) -> Html:
    """The summary row: name, figure, and what the figure is."""
    items = []
    for name, value, note in figures:
        css = "dd.figure.absent" if value == NOT_MEASURED else "dd.figure"
        items.append(tag("div", tag("dt", name), tag(css, value), tag("dd", note)))
    return tag("dl.key", *items)


def _key_figures(report: Part) -> list[tuple[str, str, str]]:
    bundle, suites, spent = report["bundle"], report["acceptance"], report["cost"]
    drafted, accepted, rounds = (sum(suite[key] for suite in suites) for key in ("drafted", "accepted", "rounds"))
    length = fixed(1 + accepted / rounds) if rounds else optional(None)
    return [
        ("Acceptance", rate(accepted / drafted if drafted else None), "accepted ÷ drafted, all suites, no bonus token"),
        ("Mean acceptance length", length, "tokens a round: 1 + accepted ÷ rounds"),
        _speed_up(spent),
        _divergence_of_suites(report["quality"]),
        ("Size", size(bundle["size_bytes"]), f"{count(bundle['size_bytes'])} bytes"),
        ("Bits a weight", optional(bundle["bits_per_weight"]), "scales included"),
    ]


def _speed_up(spent: Part | None) -> tuple[str, str, str]:
    if spent is None:
        return "Speed-up", optional(None), "needs the graphs' costs"
    measured = spent["measured_speed_up"]
    told = f"measured {times(measured)}" if measured is not None else "not measured"
    return "Speed-up, predicted", times(spent["predicted_speed_up"]), f"mean length ÷ (K·c + v); {told}"


def _divergence_of_suites(suites: Sequence[Part]) -> tuple[str, str, str]:
    tokens = sum(suite["tokens"] for suite in suites)
    if not tokens:
        return "KL mean", optional(None), "KL(float ‖ bundle)"
    mean = sum(suite["kl_mean"] * suite["tokens"] for suite in suites) / tokens
    return "KL mean", join([significant(mean), tag("small", " nats")]), f"KL(float ‖ bundle), {count(tokens)} tokens"


def _not_measured(missing: Sequence[str]) -> list[Html]:
    """What the page leaves out, so that nobody looks for it."""
    if not missing:
        return []
    words = ", ".join(word.lower() for word in missing)
    return [section("missing", "Not measured in this run", tag("p.lead", f"{words[:1].upper()}{words[1:]}."))]


def _set_up(report: Part) -> Html:
    asked, place, bundle = report["settings"], report["environment"], report["bundle"]
    return section(
        "setup",
        "What the figures depend on",
        tag("p.lead", "Another runtime version or CPU may give other texts: compare like with like."),
        tag("h3", "Bundle"),
        definitions(_bundle(bundle)),
        tag("h3", "Settings"),
        definitions(_settings(asked)),
        *_suite_files(asked["suites"]),
        tag("h3", "Environment"),
        definitions(_environment(place)),
        *_packages(place["packages"]),
    )


def _bundle(bundle: Part) -> list[tuple[str, str]]:
    sources = join((tag("code", source) for source in bundle["sources"]), tag("br"))
    return [
        ("File", tag("code", bundle["file"])),
        ("SHA-256", tag("code", bundle["sha256"])),
        ("Size", f"{count(bundle['size_bytes'])} bytes"),
        ("Bits a weight", optional(bundle["bits_per_weight"])),
        ("Drafts a round, K", optional(bundle["draft_steps"])),
        ("Context", optional(bundle["context_tokens"], "tokens")),
        ("Recipe", bundle["recipe"] or "not in the manifest"),
        ("Sources", sources or "not in the manifest"),
    ]


def _settings(asked: Part) -> list[tuple[str, str]]:
    return [
        ("Most tokens a reply", count(asked["max_tokens"])),
        ("Seed", str(asked["seed"])),
        ("Temperature", significant(asked["temperature"])),
        ("Backend", asked["backend"]),
    ]


def _suite_files(suites: Sequence[Part]) -> list[Html]:
    if not suites:
        return []
    headings = [Column("Suite"), Column("Prompts", css=NUMBER), Column("File"), Column("SHA-256", css=WIDE)]
    rows = [
        [item["suite"], count(item["prompts"]), tag("code", item["file"]), tag("code", item["sha256"])]
        for item in suites
    ]
    return [table("Prompt suites", headings, rows)]


def _environment(place: Part) -> list[tuple[str, str]]:
    return [
        ("Machine", place["machine"]),
        ("CPU", f"{place['cpu']}, {place['cores']} cores, {place['threads']} threads used"),
        ("Python", place["python"]),
    ]


def _packages(packages: Mapping[str, str]) -> list[Html]:
    if not packages:
        return []
    rows = [[name, version] for name, version in packages.items()]
    return [table("Packages", [Column("Package"), Column("Version")], rows)]


SECTIONS: Final = (
    ("ladder", "Ladder", ladder),
    ("advice", "On or off", advice),
    ("acceptance", "Acceptance", acceptance),
    ("cost", "Cost", cost),
    ("quality", "Quality", quality),
    ("divergences", "Divergences", divergences),
    ("tensors", "Worst tensors", worst_tensors),
    ("engine", "Engine", engine),
    ("setup", "Set-up", _set_up),
)
"""Anchor, word in the contents, and what makes the section; one that was not measured is empty."""
