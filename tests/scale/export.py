"""Exports the synthetic E2B and E4B, measures it, and runs the bundles: `python -m tests.scale.export`.

E2B is exported a second time with another recipe in the same work directory, where the lowered graphs lie.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from edge_mtp.convert.stages import CACHE_VARIABLE
from edge_mtp.errors import ResourceError
from tests.scale.checkpoint import SIZES, PairPaths, default_directory, size_name, write_pair
from tests.scale.engine import measure_engine
from tests.scale.machine import read_machine
from tests.scale.memory import describe, end_with_children, measure
from tests.scale.results import BARS, NO_BAR, ExportRun, Report, write_json
from tests.scale.table import print_exports, print_speeds

RECIPES = Path(__file__).parent.parent.parent / "export"
LIMIT_BYTES = 14_000_000_000


def run_size(size: str, directory: Path, *, again: bool) -> list[ExportRun]:
    """Exports `size` from nothing, and `again` with another recipe and the work directory of the first."""
    pair = write_pair(directory, size)
    work = directory / f"{size}.work"
    for finished in (work, graph_cache(directory)):
        shutil.rmtree(finished, ignore_errors=True)
    runs = [run_export(size, pair, directory / f"{size}.litertlm", work, recipe=None)]
    if again and runs[0].measured.exit_status == 0:
        recipe = write_second_recipe(size, directory)
        bundle = directory / f"{size}-again.litertlm"
        runs.append(run_export(f"{size} again", pair, bundle, work, recipe))
        bundle.unlink(missing_ok=True)
    return runs


def graph_cache(directory: Path) -> Path:
    """Where the benchmarks' exports keep lowered graphs, so that none of the user's own shorten a first export."""
    return directory / "graph-cache"


def run_export(name: str, pair: PairPaths, bundle: Path, work: Path, recipe: Path | None) -> ExportRun:
    """One measured `edge-mtp export`; its output goes to a log beside `bundle`."""
    command = [sys.executable, "-m", "edge_mtp.cli", "export", str(pair.target), str(pair.drafter)]
    command += ["--output", str(bundle), "--work-dir", str(work), "--overwrite"]
    command += ["--recipe", str(recipe)] if recipe else []
    load = read_machine().load
    log = bundle.with_suffix(".log")
    bundle.unlink(missing_ok=True)
    cache = {CACHE_VARIABLE: str(graph_cache(bundle.parent))}
    measured = measure(command, log, environment=cache, limit_bytes=LIMIT_BYTES)
    print(f"{name}: {describe(measured)}\n  log: {log}", flush=True)
    size = bundle.stat().st_size if bundle.is_file() else 0
    return ExportRun(name, measured, size, BARS.get(name, NO_BAR), load)


def write_second_recipe(size: str, directory: Path) -> Path:
    """The default recipe of `size` with one scale per row instead of one per 32 columns."""
    default = (RECIPES / f"gemma4-{size.lower()}.toml").read_text()
    changed = default.replace("block = 32", "block = 0")
    if changed == default:
        raise ValueError(f"export/gemma4-{size.lower()}.toml has no rule with block = 32 to change")
    path = directory / f"{size}-channelwise.toml"
    path.write_text(changed)
    return path


def main() -> int:
    """Runs the benchmark; 1 where an export failed, or a bar was missed and --strict was given."""
    arguments = parse_arguments()
    directory: Path = arguments.directory
    end_with_children()
    report = Report(read_machine(), (), {})
    print(report.machine, flush=True)
    for size in arguments.sizes or SIZES:
        try:
            runs = run_size(size, directory, again=size == "E2B")
        except ResourceError as error:
            raise SystemExit(str(error)) from None
        report = Report(report.machine, (*report.exports, *runs), report.speeds)
        if arguments.engine_runs and runs[0].measured.exit_status == 0:
            report.speeds[size] = measure_engine(directory / f"{size}.litertlm", arguments.engine_runs)
        write_json(directory / "scale.json", asdict(report))
    print_exports(report.exports)
    print_speeds(report.speeds)
    return conclude(report.exports, strict=arguments.strict)


def conclude(exports: Sequence[ExportRun], *, strict: bool) -> int:
    """Says what missed its bar; the exit status."""
    misses = [miss for run in exports for miss in run.misses]
    print("\n".join(misses) if misses else "every bar held")
    failed = any(run.measured.exit_status != 0 for run in exports)
    return int(failed or (strict and bool(misses)))


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, or `words` in its place."""
    parser = argparse.ArgumentParser(description="Measure exports of real-shape checkpoints.")
    parser.add_argument("sizes", nargs="*", type=size_name, help="E2B, E4B; default: both")
    parser.add_argument("--directory", type=Path, default=default_directory(), help="for 20 or 50 GB of files")
    parser.add_argument("--engine-runs", type=int, default=3, help="per arm; 0 leaves the engine out")
    parser.add_argument("--strict", action="store_true", help="fail where a bar is missed")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
