"""Battery logs of a host: three forms of the same figures, and what is refused."""

import json
from pathlib import Path

import pytest

from edge_mtp.device.host_battery import HostBatteryError, join_host, read_host_battery
from edge_mtp.device.log import read_log
from tests.device.schemas import GOLDEN

OURS = {
    "wall_time": "2026-03-01T15:00:10+01:00",
    "current_ua": -1500000,
    "voltage_mv": 4000,
    "temp_c": 31.5,
    "level": 0.9,
    "charging": False,
}
MONITOR = {
    "InstantAmperage": -1500, "Temperature": 3150, "Voltage": 4000, "IsCharging": False, "CurrentCapacity": 90
}  # fmt: skip


def read(tmp_path: Path, text: str):
    path = tmp_path / "battery.log"
    path.write_text(text, encoding="utf-8")
    return read_host_battery(path)


FORMS = {
    "json": json.dumps(OURS),
    "csv": ",".join(OURS) + "\n" + ",".join(map(str, OURS.values())),
    "csv, other order": "level,wall_time,note,voltage_mv,current_ua,charging,temp_c\r\n"
    "0.9, 2026-03-01T15:00:10+01:00 ,x,4000,-1500000,0,31.5\r\n",
    "pymobiledevice3 11.45.0": f"2026-03-01T15:00:10+01:00 {json.dumps(MONITOR)}",
    "its unsigned amperes": f"2026-03-01T15:00:10+01:00 {json.dumps(MONITOR | {'InstantAmperage': 2**64 - 1500})}",
    "nanoseconds, decimal comma": f"2026-03-01T15:00:10,000000000+01:00 {json.dumps(MONITOR)}",
    "earlier ones": f"2026-03-01 15:00:10 host pymobiledevice3.cli.diagnostics[77] INFO {MONITOR}",
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(tmp_path, form):
    (phone,) = read_log(GOLDEN / "iphone.jsonl")
    host = read(tmp_path, FORMS[form] + "\n")
    ((joined),) = join_host(phone, host)
    found = joined.sample
    assert joined.t_ms == 10_000
    assert (found.current_ua, found.voltage_mv, found.temp_c) == (-1_500_000, 4000, 31.5)
    assert (found.level, found.charging) == (0.9, False) and host.bad_lines == ()


def test_another_offset_is_another_time(tmp_path):
    (phone,) = read_log(GOLDEN / "iphone.jsonl")
    later = FORMS["json"].replace("15:00:10+01:00", "14:00:12Z")
    assert [one.t_ms for one in join_host(phone, read(tmp_path, later))] == [12_000]
    other_day = FORMS["json"].replace("03-01", "03-02")
    assert join_host(phone, read(tmp_path, other_day)) == ()


def test_bad_lines_are_numbered(tmp_path):
    lines = [FORMS["json"], "", "oops", FORMS["json"], FORMS["json"].replace("4000", '"x"'), FORMS["json"]]
    host = read(tmp_path, "\n".join(lines))
    assert (len(host.samples), host.bad_lines) == (3, (3, 5))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 of 0 lines can be used"),
        ("hello\nworld", "0 of 2 lines can be used"),
        ("time,current\n1,2", "0 of 2 lines can be used"),
        ("wall_time,voltage_mv\n2026-03-01T15:00:10+01:00,4000", "the header lacks current_ua"),
        (json.dumps(MONITOR) + "\n", "its lines have no time, so nothing can be joined by it; record it so: pymobile"),
        (FORMS["json"].replace("4000", "-4000"), "0 of 1 lines can be used"),
        (FORMS["json"].replace("2026-03-01T15:00:10+01:00", "yesterday"), "0 of 1 lines can be used"),
        ("[" * 100_000, "0 of 1 lines can be used"),
    ],
)
def test_refusals(tmp_path, text, message):
    with pytest.raises(HostBatteryError, match=message):
        read(tmp_path, text)


def test_files_that_cannot_be_read(tmp_path):
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    for path, message in ((binary, "is not UTF-8"), (tmp_path, "cannot read"), (tmp_path / "absent", "cannot read")):
        with pytest.raises(HostBatteryError, match=message):
            read_host_battery(path)
