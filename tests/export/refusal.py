"""Runs the command line in this process, and says what a refusal looks like."""

from click.testing import CliRunner, Result

from edge_mtp.cli import main


def invoke(*arguments: object) -> Result:
    environment = {"COLUMNS": "400", "HF_HUB_OFFLINE": "1"}
    return CliRunner(env=environment).invoke(main, [str(argument) for argument in arguments])


def check_refused(result: Result, *words: object, code: int = 1) -> None:
    """One message that says all of `words`, and no traceback."""
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    message = result.output[result.output.lower().index("error: ") :]
    for word in words:
        assert str(word) in message, message
