"""`edge-mtp export`: two checkpoints to one bundle."""

import importlib.metadata
import sys
from pathlib import Path

import click
from rich.console import Console

from edge_mtp.commands.export_report import print_plan, print_result
from edge_mtp.commands.progress import RichReporter
from edge_mtp.errors import EdgeMtpError, ExitCode

NEEDS_EXTRA = (
    "exporting needs torch and litert-torch, which are not installed; install them with: pip install 'edge-mtp[export]'"
)


@click.command()
@click.argument("target")
@click.argument("drafter")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Bundle to write (.litertlm).")
@click.option(
    "--recipe",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML recipe: lengths, head, number format of every weight. Default: by the checkpoint's size.",
)
@click.option("--work-dir", type=click.Path(file_okay=False, path_type=Path), help="Default: OUTPUT.work")
@click.option("--dry-run", is_flag=True, help="Check everything, print the plan, write nothing.")
@click.option("--no-resume", is_flag=True, help="Make finished stages anew.")
@click.option("--overwrite", is_flag=True, help="Replace OUTPUT if it exists.")
def export(
    target: str,
    drafter: str,
    output: Path,
    recipe: Path | None,
    work_dir: Path | None,
    dry_run: bool,
    no_resume: bool,
    overwrite: bool,
) -> None:
    """Export the Gemma 4 checkpoint TARGET and its DRAFTER to one LiteRT-LM bundle with MTP.

    TARGET and DRAFTER are local checkpoint directories or hub ids. A run that was cut off is taken up where
    it stopped. The bundle gets its name only after LiteRT-LM has run it with MTP off and on.
    """
    try:
        importlib.metadata.version("litert-torch")
    except importlib.metadata.PackageNotFoundError:
        raise EdgeMtpError(NEEDS_EXTRA) from None
    from edge_mtp.convert import finish, pipeline

    console = Console(stderr=True)
    request = pipeline.ExportRequest(target, drafter, output, recipe, work_dir, not no_resume, overwrite)
    with console.status("reading the checkpoints"):
        prepared = pipeline.prepare(request)
    print_plan(console, prepared)
    if dry_run:
        finish.check_only(prepared)
        return
    with RichReporter(console) as reporter:
        result = finish.finish(prepared, pipeline.build(prepared, reporter), reporter)
    print_result(console, result)
    sys.exit(ExitCode.HELD if result.fault is None else ExitCode.GATE_FAILED)
