"""A battery log that a computer took beside the phone's own, joined to it by wall time.

Three forms, told apart line by line:

* JSON Lines with `wall_time`, `current_ua` (negative while discharging), `voltage_mv`, and where there are any
  `temp_c`, `level` (0 to 1), `charging`;
* CSV with these as its header;
* what `pymobiledevice3 diagnostics battery monitor` prints, with a time in front of each line. Its release 11.45.0
  (https://github.com/doronz88/pymobiledevice3, cli/diagnostics/battery.py) prints one JSON object a second and
  no time; earlier ones logged a Python dict behind coloredlogs' local time. InstantAmperage is in mA and negative while
  discharging, Voltage in mV, Temperature in hundredths of a degree, CurrentCapacity in percent.
"""

import ast
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from edge_mtp.device.log import RunLog
from edge_mtp.errors import EdgeMtpError

KEYS: Final = ("wall_time", "current_ua", "voltage_mv", "temp_c", "level", "charging")
NEEDED: Final = KEYS[:3]
CLOCK: Final = (
    'pymobiledevice3 diagnostics battery monitor | while read -r line; do echo "$(date -Is) $line"; done > battery.log'
)
LARGEST_BAD_SHARE: Final = 0.5
_SIGN_BIT: Final = 2**63
_STAMPED: Final = re.compile(
    r"^(?P<time>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*)?.*?(?P<object>\{.*InstantAmperage.*\})\s*$"
)


class HostBatteryError(EdgeMtpError):
    """A host's battery log cannot be read, or has no times to join it by."""


@dataclass(frozen=True)
class HostSample:
    """One line: `wall_time` without an offset is the host's local time; current in µA, negative while discharging."""

    wall_time: datetime
    current_ua: float
    voltage_mv: float
    temp_c: float | None = None
    level: float | None = None
    charging: bool | None = None


@dataclass(frozen=True)
class HostLog:
    """A whole file; `bad_lines` are numbers of lines that said nothing that could be used."""

    path: Path
    samples: tuple[HostSample, ...]
    bad_lines: tuple[int, ...]


@dataclass(frozen=True)
class JoinedSample:
    """A host's sample on the clock of a run."""

    t_ms: float
    sample: HostSample


def read_host_battery(path: Path) -> HostLog:
    """The samples in `path`, in order of time; HostBatteryError where it is none of the three forms."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise HostBatteryError(f"cannot read {path} ({error.strerror}); give a battery log") from None
    except UnicodeDecodeError:
        raise HostBatteryError(f"{path} is not UTF-8 text; give JSON Lines or CSV with {', '.join(NEEDED)}") from None
    lines = text.split("\n")
    good, bad = _csv(path, lines) if "wall_time" in _cells(lines[0]) else _objects(path, lines)
    if not good or len(bad) > LARGEST_BAD_SHARE * (len(good) + len(bad)):
        raise HostBatteryError(
            f"{path}: {len(good)} of {len(good) + len(bad)} lines can be used; needed: JSON Lines or CSV with "
            f"{', '.join(NEEDED)}, or what pymobiledevice3 prints, with a time in front of each line: {CLOCK}"
        )
    return HostLog(path, tuple(sorted(good, key=_moment)), tuple(bad))


def join_host(log: RunLog, host: HostLog) -> tuple[JoinedSample, ...]:
    """The host's samples that fall into the run, on its clock; a time without an offset gets the phone's."""
    start = datetime.fromisoformat(log.run.wall_time)
    times = [record.t_ms for records in (log.samples, log.trials, log.events) for record in records]
    last_ms = max(times, default=0)
    joined = []
    for sample in host.samples:
        moment = sample.wall_time if sample.wall_time.tzinfo else sample.wall_time.replace(tzinfo=start.tzinfo)
        t_ms = (moment - start) / timedelta(milliseconds=1)
        if 0 <= t_ms <= last_ms:
            joined.append(JoinedSample(t_ms, sample))
    return tuple(joined)


def _moment(sample: HostSample) -> float:
    return sample.wall_time.timestamp()


def _cells(line: str) -> list[str]:
    return [cell.strip().strip('"') for cell in line.split(",")]


def _csv(path: Path, lines: list[str]) -> tuple[list[HostSample], list[int]]:
    header = _cells(lines[0])
    missing = [key for key in NEEDED if key not in header]
    if missing:
        raise HostBatteryError(f"{path}: the header lacks {', '.join(missing)}; needed are {', '.join(NEEDED)}")
    return _sorted_out(
        (number, {key: cell for key, cell in zip(header, _cells(line), strict=False) if cell})
        for number, line in enumerate(lines[1:], start=2)
        if line.strip()
    )


def _objects(path: Path, lines: list[str]) -> tuple[list[HostSample], list[int]]:
    """Our own JSON Lines and pymobiledevice3's, which may even be mixed."""
    if not any(_has_time(line) for line in lines) and any("InstantAmperage" in line for line in lines):
        raise HostBatteryError(f"{path}: its lines have no time, so nothing can be joined by it; record it so: {CLOCK}")
    return _sorted_out((number, _object(line)) for number, line in enumerate(lines, start=1) if line.strip())


def _has_time(line: str) -> bool:
    found = _STAMPED.match(line)
    return bool(found and found["time"]) or '"wall_time"' in line


def _object(line: str) -> Mapping[str, Any]:
    """The line's figures by our names; empty where it has none."""
    found = _STAMPED.match(line)
    if found is None:
        return _parsed(line)
    values = _parsed(found["object"])
    if not found["time"] or "InstantAmperage" not in values:
        return {}
    amperage, percent, hundredths = (values.get(key) for key in ("InstantAmperage", "CurrentCapacity", "Temperature"))
    return {
        "wall_time": found["time"],
        "current_ua": None if amperage is None else _signed(amperage) * 1000,
        "voltage_mv": values.get("Voltage"),
        "temp_c": None if hundredths is None else hundredths / 100,
        "level": None if percent is None else percent / 100,
        "charging": values.get("IsCharging"),
    }


def _signed(value: int) -> int:
    """IORegistry shows negative numbers as unsigned of 64 bits in places."""
    return value - 2 * _SIGN_BIT if value >= _SIGN_BIT else value


def _parsed(text: str) -> Mapping[str, Any]:
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        return value if isinstance(value, dict) else {}
    return {}


def _sorted_out(numbered: Iterator[tuple[int, Mapping[str, Any]]]) -> tuple[list[HostSample], list[int]]:
    good, bad = [], []
    for number, values in numbered:
        try:
            good.append(_sample(values))
        except (KeyError, TypeError, ValueError, OverflowError):
            bad.append(number)
    return good, bad


def _sample(values: Mapping[str, Any]) -> HostSample:
    moment = datetime.fromisoformat(str(values["wall_time"]).replace(",", "."))
    current_ua, voltage_mv = float(values["current_ua"]), float(values["voltage_mv"])
    if not (abs(current_ua) < 1e9 and 0 < voltage_mv < 1e6):
        raise ValueError("no battery has such figures")
    return HostSample(
        moment,
        current_ua,
        voltage_mv,
        _optional(values.get("temp_c")),
        _optional(values.get("level")),
        _charging(values.get("charging")),
    )


def _optional(value: Any) -> float | None:
    return None if value is None else float(value)


def _charging(value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[str(value).lower()]
