"""`edge-mtp device` and `edge-mtp device plan` on the command line, right and wrong."""

import csv
import json
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from edge_mtp.commands import device as command
from edge_mtp.commands.device_plan import plan_prompts
from edge_mtp.device.plan import Gate, Lengths, Sampler, make_plan, plan_json
from edge_mtp.prompts import read_suites, shipped_suites
from tests.device.schemas import GOLDEN, PLAN, faults, records
from tests.export.refusal import check_refused, invoke

USAGE = 2
WRITTEN = {"device.html", "device.json", "samples.csv", "trials.csv"}


def log(name: str) -> Path:
    return GOLDEN / f"{name}.jsonl"


def test_a_report(tmp_path):
    done = invoke("device", log("paired"), log("iphone"), "--output", tmp_path / "a" / "b")
    assert done.exit_code == 0, done.output
    assert {path.name for path in (tmp_path / "a" / "b").iterdir()} == WRITTEN
    value = json.loads((tmp_path / "a" / "b" / "device.json").read_text(encoding="utf-8"))
    assert (value["kind"], value["schema_version"], value["exit_code"]) == ("edge_mtp.device", 1, 0)
    assert [one["file"] for one in value["phones"]] == ["paired.jsonl", "iphone.jsonl"]
    assert "MTP on        code         speed: ×1.39 with MTP, 6 pairs" in done.output
    assert "MTP off       chat         speed: ×0.87 with MTP, 6 pairs" in done.output
    page = (tmp_path / "a" / "b" / "device.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and "iPhone0,0" in page


def test_tables(tmp_path):
    assert invoke("device", log("plugged-in"), log("iphone"), "--output", tmp_path).exit_code == 0
    with (tmp_path / "trials.csv").open(encoding="utf-8", newline="") as file:
        trials = list(csv.DictReader(file))
    assert len(trials) == 14 + 62
    (voided,) = (one for one in trials if one["index"] == "12" and one["device_model"] == "Example Phone 9")
    assert (voided["counts"], voided["reasons"], voided["app_valid"]) == ("false", "charging", "true")
    assert voided["decode_tps"] == "10.0" and trials[0]["pair"] == ""
    with (tmp_path / "samples.csv").open(encoding="utf-8", newline="") as file:
        samples = list(csv.DictReader(file))
    raw = [one for one in records("plugged-in") + records("iphone") if one["kind"] == "sample"]
    assert [(one["t_ms"], one["run"]) for one in samples] == [(str(one["t_ms"]), one["run"]) for one in raw]
    assert samples[30]["watts"] == "4.0" and samples[-1]["watts"] == "" and samples[-1]["battery_current_ua"] == ""


def test_the_first_word_may_be_left_out_or_given(tmp_path):
    short = invoke("device", "--output", tmp_path / "1", log("paired"), "--seed", "3")
    long = invoke("device", "report", log("paired"), "--output", tmp_path / "2", "--seed", "3")
    assert short.exit_code == long.exit_code == 0
    one, other = (json.loads((tmp_path / name / "device.json").read_text()) for name in "12")
    assert {**one, "wall_time": ""} == {**other, "wall_time": ""} and one["settings"]["seed"] == 3


def test_a_file_called_plan_is_given_as_a_path(tmp_path, monkeypatch):
    shutil.copy(log("paired"), tmp_path / "plan")
    monkeypatch.chdir(tmp_path)
    assert invoke("device", "./plan", "--output", "out").exit_code == 0


@pytest.mark.parametrize(
    ("names", "code", "word"),
    [
        (("silent-no-draft",), 3, "failed: MTP was asked for and nothing was drafted on Example Phone 9 (6 trials)"),
        (("paired", "silent-no-draft"), 3, "failed: "),
        (("interrupted-resumed",), 0, "line 41: truncated, the line is cut off"),
        (("invalid/bad-line",), 3, "line 10: bad line, not JSON"),
        (("invalid/unknown-fields",), 3, "`battery_cycles` in `sample` is not known"),
    ],
)
def test_exit_codes_and_what_is_said(tmp_path, names, code, word):
    done = invoke("device", *map(log, names), "--output", tmp_path)
    assert done.exit_code == code and word in done.output, done.output
    assert {path.name for path in tmp_path.iterdir()} == WRITTEN


def test_nothing_to_compare(tmp_path):
    lines = [one for one in records("paired") if one.get("arm") != "spec_on"]
    alone = tmp_path / "alone.jsonl"
    alone.write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")
    done = invoke("device", alone, "--output", tmp_path / "out")
    assert done.exit_code == 4 and "could not check: no pair counts in both arms on Example Phone 9" in done.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == WRITTEN


def test_a_hosts_battery_log(tmp_path):
    host = tmp_path / "battery.csv"
    rows = [f"2026-03-01T15:{s // 60:02}:{s % 60:02}+01:00,-2000000,3800" for s in range(1868)]
    host.write_text("wall_time,current_ua,voltage_mv\n" + "\n".join(rows), encoding="utf-8")
    done = invoke("device", log("iphone"), "--host-battery", host, "--output", tmp_path / "out")
    value = json.loads((tmp_path / "out" / "device.json").read_text())
    assert done.exit_code == 0 and value["phones"][0]["energy"]["source"] == "host_log"
    assert value["settings"]["host_battery"] == "battery.csv"
    check_refused(
        invoke("device", log("paired"), "--host-battery", host, "--output", tmp_path / "out"),
        host, "2026-03-01 15:00:00+01:00 to 2026-03-01 15:31:07+01:00, and no run is in that time",
    )  # fmt: skip


def test_a_hosts_log_of_two_phones_at_once_is_refused(tmp_path):
    host = tmp_path / "battery.csv"
    host.write_text("wall_time,current_ua,voltage_mv\n2026-03-01T15:00:10+01:00,-2000000,3800\n", encoding="utf-8")
    other = tmp_path / "other.jsonl"
    text = log("iphone").read_text(encoding="utf-8")
    other.write_text(text.replace("iPhone0,0", "iPhone1,1").replace("0007", "0008"), encoding="utf-8")
    check_refused(
        invoke("device", log("iphone"), other, "--host-battery", host, "--output", tmp_path / "out"),
        "runs on iPhone0,0 and iPhone1,1; a battery log is of one phone",
    )


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_files_that_are_no_log(tmp_path):
    cases = {
        written(tmp_path / "empty.jsonl", b""): "it is empty",
        written(tmp_path / "binary.jsonl", bytes(range(256))): "line 1: not",
        written(tmp_path / "other.jsonl", b'{"id": "a"}\n'): "`v`, the log's version, is missing",
        log("invalid/unknown-version"): "version 2 of the log",
        written(tmp_path / "headless.jsonl", log("paired").read_bytes().split(b"\n", 1)[1]): "has no `run` record",
    }
    for path, message in cases.items():
        check_refused(invoke("device", path, "--output", tmp_path / "out"), path, message)
        assert not list((tmp_path / "out").iterdir())


def test_the_same_run_twice(tmp_path):
    check_refused(invoke("device", log("paired"), log("paired"), "--output", tmp_path), "both hold run")


@pytest.mark.parametrize(
    "arguments",
    [
        ("absent.jsonl", "--output", "out"),
        (GOLDEN, "--output", "out"),
        (log("paired"),),
        ("--output", "out"),
        (log("paired"), "--output", "out", "--seed", "-1"),
        (log("paired"), "--output", log("paired")),
        (log("paired"), "--output", "out", "--host-battery", "absent.csv"),
        (log("paired"), "--output", "out", "--nonsense"),
        ("plan",),
        ("plan", "--output", "x.json", "--pairs", "0"),
        ("plan", "--output", "x.json", "--seed", str(2**53)),
        ("plan", "--output", "x.json", "--max-thermal", "4"),
        ("plan", "--output", GOLDEN),
    ],
)
def test_usage(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    assert invoke("device", *arguments).exit_code == USAGE
    assert not list(tmp_path.iterdir())


def test_outputs_that_cannot_be_written(tmp_path):
    in_the_way = written(tmp_path / "file", b"")
    for arguments in ((log("paired"), "--output", in_the_way / "out"), ("plan", "--output", in_the_way / "plan.json")):
        check_refused(invoke("device", *arguments), "cannot write to the directory", "give another --output")


def test_a_run_that_dies_leaves_the_older_report(tmp_path, monkeypatch):
    assert invoke("device", log("paired"), "--output", tmp_path).exit_code == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def die(value) -> str:
        raise MemoryError

    monkeypatch.setattr(command, "device_page", die)
    assert isinstance(invoke("device", log("iphone"), "--output", tmp_path).exception, MemoryError)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_full_disk_is_an_error_with_a_name(tmp_path, monkeypatch):
    def full(self, *given, **more) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    check_refused(invoke("device", log("paired"), "--output", tmp_path), "trials.csv (No space left on device)")
    assert not list(tmp_path.iterdir())


def test_help_of_the_commands_below():
    for name, one in command.device.commands.items():
        text = invoke("device", name, "--help").output
        assert one.help.splitlines()[0].split()[0] in text
        for parameter in one.params:
            assert not parameter.opts[0].startswith("--") or parameter.opts[0] in text
    assert "report" in invoke("device", "--help").output and invoke("device").exit_code == USAGE


# Plans.


def plan(tmp_path: Path, *options: object) -> dict:
    done = invoke("device", "plan", "--output", tmp_path / "plans" / "plan.json", *options)
    assert done.exit_code == 0, done.output
    value = json.loads((tmp_path / "plans" / "plan.json").read_text(encoding="utf-8"))
    assert faults(value, PLAN) == []
    return value


def test_the_default_plan_has_every_prompt_once(tmp_path):
    value = plan(tmp_path)
    assert len(value["prompts"]) == len(value["pairs"]) == 36
    assert {one["prompt_class"] for one in value["prompts"]} == {path.stem for path in shipped_suites()}
    assert sorted(one["prompts"][0] for one in value["pairs"]) == sorted(one["id"] for one in value["prompts"])
    firsts = [one["first"] for one in value["pairs"]]
    assert all(one != two for one, two in pairwise(firsts))
    assert value["block_s"] == 0 and value["prompt_set"] == "chat+code+creative+extract+summarize+toolcall"
    assert any("system" in one for one in value["prompts"])


def test_the_sustained_plan(tmp_path):
    value = plan(tmp_path, "--sustained", "--per-suite", 1)
    assert (value["block_s"], value["baseline_s"], value["cooldown_s"], len(value["pairs"])) == (600, 60, 300, 2)
    assert [len(one["prompts"]) for one in value["pairs"]] == [6, 6]
    other = plan(tmp_path, "--sustained", "--per-suite", 1, "--pairs", 3, "--block-s", 900, "--baseline-s", 0)
    assert (other["block_s"], other["baseline_s"], other["cooldown_s"], len(other["pairs"])) == (900, 0, 300, 3)


def test_options_reach_the_plan(tmp_path):
    suite = written(tmp_path / "mine.jsonl", '{"id": "mine-1", "prompt": "Hallo, wie geht’s?"}\n'.encode())
    value = plan(
        tmp_path, "--prompts", suite, "--pairs", 3, "--seed", 7, "--warmups", 0, "--block-s", 60, "--baseline-s", 30,
        "--cooldown-s", 5, "--max-tokens", 99, "--max-thermal", 1, "--min-battery", 0.5, "--max-wait-s", 10,
    )  # fmt: skip
    lengths = Lengths(3, 0, 60, 30, 5, 99)
    gate = Gate(1, 0.5, True, True, 10)
    from_code = make_plan(plan_prompts(read_suites([suite])), "mine", 7, lengths, Sampler(), gate)
    assert value == plan_json(from_code)
    assert value["prompts"] == [{"id": "mine-1", "prompt_class": "mine", "text": "Hallo, wie geht’s?"}]


def test_the_seed_decides_and_the_file_is_the_same_each_time(tmp_path):
    one, again, other = (plan(tmp_path, "--seed", seed) for seed in (1, 1, 2))
    assert one == again and one["pairs"] != other["pairs"] and one["prompt_set_sha256"] == other["prompt_set_sha256"]


def test_prompts_that_share_an_id_are_refused(tmp_path):
    first = written(tmp_path / "a.jsonl", b'{"id": "x", "prompt": "1"}\n')
    second = written(tmp_path / "b.jsonl", b'{"id": "x", "prompt": "2"}\n')
    done = invoke("device", "plan", "--output", tmp_path / "p.json", "--prompts", first, "--prompts", second)
    check_refused(done, "two prompts are called 'x'; give each prompt an id of its own")
    assert not (tmp_path / "p.json").exists()


def test_the_time_that_a_plan_takes_is_said(tmp_path):
    done = invoke("device", "plan", "--output", tmp_path / "p.json", "--sustained")
    assert "2 pairs over 36 prompts, seed 0, at least 63 minutes" in done.output
