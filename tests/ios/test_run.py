"""The log that the Swift adapter wrote with the tiny bundle in the real runtime, read by `edge-mtp device`."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from edge_mtp.cli import main as cli

SCHEMA = Path(__file__).parents[2] / "edge_mtp/device/log.schema.json"
OUT = os.environ.get("EDGE_MTP_IOS_OUT")
pytestmark = pytest.mark.skipif(OUT is None, reason="needs Swift: make ios runs the app's engine and then these")


@pytest.fixture(name="log")
def _log() -> Path:
    (log,) = (Path(OUT or "") / "logs").glob("*.jsonl")
    return log


def records(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def report(log: Path, directory: Path) -> tuple[int, str, dict[str, Any]]:
    """Exit code, what was printed, and device.json."""
    result = CliRunner().invoke(cli, ["device", str(log), "--output", str(directory)])
    written = directory / "device.json"
    return result.exit_code, result.output, json.loads(written.read_text()) if written.exists() else {}


def test_every_line_is_valid_by_the_schema(log: Path) -> None:
    validator = Draft202012Validator(json.loads(SCHEMA.read_text()))
    lines = records(log)
    assert [error.message for line in lines for error in validator.iter_errors(line)] == []
    assert [line["seq"] for line in lines] == list(range(len(lines)))
    assert {line["kind"] for line in lines} == {"run", "sample", "event", "trial", "engine", "end"}


def test_drafting_was_real(log: Path) -> None:
    trials = [line for line in records(log) if line["kind"] == "trial" and not line["warmup"]]
    assert len(trials) == 12
    assert all(trial["valid"] for trial in trials)
    assert [trial["output_equals_pair"] for trial in trials if trial["order"] == 1] == [True] * 6
    for trial in trials:
        drafted = trial["output_tokens"] / trial["chunks"] > 1.2
        assert drafted == (trial["arm"] == "spec_on")
    rates = [line["acceptance_rate"] for line in records(log) if line["kind"] == "engine" and line["speculative"]]
    assert rates and all(0.1 < rate < 1.0 for rate in rates)


def test_edge_mtp_device_reads_it(log: Path, tmp_path: Path) -> None:
    code, said, read = report(log, tmp_path)
    assert code == 0, said
    assert "6 pairs" in said
    (phone,) = read["phones"]
    assert phone["validity"]["app_differs"] == []
    assert phone["texts"] == {"compared": 6, "equal": 6}


def test_texts_that_the_app_saw_differ_are_not_equal(log: Path, tmp_path: Path) -> None:
    lines = [{**line, "output_equals_pair": False} if line.get("order") == 1 else line for line in records(log)]
    spoilt = tmp_path / log.name
    spoilt.write_text("".join(json.dumps(line) + "\n" for line in lines))
    _, _, read = report(spoilt, tmp_path / "report")
    assert read["phones"][0]["texts"] == {"compared": 6, "equal": 0}


def test_a_log_without_drafting_is_told_from_it(log: Path, tmp_path: Path) -> None:
    lines = records(log)
    for line in lines:
        if line["kind"] == "trial":
            line["chunks"] = line["output_tokens"]
        if line["kind"] == "engine":
            line.pop("acceptance_rate", None)
            line.update(acceptance_source="none", drafting="inactive" if line["speculative"] else "off")
    spoilt = tmp_path / log.name
    spoilt.write_text("".join(json.dumps(line) + "\n" for line in lines))
    code, said, _ = report(spoilt, tmp_path / "report")
    assert code == 3, said
