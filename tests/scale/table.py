"""The tables `make scale` and `make scale-peer` print."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from tests.scale.engine import EngineSpeed
from tests.scale.results import ExportRun, PeerRun

_WIDTH = 130


def print_exports(runs: Sequence[ExportRun]) -> None:
    """One line per export, each figure with its bar."""
    headings = ("wall s", "CPU s", "load", "peak GB", "without files", "largest process", "bundle GB")
    table = _table("export", *headings)
    for run in runs:
        measured, bar = run.measured, run.bar
        own_bar = None if bar.own_bytes is None else bar.own_bytes / 1e9
        table.add_row(
            run.name,
            _against(measured.wall_s, bar.wall_s, 0),
            f"{measured.cpu_s:.0f}",
            f"{run.load:.1f}",
            f"{measured.peak.bytes / 1e9:.2f} {measured.measure}",
            _against(measured.own_peak.own_bytes / 1e9, own_bar, 2),
            f"{measured.largest_process_bytes / 1e9:.2f}",
            f"{run.bundle_bytes / 1e9:.3f}" if run.bundle_bytes else "-",
        )
    _print(table)


def print_speeds(speeds: Mapping[str, EngineSpeed]) -> None:
    """Tokens a second of each bundle, median and extremes."""
    headings = ("prefill", "prefill, MTP", "decode", "decode, MTP", "accepted", "a round costs")
    table = _table("tokens/s", *headings)
    for size, speed in speeds.items():
        accepted = "-" if speed.success_rate is None else f"{speed.success_rate:.3f}"
        table.add_row(
            size,
            str(speed.prefill_off),
            str(speed.prefill_on),
            str(speed.decode_off),
            str(speed.decode_on),
            accepted,
            f"{speed.round_decodes:.2f} decodes" if speed.round_decodes else "-",
        )
    _print(table)


def print_peers(runs: Sequence[PeerRun]) -> None:
    """One line per exporter, and how many times the last one's figures the others take."""
    table = _table("exporter", "makes", "wall s", "CPU s", "peak GB", "without files", "bundle GB", "times", "memory")
    ours = runs[-1].measured
    for run in runs:
        measured = run.measured
        failed = "" if measured.exit_status == 0 else " (failed)"
        table.add_row(
            run.exporter + failed,
            run.makes,
            f"{measured.wall_s:.0f}",
            f"{measured.cpu_s:.0f}",
            f"{measured.peak.bytes / 1e9:.2f} {measured.measure}",
            f"{measured.own_peak.own_bytes / 1e9:.2f}",
            f"{run.bundle_bytes / 1e9:.3f}",
            f"×{measured.wall_s / ours.wall_s:.1f}",
            f"×{measured.peak.bytes / ours.peak.bytes:.1f}",
        )
    _print(table)


def _against(value: float, bar: float | None, digits: int) -> str:
    if bar is None:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} {'≤' if value <= bar else '> OVER'} {bar:g}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    return table


def _print(table: Table) -> None:
    Console(width=_WIDTH, soft_wrap=False).print(table)
