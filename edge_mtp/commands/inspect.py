"""`edge-mtp inspect BUNDLE`: what a bundle holds, whether MTP is possible and where, and what is wrong with it."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import click
from rich import box
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

from edge_mtp.bundle.findings import Severity, has_errors, said
from edge_mtp.bundle.gpu import GpuVerdict
from edge_mtp.bundle.inspection import Inspection, inspect_bundle, to_json
from edge_mtp.bundle.reader import Section
from edge_mtp.bundle.summary import ModelSummary, Tensor, WeightGroup
from edge_mtp.errors import ExitCode

COLOURS = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.INFO: "dim"}
GROUPS_SHOWN = 12


@click.command("inspect")
@click.argument("bundle", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON, for scripts.")
@click.option("--all", "show_all", is_flag=True, help="List every group of weights, not only the largest.")
@click.pass_context
def inspect(context: click.Context, bundle: Path, as_json: bool, show_all: bool) -> None:
    """Describe BUNDLE (.litertlm, also one made by others) and check it.

    Exit codes: 0 nothing wrong, 1 no bundle or damaged, 3 an error was found.
    """
    inspection = inspect_bundle(bundle)
    if as_json:
        click.echo(json.dumps(to_json(inspection), indent=2, ensure_ascii=False))
    else:
        console = Console()
        for part in render(inspection, show_all):
            console.print(part)
    if has_errors(inspection.findings):
        context.exit(ExitCode.GATE_FAILED)


def render(inspection: Inspection, show_all: bool) -> Iterator[RenderableType]:
    """The inspection as tables, in reading order."""
    bundle = inspection.contents.bundle
    version = ".".join(map(str, bundle.version))
    yield f"[bold]{escape(bundle.path.name)}[/]  {_size(bundle.size)}, container {version}"
    yield _sections_table(inspection)
    for name, model in inspection.contents.models.items():
        yield _signatures_table(name, model)
    for name, groups in inspection.groups.items():
        yield _weights_table(name, groups, show_all)
    yield _kv_line(inspection)
    yield _text_line(inspection)
    yield from _verdict(inspection)
    yield from _findings(inspection)


def _sections_table(inspection: Inspection) -> Table:
    table = _table("Sections", "section", "type", "offset>", "size>", "bits>", "attributes")
    table.columns[0].no_wrap = True
    for section in inspection.contents.bundle.sections:
        model = inspection.contents.models.get(section.name)
        bits = f"{model.bits_per_weight:.2f}" if model is not None and model.parameters else ""
        table.add_row(
            section.name,
            section.model_type,
            f"{section.begin:,}",
            _size(section.size),
            bits,
            _attributes(section),
        )
    return table


def _attributes(section: Section) -> str:
    listed = [f"{key}={value}" for key, value in section.attributes.items() if key != "model_type"]
    return escape(" ".join(listed))


def _signatures_table(name: str, model: ModelSummary) -> Table:
    table = _table(f"Signatures of {escape(name)}", "signature", "inputs", "outputs")
    table.show_lines = True
    for signature in model.signatures:
        table.add_row(escape(signature.key), _tensors(signature.inputs), _tensors(signature.outputs))
    return table


def _tensors(tensors: tuple[Tensor, ...]) -> str:
    """One line a tensor; caches of one shape share a line."""
    lines: dict[str, list[str]] = {}
    for tensor in tensors:
        stem = tensor.name.rstrip("0123456789")
        shown = str(tensor).removeprefix(tensor.name)
        lines.setdefault(f"{stem}|{shown}", []).append(tensor.name.removeprefix(stem))
    return "\n".join(
        escape(f"{stem}{_span(suffixes)}{shown}")
        for (stem, shown), suffixes in ((key.split("|", 1), value) for key, value in lines.items())
    )


def _span(suffixes: list[str]) -> str:
    return suffixes[0] if len(suffixes) == 1 else "{" + ",".join(suffixes) + "}"


def _weights_table(section: str, groups: Sequence[WeightGroup], show_all: bool) -> Table:
    """Groups of a section's weights; `.weight` at the end of a name says nothing and is left out."""
    title = f"Weights of {escape(section)} by group (bits a weight, scales included)"
    table = _table(title, "weights", "count>", "stored as", "size>", "bits>")
    table.columns[0].no_wrap = True
    shown = groups if show_all else groups[:GROUPS_SHOWN]
    for group in shown:
        table.add_row(
            escape(group.pattern.removesuffix(".weight")),
            str(group.tensors),
            group.stored_as,
            _size(group.data_bytes + group.scale_bytes),
            f"{group.bits_per_weight:.2f}",
        )
    if len(shown) < len(groups):
        rest = sum(group.data_bytes + group.scale_bytes for group in groups[len(shown) :])
        table.add_row(f"… {len(groups) - len(shown)} smaller groups (--all)", "", "", _size(rest), "")
    return table


def _kv_line(inspection: Inspection) -> RenderableType:
    if inspection.kv is None:
        return "KV cache: none found"
    kv = inspection.kv
    title = f"KV cache: {kv.row_bytes:,} bytes a token, {kv.rows:,} rows = {_size(kv.size_bytes)} as exported"
    table = _table(title, "context", *(f"{context // 1024}k>" for context in kv.by_context))
    table.add_row("memory", *map(_size, kv.by_context.values()))
    return table


def _text_line(inspection: Inspection) -> str:
    contents = inspection.contents
    metadata = contents.llm_metadata
    kind = contents.tokenizer_kind or "none"
    if metadata is None:
        return f"Tokenizer: {kind}"
    stops = [str(i) for token in metadata.stop_tokens for i in token.token_ids.ids]
    stops += [repr(token.token_str) for token in metadata.stop_tokens if token.token_str]
    model_type = metadata.llm_model_type.WhichOneof("model_type") or "not set"
    channels = ", ".join(channel.channel_name for channel in metadata.channels) or "none"
    return escape(
        f"Tokenizer: {kind}, {len(contents.tokens):,} tokens; model type {model_type}; context "
        f"{metadata.max_num_tokens:,} tokens; stop tokens {', '.join(stops) or 'none'}; channels {channels}"
    )


def _verdict(inspection: Inspection) -> Iterator[str]:
    mtp = inspection.mtp
    if mtp.possible:
        yield f"[bold green]MTP possible: yes[/], {mtp.draft_steps} draft steps a round"
    else:
        yield "[bold red]MTP possible: no[/], in the way:"
        yield from _reasons(mtp.missing)
    yield from _gpu_verdict(inspection.gpu)


def _gpu_verdict(gpu: GpuVerdict) -> Iterator[str]:
    if gpu.possible:
        yield "[bold green]MTP on the GPU: yes[/]" + (", but:" if gpu.doubts else "")
        yield from _reasons(gpu.doubts)
    else:
        yield "[bold yellow]MTP on the GPU: no[/], in the way:"
        yield from _reasons(gpu.missing)


def _reasons(reasons: Sequence[str]) -> Iterator[str]:
    return (f"  • {escape(reason)}" for reason in reasons)


def _findings(inspection: Inspection) -> Iterator[str]:
    """All findings but those worth knowing only that the verdict on the GPU has named."""
    named = {*inspection.gpu.missing, *inspection.gpu.doubts}
    rest = [one for one in inspection.findings if one.severity is not Severity.INFO or said(one) not in named]
    if not rest:
        yield "Findings: none" if not inspection.findings else "Findings: no others"
    for finding in rest:
        colour = COLOURS[finding.severity]
        text = escape(said(finding))
        yield f"[{colour}]{finding.severity}[/] {finding.code}  {text}"


def _table(title: str, *columns: str) -> Table:
    """An empty table; a column whose name ends in `>` holds figures and is right-aligned."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        justify: Literal["right", "left"] = "right" if column.endswith(">") else "left"
        table.add_column(column.rstrip(">"), justify=justify, overflow="fold")
    return table


def _size(size_bytes: int) -> str:
    """Bytes in decimal units."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    for unit, factor in (("kB", 1e3), ("MB", 1e6)):
        if size_bytes < factor * 1000:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes / 1e9:.2f} GB"
