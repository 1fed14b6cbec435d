"""`edge-mtp parity`: proves a bundle on the desktop, rung by rung, and writes the report."""

import json
import os
import sys
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from edge_mtp.commands.output import make_directory, write_files
from edge_mtp.parity.ladder import RUNGS, climb
from edge_mtp.parity.report import Report, finite, to_json
from edge_mtp.parity.results import Control, Figure, RungResult, Verdict, first_failure
from edge_mtp.parity.workbench import Gates, Request, Workbench
from edge_mtp.prompts import shipped_suites
from edge_mtp.render.parity_page import parity_page

COLOURS: Final = {Verdict.HELD: "green", Verdict.FAILED: "bold red", Verdict.COULD_NOT_CHECK: "yellow"}
DIRECTORY: Final = click.Path(exists=True, file_okay=False, path_type=Path)
DEFAULTS: Final = Gates()


class RungNumbers(click.ParamType[tuple[int, ...]]):
    """Rungs as `0-7`, `3` or `1,4-6`."""

    name = "rungs"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Numbers in ascending order; a usage error where one is no rung."""
        try:
            ranges = [_ends(part) for part in str(value).split(",")]
        except ValueError:
            self.fail(f"{value!r}: give rungs as 0-7, 3 or 1,4-6", param, ctx)
        lowest, highest = RUNGS[0].number, RUNGS[-1].number
        if not all(lowest <= first <= last <= highest for first, last in ranges):
            self.fail(f"{value!r}: there are rungs {lowest} to {highest}, the lower one first", param, ctx)
        return tuple(sorted({number for first, last in ranges for number in range(first, last + 1)}))


def _ends(part: str) -> tuple[int, int]:
    first, dash, last = part.partition("-")
    return int(first), int(last if dash else first)


@click.command()
@click.argument("bundle", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--target", required=True, type=DIRECTORY, help="Checkpoint the bundle's target was made from.")
@click.option("--drafter", required=True, type=DIRECTORY, help="Checkpoint of its drafter.")
@click.option(
    "--output", required=True, type=click.Path(file_okay=False, path_type=Path), help="Directory for reports."
)
@click.option(
    "--prompts",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Prompt suite (.jsonl), repeatable. Default: the suites that come with edge_mtp.",
)
@click.option("--per-suite", type=click.IntRange(min=1), help="Only the first so many prompts of each suite.")
@click.option("--rungs", default="0-7", show_default=True, type=RungNumbers(), help="Which rungs, such as 3 or 1,4-6.")
@click.option("--max-tokens", default=64, show_default=True, type=click.IntRange(min=2), help="Per reply.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Of sampling and intervals.")
@click.option(
    "--threads", default=min(os.cpu_count() or 1, 4), show_default=True, type=click.IntRange(min=1), help="CPU threads."
)
@click.option(
    "--backend", default="cpu", show_default=True, type=click.Choice(["cpu", "gpu"]), help="Of rung 7's engine."
)
@click.option("--max-kl", default=DEFAULTS.kl_mean, show_default=True, help="Bar of rung 3, mean nats.")
@click.option("--min-top1", default=DEFAULTS.top1, show_default=True, help="Bar of rung 3, share of best tokens kept.")
@click.option(
    "--floor", default=DEFAULTS.acceptance_floor, show_default=True, help="Bar of rung 6, acceptance a suite."
)
@click.option(
    "--costs",
    type=(click.FloatRange(min=0), click.FloatRange(min=0, min_open=True)),
    metavar="C V",
    help="Draft step ÷ decode and verify ÷ decode of another machine, a phone say, for the advice and the predicted "
    "speed-up of other draft lengths.",
)
def parity(
    bundle: Path,
    target: Path,
    drafter: Path,
    output: Path,
    prompts: tuple[Path, ...],
    per_suite: int | None,
    rungs: tuple[int, ...],
    max_tokens: int,
    seed: int,
    threads: int,
    backend: str,
    max_kl: float,
    min_top1: float,
    floor: float,
    costs: tuple[float, float] | None,
) -> None:
    """Prove that BUNDLE says what its checkpoints say, and measure what MTP costs and gains.

    Writes report.json and report.html to OUTPUT. Exit codes: 0 every rung held, 3 one failed, 4 one could not be
    checked and none failed.
    """
    gates = Gates(kl_mean=max_kl, top1=min_top1, acceptance_floor=floor)
    suites = prompts or shipped_suites()
    request = Request(bundle, target, drafter, suites, per_suite, max_tokens, seed, threads, backend, costs, gates)
    make_directory(output)
    console = Console(stderr=True)
    with _progress(console) as bars:
        bench = Workbench(request, _Shown(bars))
        if bench.too_long:
            console.print(
                f"left out, too long for the bundle's context of {bench.text.context_tokens} tokens: "
                f"{bench.too_long} of {bench.too_long + len(bench.tasks)} prompts",
                highlight=False,
            )
        try:
            report = climb(bench, rungs, lambda result: _print_rung(console, result))
        finally:
            bench.close()
    _write(output, report)
    _print_outcome(console, report, output)
    sys.exit(report.exit_code)


def _progress(console: Console) -> Progress:
    columns = (TextColumn("  {task.description:<46}"), BarColumn(bar_width=24), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, *times, console=console, disable=not console.is_terminal, transient=True)


class _Shown:
    """`workbench.Progress` as one bar, begun anew for each thing that is done."""

    def __init__(self, bars: Progress) -> None:
        self._bars, self._what = bars, ""
        self._task = bars.add_task("", total=None, visible=False)

    def __call__(self, what: str, done: int, total: int) -> None:
        if what != self._what:
            self._what = what
            self._bars.reset(self._task, description=what, total=total, visible=True)
        self._bars.update(self._task, completed=done, visible=done < total)


def _print_rung(console: Console, result: RungResult) -> None:
    colour = COLOURS[result.verdict]
    head = f"[{colour}]{result.verdict.upper():<15}[/] {result.number} {result.claim} ({result.seconds:.1f} s)"
    console.print(head, highlight=False, soft_wrap=True)
    reason = [result.reason] if result.reason else []
    for line in (*reason, *map(_figure, result.figures), *map(_control, result.controls)):
        console.print(f"                  {line}", highlight=False, markup=False, soft_wrap=True)


def _control(control: Control) -> str:
    outcome = "rejected" if control.rejected else "NOT REJECTED"
    figures = ", ".join(map(_figure, control.figures))
    return f"control {outcome}: {control.name}{f' ({figures})' if figures else ''}"


def _figure(figure: Figure) -> str:
    value = f"{figure.value:.4g}" if isinstance(figure.value, float) else str(figure.value)
    bar = f"  [{figure.bar}]" if figure.bar else ""
    return f"{figure.name}: {value} {figure.unit}".rstrip() + bar


def _write(output: Path, report: Report) -> None:
    value = to_json(report)
    text = json.dumps(finite(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_files(output, {"report.json": text, "report.html": parity_page(json.loads(json.dumps(value)))})


def _print_outcome(console: Console, report: Report, output: Path) -> None:
    for advice in report.advice:
        told = f"MTP {advice.verdict:<9} {advice.suite:<12} {advice.reason}"
        console.print(told, highlight=False, markup=False, soft_wrap=True)
    console.print(f"[{COLOURS[report.outcome]}]{report.outcome}[/]{_fault(report)}", highlight=False, soft_wrap=True)
    console.print(f"wrote {output / 'report.html'} and report.json", highlight=False, markup=False)


def _fault(report: Report) -> str:
    """The stage at fault, and what is known of the rungs below the one that failed."""
    failed = first_failure(report.rungs)
    if failed is None:
        return ""
    held = {rung.number for rung in report.rungs if rung.verdict is Verdict.HELD}
    unknown = [str(number) for number in range(failed.number) if number not in held]
    doubt = f", if the rungs below it hold ({', '.join(unknown)} not checked)" if unknown else ""
    return f"; at fault: {failed.stage}{doubt}"
