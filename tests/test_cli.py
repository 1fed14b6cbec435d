"""The command line as such: help for everything, and the version."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

import edge_mtp
from edge_mtp.cli import main

COMMANDS = sorted(main.commands)


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


def test_commands_are_listed():
    assert {"export", "inspect"} <= set(COMMANDS)
    assert all(f"  {name} " in invoke("--help") for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command(name):
    help_text = invoke(name, "--help")
    command = main.commands[name]
    assert command.help
    assert command.help.splitlines()[0].split()[0] in help_text
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts[0]} has no help"
            assert parameter.opts[0] in help_text
        else:
            assert parameter.name is not None
            assert parameter.name.upper() in help_text


def test_help_tells_the_exit_codes():
    assert "0 held, 1 refused, 2 usage, 3 a gate failed, 4 could not check" in invoke("--help")


def test_version():
    assert invoke("--version").strip().endswith(f"version {edge_mtp.__version__}")


def test_module_runs_as_a_program():
    command = [sys.executable, "-m", "edge_mtp.cli", "--version"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert edge_mtp.__version__ in printed
