"""`edge-mtp device`: what phones logged, as a report; and the plan that they run."""

import json
import sys
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from edge_mtp.commands.device_plan import plan
from edge_mtp.commands.output import make_directory, write_files
from edge_mtp.device.host_battery import read_host_battery
from edge_mtp.device.log import RunLog, read_logs
from edge_mtp.device.report import PhoneReport, Report, to_json
from edge_mtp.device.summary import summarize
from edge_mtp.device.tables import samples_csv, trials_csv
from edge_mtp.parity.report import finite
from edge_mtp.render.device_page import device_page

FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
COLOURS: Final = {"held": "green", "failed": "bold red", "could not check": "yellow"}
REPORT: Final = "report"
REMARKS_SHOWN: Final = 10


class DeviceCommands(click.Group):
    """Takes what follows `device` for the report's arguments unless it is the name of a command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Puts `report` in front of files and options."""
        named = args[:1] and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if named or not args else [REPORT, *args])


@click.group(cls=DeviceCommands)
def device() -> None:
    """Report on what phones logged: edge-mtp device LOG... --output DIR; or write the plan that they run.

    A log is the .jsonl file of one run, by the Android or the iOS app. `report` may be left out.
    """


@device.command(REPORT)
@click.argument("logs", metavar="LOG...", nargs=-1, required=True, type=FILE)
@click.option("--host-battery", type=FILE, help="Battery log that a computer took meanwhile: CSV, JSON Lines, or what "
              "`pymobiledevice3 diagnostics battery monitor` prints with a time in front of each line.")  # fmt: skip
@click.option(
    "--output", required=True, type=click.Path(file_okay=False, path_type=Path), help="Directory for reports."
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Of the bootstrap intervals.")
def report(logs: tuple[Path, ...], host_battery: Path | None, output: Path, seed: int) -> None:
    """Say which trials count, how fast each phone was, what its battery paid, and whether to switch MTP on.

    Writes device.html, device.json, trials.csv and samples.csv to OUTPUT. Exit codes: 0 every run has pairs that count
    in both arms, 1 a file cannot be used, 3 MTP was asked for and did not draft, 4 a run has nothing to compare.
    """
    make_directory(output)
    read = read_logs(logs)
    found = summarize(read, read_host_battery(host_battery) if host_battery else None, seed)
    _write(output, found, read)
    _print(Console(stderr=True), found, output)
    sys.exit(found.exit_code)


device.add_command(plan)


def _write(output: Path, found: Report, logs: tuple[RunLog, ...]) -> None:
    value = finite(to_json(found))
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    page = device_page(json.loads(text))
    tables = {"trials.csv": trials_csv(found.phones), "samples.csv": samples_csv(logs)}
    write_files(output, {**tables, "device.json": text, "device.html": page})


def _print(console: Console, found: Report, output: Path) -> None:
    for phone in found.phones:
        for told in _lines(phone):
            console.print(told, highlight=False, markup=False, soft_wrap=True)
    console.print(f"[{COLOURS[found.outcome]}]{found.outcome}[/]", end="", highlight=False)
    console.print(f": {found.reason}", highlight=False, markup=False, soft_wrap=True)
    told = f"wrote {output / 'device.html'}, device.json, trials.csv and samples.csv"
    console.print(told, highlight=False, markup=False, soft_wrap=True)


def _lines(phone: PhoneReport) -> list[str]:
    """A run for the terminal: what counts, what the file lacks, and both verdicts of every class."""
    counted = f"{phone.validity.counted} of {phone.validity.trials} trials count"
    lines = [f"{phone.phone.device_model}, {phone.file}: {phone.ended}, {counted}"]
    if phone.scripted:
        lines.append("  the engine plays a script: its figures are nobody's")
    lines += [f"  {one.trials} × {one.sentence}" for one in phone.validity.reasons if one.reason != "warmup"]
    remarks = [f"  {'' if one.line is None else f'line {one.line}: '}{one.kind}, {one.text}" for one in phone.remarks]
    lines += remarks[:REMARKS_SHOWN]
    if len(remarks) > REMARKS_SHOWN:
        lines.append(f"  and {len(remarks) - REMARKS_SHOWN} more remarks, see the report")
    for one in phone.classes:
        lines.append(f"  MTP {one.speed_advice.verdict:<9} {one.prompt_class:<12} speed: {one.speed_advice.reason}")
        if one.energy_ratio is not None:
            lines.append(f"  MTP {one.energy_advice.verdict:<9} {'':<12} energy: {one.energy_advice.reason}")
    return lines
