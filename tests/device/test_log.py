"""Reading device logs: every line that cannot be read is said by its number, and nothing else is lost."""

import json
import random
from pathlib import Path

import pytest

from edge_mtp.device.decoding import DecodeError, decode
from edge_mtp.device.log import DeviceLogError, parse_log, read_log, read_logs
from edge_mtp.device.records import Event, Sample, Trial
from tests.device.schemas import GOLDEN, records
from tests.device.test_golden import LOGS


def parsed(text: str | bytes):
    content = text if isinstance(text, bytes) else text.encode()
    return tuple(parse_log(Path("x.jsonl"), content))


def text_of(name: str) -> str:
    return (GOLDEN / f"{name}.jsonl").read_text(encoding="utf-8")


def remarks(name: str):
    (log,) = read_log(GOLDEN / f"{name}.jsonl")
    return [(one.kind, one.line) for one in log.remarks]


@pytest.mark.parametrize("name", LOGS)
def test_golden_logs(name):
    (log,) = read_log(GOLDEN / f"{name}.jsonl")
    raw = records(name)
    for kind, found in (("sample", log.samples), ("event", log.events), ("trial", log.trials), ("engine", log.engines)):
        assert [one.seq for one in found] == [one["seq"] for one in raw if one["kind"] == kind]
    assert (log.end is None) == log.interrupted == name.startswith("interrupted")
    assert remarks(name) == ([("truncated", 41)] if log.interrupted else [])


def test_every_value_is_kept():
    (log,) = read_log(GOLDEN / "throttling.jsonl")
    raw = next(one for one in records("throttling") if one["kind"] == "trial" and one["index"] == 5)
    trial = log.trials[5]
    assert {key: value for key, value in raw.items() if key not in ("v", "kind", "invalid_reasons")} == {
        key: getattr(trial, key) for key in raw if key not in ("v", "kind", "invalid_reasons")
    }
    assert log.run.plan.gate.max_wait_s == 600 and log.run.bundle.draft_steps == 3


def test_bad_lines_are_numbered_and_the_rest_is_read():
    assert remarks("invalid/bad-line") == [("bad line", 10), ("bad line", 11), ("bad line", 12), ("lost", 13)]
    (log,) = read_log(GOLDEN / "invalid" / "bad-line.jsonl")
    whole = {one["seq"] for one in records("silent-no-draft")[:40]}
    read = {one.seq for part in (log.samples, log.events, log.trials) for one in part} | {log.run.seq}
    assert whole - read == {9}


def test_unknown_fields_and_kinds_are_kept_and_said():
    (log,) = read_log(GOLDEN / "invalid" / "unknown-fields.jsonl")
    assert log.samples[0].extra == {"battery_cycles": 211}
    assert [(one.kind, one.extra["gpu_mhz"]) for one in log.others] == [("gpu_clock", 850)]
    assert [(one.kind, one.line) for one in log.remarks] == [("unknown", 2), ("unknown", 3)]
    assert "`battery_cycles` in `sample`" in log.remarks[0].text and "`gpu_clock`" in log.remarks[1].text


def test_an_unknown_version_is_refused_by_its_line():
    with pytest.raises(DeviceLogError, match=r"unknown-version.jsonl, line 1: version 2 of the log, .* version 1"):
        read_log(GOLDEN / "invalid" / "unknown-version.jsonl")
    lines = text_of("paired").splitlines()
    lines[20] = lines[20].replace('"v":1', '"v":3')
    with pytest.raises(DeviceLogError, match="line 21: version 3"):
        parsed("\n".join(lines))


@pytest.mark.parametrize("cut", [1, 40, 150])
def test_only_the_last_line_may_be_truncated(cut):
    text = text_of("paired").rstrip("\n")
    (log,) = parsed(text[:-cut])
    assert [(one.kind, one.line) for one in log.remarks] == [("truncated", 189)] and log.interrupted
    (log,) = parsed(text[:-cut] + "\n")
    assert [(one.kind, one.line) for one in log.remarks] == [("bad line", 189)]


def test_a_whole_last_line_needs_no_newline():
    (log,) = parsed(text_of("paired").rstrip("\n"))
    assert log.remarks == () and log.end is not None


def test_lost_and_repeated_records_and_a_falling_clock_are_said():
    lines = text_of("paired").splitlines()
    (log,) = parsed("\n".join([*lines[:10], *lines[13:]]))
    assert [(one.kind, one.line, one.text) for one in log.remarks] == [
        ("lost", 11, "3 records before it are not there")
    ]
    (log,) = parsed("\n".join([*lines[:10], lines[9], *lines[10:]]))
    assert [(one.kind, one.line) for one in log.remarks] == [("repeated", 11)] and len(log.samples) == 157
    back = json.loads(lines[50]) | {"t_ms": 3}
    (log,) = parsed("\n".join([*lines[:50], json.dumps(back), *lines[51:]]))
    assert [(one.kind, one.line) for one in log.remarks] == [("clock", 51)]


def test_several_runs_in_a_file():
    logs = parsed(text_of("paired") + text_of("throttling"))
    assert [log.run.run[-1] for log in logs] == ["6", "1"]
    assert [len(log.trials) for log in logs] == [26, 47] and all(log.remarks == () for log in logs)


def test_the_same_run_twice_is_refused(tmp_path):
    copy = tmp_path / "copy.jsonl"
    copy.write_text(text_of("paired"), encoding="utf-8")
    with pytest.raises(DeviceLogError, match=r"both hold run .*6; give each run once"):
        read_logs([GOLDEN / "paired.jsonl", copy])
    assert len(read_logs([GOLDEN / "paired.jsonl", GOLDEN / "iphone.jsonl"])) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"\n\n  \n", "it is empty"),
        (b"\x00\xff\xfe\x01" * 100, "line 1: not UTF-8 text"),
        (b"hello\nworld\n", "line 1: not JSON"),
        (b"[" * 100_000, "line 1: not JSON"),
        (b'{"a": 1}', "line 1: `v`, the log's version, is missing"),
        (b'{"v": true, "kind": "run"}', "line 1: `v`, the log's version, is missing"),
        (b'{"v": 1}', "line 1: `kind` is missing"),
    ],
)
def test_files_that_are_no_log(content, message):
    with pytest.raises(DeviceLogError, match=message):
        parsed(content)


def test_a_run_without_its_first_record_is_refused():
    lines = text_of("paired").splitlines()
    with pytest.raises(DeviceLogError, match=r"run .*6 .from line 2 on. has no `run` record .*line 1: not JSON"):
        parsed("\n".join([lines[0][:100], *lines[1:]]))


@pytest.mark.parametrize("time", ["yesterday", "2026-03-01", "2026-03-01T14:00:00", ""])
def test_a_run_whose_time_has_no_offset_is_refused(time):
    head, rest = text_of("paired").split("\n", 1)
    spoilt = json.dumps(json.loads(head) | {"wall_time": time})
    with pytest.raises(DeviceLogError, match=r"line 1: `wall_time` is .* needed a date and time with its offset"):
        parsed(f"{spoilt}\n{rest}")


def test_files_that_are_not_there(tmp_path):
    for path in (tmp_path / "absent.jsonl", tmp_path):
        with pytest.raises(DeviceLogError, match=f"cannot read {path} "):
            read_log(path)


COMMON = {"run": "r", "seq": 0, "t_ms": 0}


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (Sample, {"phase": 3}, "`phase` is 3, needed a text"),
        (Sample, {"phase": None}, "`phase` is null, needed a text"),
        (Sample, {}, "`phase` is missing"),
        (Sample, {"phase": "idle", "charging": 1}, "`charging` is 1, needed true or false"),
        (Sample, {"phase": "idle", "thermal": True}, "`thermal` is True, needed an integer"),
        (Sample, {"phase": "idle", "thermal": 1.5}, "`thermal` is 1.5, needed an integer"),
        (
            Sample,
            {"phase": "idle", "battery_voltage_mv": -1},
            "`battery_voltage_mv` is -1, needed a number that",
        ),
        (Sample, {"phase": "idle", "battery_voltage_mv": 10**400}, "needed a number below"),
        (Sample, {"phase": "idle", "rails_uws": [1]}, "`rails_uws` is .1., needed an object"),
        (Sample, {"phase": "idle", "rails_uws": {"CPU": "1"}}, "`rails_uws.CPU` is '1', needed a number"),
        (Sample, {"phase": "idle", "thermal": 4}, "`thermal` is 4, needed a number up to 3"),
        (Sample, {"phase": "idle", "battery_level": 80}, "`battery_level` is 80, needed a number up to 1"),
        (Event, {}, "`name` is missing"),
        (Trial, {"index": 0, "arm": "on"}, "`arm` is 'on', needed one of spec_off, spec_on"),
    ],
)
def test_values_that_do_not_fit(kind, values, message):
    with pytest.raises(DecodeError, match=message):
        decode(kind, COMMON | values)


def test_values_that_do_fit():
    sample = decode(Sample, COMMON | {"phase": "idle", "battery_current_ua": -5, "thermal": 1.0, "rails_uws": {"C": 1}})
    assert (sample.battery_current_ua, sample.thermal, sample.rails_uws) == (-5, 1, {"C": 1.0})
    assert type(sample.thermal) is int and sample.charging is None


def test_nothing_breaks_the_reader():
    """Logs with bytes, lines and values spoilt at random are read or refused, each time."""
    chance = random.Random(7)
    original = (GOLDEN / "interrupted-resumed.jsonl").read_bytes()
    refused = 0
    for _ in range(300):
        content = bytearray(original)
        for _ in range(chance.randrange(1, 30)):
            at = chance.randrange(len(content))
            content[at : at + chance.randrange(5)] = bytes(chance.choices(b'{}[]",:0129.eE+-\n\\ntf\xc3', k=2))
        try:
            (log, *_) = parsed(bytes(content))
        except DeviceLogError:
            refused += 1
        else:
            assert log.remarks or log.samples
    assert 0 < refused < 300
