"""What the Android app's core wrote on simulated phones, read by `edge-mtp device`: no warning, the same judgement."""

import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from android_demo.tools import layout
from android_demo.tools.toolchain import open_toolchain
from tests.device.schemas import faults
from tests.export.refusal import invoke

QUARTER_HOUR_S = 15 * 60


@functools.cache
def logs() -> Path:
    """Folder of the logs that belong to the sources as they are; made anew where the tools for it are there."""
    if layout.LOGS_STAMP.exists() and layout.LOGS_STAMP.read_text() == layout.core_digest():
        return layout.LOGS
    if not open_toolchain().is_complete():
        pytest.skip("the Kotlin tools are not on this machine; make android fetches them")
    steps = ["core", "core-tests", "tests"]
    done = subprocess.run(
        [sys.executable, "-m", "android_demo.tools", "--only", *steps], cwd=layout.ROOT, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return layout.LOGS


def report(log: Path, output: Path) -> tuple[int, str, dict]:
    """Exit code, what was printed, and what is said of the one phone."""
    done = invoke("device", log, "--output", output)
    value = json.loads((output / "device.json").read_text(encoding="utf-8"))
    return done.exit_code, done.output, value["phones"][0]


def test_a_quarter_of_an_hour_is_read_without_a_warning(tmp_path):
    code, printed, phone = report(logs() / "energy.jsonl", tmp_path)
    assert (code, phone["remarks"], phone["validity"]["app_differs"]) == (0, [], []), printed
    assert phone["duration_s"] > QUARTER_HOUR_S and phone["ended"] == "finished"
    assert phone["validity"]["counted"] == phone["validity"]["trials"] - 2, "all but the warm-ups"
    assert phone["energy"]["source"] == "voltage_current" and phone["energy"]["void_blocks"] == []
    assert phone["texts"]["compared"] == phone["texts"]["equal"] > 0


def test_a_spoilt_log_of_it_is_not(tmp_path):
    lines = (logs() / "energy.jsonl").read_text(encoding="utf-8").splitlines()
    del lines[100]
    lines[200] = lines[200][:50]
    spoilt = tmp_path / "spoilt.jsonl"
    spoilt.write_text("\n".join(lines) + "\n", encoding="utf-8")
    _, _, phone = report(spoilt, tmp_path / "report")
    assert phone["remarks"]


def test_every_record_is_what_the_schema_allows():
    read = 0
    for log in sorted(logs().glob("*.jsonl")):
        for number, line in enumerate(log.read_text(encoding="utf-8").splitlines(), 1):
            if log.name == "killed.jsonl" and '"t_ms"' not in line:
                continue  # (the line that the kill cut off)
            assert faults(json.loads(line)) == [], f"{log.name}, line {number}"
            read += 1
    assert read > 1000


def test_a_killed_run_is_read_as_interrupted(tmp_path):
    code, printed, phone = report(logs() / "killed.jsonl", tmp_path)
    assert code == 0 and phone["ended"] == "interrupted" and "truncated" in printed


def test_a_script_is_not_taken_for_a_phone(tmp_path):
    assert report(logs() / "scripted.jsonl", tmp_path / "1")[2]["scripted"] is True
    assert report(logs() / "energy.jsonl", tmp_path / "2")[2]["scripted"] is False


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("silent", {"not_drafting"}),
        ("fallback", {"not_drafting", "fallback"}),
        ("failing", {"error", "incomplete"}),
        ("hot", {"thermal", "gate_timeout"}),
        ("charger", {"charging", "gate_timeout"}),
        ("saving", {"low_power", "gate_timeout"}),
        ("stopped", {"cancelled"}),
        ("background", {"cancelled", "background", "gate_timeout"}),
        ("lossy", set()),
    ],
)
def test_the_reader_judges_as_the_app_did(name, reasons, tmp_path):
    _, printed, phone = report(logs() / f"judged-{name}.jsonl", tmp_path)
    found = {one["reason"] for one in phone["validity"]["reasons"]} - {"warmup"}
    assert (found, phone["validity"]["app_differs"]) == (reasons, []), printed
    if name == "lossy":
        assert phone["texts"]["equal"] < phone["texts"]["compared"]


def test_a_judgement_that_is_not_the_readers_is_seen(tmp_path):
    text = (logs() / "judged-silent.jsonl").read_text(encoding="utf-8")
    lied = tmp_path / "lied.jsonl"
    lied.write_text(text.replace('"valid":false,"invalid_reasons":["not_drafting"]', '"valid":true'), encoding="utf-8")
    assert lied.read_text(encoding="utf-8") != text
    assert report(lied, tmp_path / "report")[2]["validity"]["app_differs"]


def test_old_logs_are_not_taken_for_new_ones(tmp_path, monkeypatch):
    copy = tmp_path / "core" / "src"
    shutil.copytree(layout.CORE, copy)
    before = layout.core_digest()
    monkeypatch.setattr(layout, "ROOT", tmp_path)
    monkeypatch.setattr(layout, "CORE", copy)
    monkeypatch.setattr(layout, "GOLDEN", tmp_path)
    one = layout.core_digest()
    next(copy.rglob("RunMachine.kt")).write_text("// changed")
    assert len({before, one, layout.core_digest()}) == 3
