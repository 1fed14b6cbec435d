"""What a phone's figures rest on: which trials count, what the file lacks, every trial, phone, engine and plan."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from edge_mtp.render.device_speed import ARMS
from edge_mtp.render.markup import NUMBER, WIDE, Column, Html, definitions, folded, join, table, tag
from edge_mtp.render.numbers import NOT_MEASURED, count, fixed, moment, optional, seconds, significant, size

Part = Mapping[str, Any]

REMARKS_SHOWN: Final = 5
SWITCHES: Final = {"engine": "one engine an arm", "conversation": "one engine for both arms"}


def validity(phone: Part) -> list[Html]:
    """How many trials count and why the others do not; where the app thought otherwise; what the file lacks."""
    found = phone["validity"]
    counted = f"{count(found['counted'])} of {count(found['trials'])} trials count"
    pairs = f"pairs with both arms: {count(found['pairs'])}"
    headings = [Column("Why not", css=WIDE), Column("Word in the log"), Column("Trials", css=NUMBER)]
    rows = [[one["sentence"], tag("code", one["reason"]), count(one["trials"])] for one in found["reasons"]]
    why = [table("Trials that do not count, by reason", headings, rows)] if rows else []
    indices = ", ".join(map(str, found["app_differs"]))
    differs = [tag("p.empty", f"The app judged otherwise in trials {indices}.")] if indices else []
    lead = "Judged anew from samples and events, whatever the app thought."
    return [
        tag("h3", "What counts"),
        tag("p.lead", f"{counted}; {pairs}. {lead}"),
        *why,
        *differs,
        *_remarks(phone["remarks"]),
    ]


def _remarks(remarks: Sequence[Part]) -> list[Html]:
    told = [
        tag("li", f"{'' if one['line'] is None else 'line ' + count(one['line']) + ', '}{one['kind']}: {one['text']}")
        for one in remarks
    ]
    shown, rest = told[:REMARKS_SHOWN], told[REMARKS_SHOWN:]
    parts = [tag("ul.notes", *shown)] if shown else []
    return [*parts, *([folded(f"{len(rest)} more remarks", tag("ul.notes", *rest))] if rest else [])]


def trials(phone: Part) -> list[Html]:
    """Every trial, on demand."""
    headings = [
        Column("Trial"),
        Column("Place", "pair, order, repeat"),
        Column("Arm"),
        Column("Prompt", "and class"),
        Column("Time", "from to", NUMBER),
        Column("Tokens", "in, out, chunks", NUMBER),
        Column("First token", "ms", NUMBER),
        Column("Decode", "tokens/s", NUMBER),
        Column("Heat", "warmest", NUMBER),
        Column("Counts", "and what the app said"),
    ]
    whole = table("All trials", headings, map(_trial, phone["trials"]))
    return [folded(f"All {count(len(phone['trials']))} trials", whole)] if phone["trials"] else []


def _trial(one: Part) -> list[str]:
    place = ", ".join("–" if one[key] is None else str(one[key]) for key in ("pair", "order", "repeat"))
    tokens = ", ".join(
        "–" if one[key] is None else count(one[key]) for key in ("input_tokens", "output_tokens", "chunks")
    )
    counts = "yes" if one["counts"] else f"no: {', '.join(one['reasons'])}"
    app = "valid" if one["app_valid"] else "not valid"
    app += f": {', '.join(one['app_reasons'])}" if one["app_reasons"] else ""
    return [
        str(one["index"]),
        place,
        ARMS[one["arm"]],
        join([one["prompt"], tag("small", one["prompt_class"])]),
        join([f"{fixed(one['start_s'], 1)} s", tag("small", f"{fixed(one['end_s'], 1)} s")]),
        join([tokens, tag("small", one["finish_reason"])]),
        "–" if one["ttft_ms"] is None else significant(one["ttft_ms"]),
        "–" if one["decode_tps"] is None else fixed(one["decode_tps"]),
        "–" if one["thermal_max"] is None else str(one["thermal_max"]),
        join([counts, tag("small", app)]),
    ]


def set_up(phone: Part) -> list[Html]:
    """Phone, engine, bundle, plan and surroundings."""
    return [tag("h3", "What it was run on"), definitions([*_device(phone), *_plan(phone)])]


def _device(phone: Part) -> list[tuple[str, str]]:
    told, used, bundle = phone["phone"], phone["runtime"], phone["bundle"]
    soc = f", {told['soc']}" if told["soc"] else ""
    details = [
        f"activations {used['activation']}" if used["activation"] else "",
        f"{count(used['threads'])} threads" if used["threads"] is not None else "",
        f"context {count(used['max_context_tokens'])}" if used["max_context_tokens"] is not None else "",
        f"weight cache {used['cache']}" if used["cache"] else "",
        SWITCHES.get(used["switch"], used["switch"] or ""),
    ]
    steps = "" if bundle["draft_steps"] is None else f", {bundle['draft_steps']} draft steps"
    drafter = {True: "with a drafter", False: "without a drafter", None: "drafter not told"}[bundle["has_drafter"]]
    return [
        ("Run", join([tag("code", phone["run"]), f", {phone['file']}"])),
        ("When", f"{moment(phone['wall_time'])}, {seconds(phone['duration_s'])}, {phone['ended']}"),
        ("Phone", f"{told['device_model']}{soc}, {told['platform']} {told['os_version']}"),
        ("Memory and cores", f"{size(told['ram_bytes'])}, {count(told['cores'])} cores"),
        ("App", told["app_version"]),
        ("Engine", ", ".join([f"{used['name']} {used['version']} on {used['backend']}", *filter(None, details)])),
        ("Bundle", f"{bundle['file']}, {size(bundle['size_bytes'])}, {drafter}{steps}"),
        ("Bundle's SHA-256", tag("code", bundle["sha256"] or "not told")),
    ]


def _plan(phone: Part) -> list[tuple[str, str]]:
    plan, said = phone["plan"], phone["setting"]
    words = [
        f"{plan['design']}, {count(plan['pair_count'])} pairs",
        f"seed {plan['seed']}",
        f"{count(plan['warmups'])} warm-ups an arm",
        f"blocks {count(plan['block_s'])} s",
        f"idle {count(plan['baseline_s'])} s",
        f"at most {count(plan['max_output_tokens'])} tokens",
        f"temperature {significant(plan['temperature'])}",
        f"top-k {count(plan['top_k'])}",
    ]
    around = [
        ("Ambient", optional(said["ambient_c"], "°C")),
        ("Brightness", optional(said["brightness"])),
        ("Airplane mode", optional(said["airplane"])),
        ("Charger, as said", said["charger"] or NOT_MEASURED),
        ("Note", said["note"] or "none"),
    ]
    prompts = join([f"{plan['prompt_set']}, ", tag("code", plan["prompt_set_sha256"])])
    return [("Plan", ", ".join(words)), ("Prompts", prompts), *around]
