"""The `edge-mtp` command. Commands live in `edge_mtp.commands`; refusals are caught here and nowhere else."""

import sys
from typing import Any

import click

from edge_mtp import __version__
from edge_mtp.commands.device import device
from edge_mtp.commands.export import export
from edge_mtp.commands.inspect import inspect
from edge_mtp.commands.parity import parity
from edge_mtp.commands.run import run
from edge_mtp.errors import EdgeMtpError

INTERRUPTED = 130


class Commands(click.Group):
    """A group that turns refusals into one message and an exit code, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; see `edge_mtp.errors` for what can be refused."""
        try:
            return super().invoke(ctx)
        except EdgeMtpError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(error.exit_code)
        except KeyboardInterrupt:
            kept = "; finished stages are kept, run the same command again to go on"
            click.echo(f"interrupted{kept if ctx.invoked_subcommand == export.name else ''}", err=True)
            sys.exit(INTERRUPTED)


@click.group(cls=Commands)
@click.version_option(__version__)
def main() -> None:
    """Gemma 4 E2B/E4B with its multi-token-prediction drafter, on phones.

    Exit codes: 0 held, 1 refused, 2 usage, 3 a gate failed, 4 could not check.
    """


main.add_command(export)
main.add_command(inspect)
main.add_command(run)
main.add_command(parity)
main.add_command(device)

if __name__ == "__main__":
    main()
