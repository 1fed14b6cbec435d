"""Tables that `edge-mtp export` prints: the plan before, the summary after."""

from collections import defaultdict

from rich.console import Console
from rich.table import Table

from edge_mtp.convert.finish import ExportResult
from edge_mtp.convert.pipeline import Prepared
from edge_mtp.convert.plan import SectionPlan, bits_per_weight
from edge_mtp.convert.preflight import available_memory_bytes, needed_disk_bytes, needed_memory_bytes
from edge_mtp.convert.smoke import SmokeResult

LOW_ACCEPTANCE = 0.1
"""Below this share of accepted drafts a user is warned: it breaks even nowhere, and hints at the wrong drafter."""


def print_plan(console: Console, prepared: Prepared) -> None:
    """Sections with tensors, bits and bytes; lengths; memory and disk; the pair's warnings."""
    plan, request = prepared.plan, prepared.request
    table = Table(title=f"{prepared.target.source} + {prepared.drafter.source} → {request.output.name}")
    table.add_column("section", no_wrap=True)
    for column, justify in (("tensors", "right"), ("parameters", "right"), ("formats", "left")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    table.add_column("bits/weight", justify="right")
    table.add_column("bytes", justify="right")
    for section in plan.sections:
        table.add_row(
            section.name,
            str(len(section.weights)),
            f"{section.parameters:,}",
            _formats(section),
            f"{bits_per_weight(section.parameters, section.bytes):.2f}",
            f"{section.bytes:,}",
        )
    console.print(table)
    lengths = plan.lengths
    console.print(
        f'recipe "{plan.recipe.name}": context {lengths.context}, prefill {list(lengths.prefill)}, '
        f"K = {lengths.draft_steps}, {plan.recipe.drafter_head} head, activations {plan.recipe.activation}",
        highlight=False,
    )
    free = available_memory_bytes()
    console.print(
        f"needs about {_gb(needed_memory_bytes(plan))} of memory ({'unknown' if free is None else _gb(free)} free) "
        f"and {_gb(needed_disk_bytes(plan))} of disk",
        highlight=False,
    )
    for warning in prepared.warnings:
        console.print(f"warning: {warning}", style="yellow", highlight=False)


def print_result(console: Console, result: ExportResult) -> None:
    """Size, bits per weight, worst tensors, and what the engine said."""
    worst = Table(title="worst tensors")
    for column in ("section", "tensor", "format", "SNR dB"):
        worst.add_column(column)
    record, smoke = result.manifest, result.smoke
    for tensor in record.worst_tensors:
        worst.add_row(tensor.section, tensor.name, tensor.format, f"{tensor.snr_db:.1f}")
    if record.worst_tensors:
        console.print(worst)
    for finding in result.findings:
        console.print(f"{finding.severity:<12} {finding.where}: {finding.message} ({finding.code})", highlight=False)
    console.print(
        f"size         {record.size_bytes:,} bytes, {record.bits_per_weight:.2f} bits a weight", highlight=False
    )
    if smoke.acceptance_rate is not None:
        console.print(
            f"smoke run    draft acceptance rate {smoke.acceptance_rate:.3f} (accepted ÷ drafted); "
            f"{smoke.prompts - smoke.differing} of {smoke.prompts} texts equal with MTP off and on"
            f"{_parting(smoke)}; "
            f"decode {smoke.decode_tokens_per_s_off:.1f} → {smoke.decode_tokens_per_s_on:.1f} tok/s",
            highlight=False,
        )
    if smoke.acceptance_rate is not None and smoke.acceptance_rate < LOW_ACCEPTANCE:
        console.print(
            f"warning: fewer than one draft in {1 / LOW_ACCEPTANCE:.0f} was accepted, so MTP will slow this model "
            "down; is this the drafter of the model that TARGET was tuned from?",
            style="yellow",
            highlight=False,
        )
    if result.fault is None:
        console.print(f"wrote        {result.bundle}", style="green", highlight=False)
    else:
        console.print(f"FAILED       {result.fault}", style="red", highlight=False)
        console.print(f"kept as      {result.bundle}", highlight=False)


def _parting(smoke: SmokeResult) -> str:
    """Where the first pair of texts parts, if one does."""
    return f", the first parts after {smoke.first_difference} tokens" if smoke.first_difference is not None else ""


def _formats(section: SectionPlan) -> str:
    counts: dict[str, int] = defaultdict(int)
    for weight in section.weights:
        counts[weight.format.label] += 1
    return ", ".join(f"{count} {label}" for label, count in sorted(counts.items()))


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
