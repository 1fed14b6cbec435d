"""What a stretch of time cost the battery, by six meters; each says what it read or why it could not.

The first five read joules. Steps of the battery's level read percent, which are joules only for one who knows the
battery, so they compare the two arms on one phone and no more.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Final, Literal

import numpy as np

from edge_mtp.device.host_battery import JoinedSample
from edge_mtp.device.log import RunLog
from edge_mtp.device.records import Sample

Unit = Literal["J", "%"]
Point = tuple[float, float]
"""Milliseconds since the run's start, and a value."""

LARGEST_GAP_MS: Final = 10_000
LEAST_COVERED: Final = 0.9
LEAST_STEPS: Final = 3
LEAST_SPANNED: Final = 0.5
MOST_DISAGREEMENT: Final = 2.0
LEAST_MILLIAMPERE_HOURS: Final = 1.0
J_PER_NWH: Final = 3.6e-6
MS_PER_HOUR: Final = 3.6e6


@dataclass(frozen=True)
class Reading:
    """`amount` J or % between two moments, measured over `covered` of the time and scaled to all of it."""

    source: str
    unit: Unit
    amount: float
    covered: float


@dataclass(frozen=True)
class NoReading:
    """Why a meter could not read."""

    source: str
    reason: str


@dataclass(frozen=True)
class Power:
    """All that meters read from: the phone's log and, where there is one, the host's, on the same clock."""

    log: RunLog
    host: tuple[JoinedSample, ...] = ()

    def samples(self, start_ms: float, end_ms: float) -> tuple[Sample, ...]:
        """The phone's samples from start to end, the end left out."""
        return tuple(one for one in self.log.samples if start_ms <= one.t_ms < end_ms)


class _CannotRead(Exception):
    """Carries a meter's reason to `read`."""


def read(source: str, power: Power, start_ms: float, end_ms: float) -> Reading | NoReading:
    """What `source`, one of `METERS`, says of the time from start to end."""
    unit, meter = METERS[source]
    try:
        amount, covered = meter(power, start_ms, end_ms)
    except _CannotRead as why:
        return NoReading(source, str(why))
    if amount <= 0:
        return NoReading(source, "it says that the battery was being charged: sign or charger are not as told")
    return Reading(source, unit, amount, covered)


def _voltage_current(power: Power, start_ms: float, end_ms: float) -> Point:
    """−I·V by the trapezoid rule; where a charge counter contradicts the current, its unit or sign is wrong."""
    seen = power.samples(start_ms, end_ms)
    currents = [(float(one.t_ms), float(one.battery_current_ua)) for one in seen if one.battery_current_ua is not None]
    watts = [
        (float(one.t_ms), -one.battery_current_ua * 1e-6 * one.battery_voltage_mv * 1e-3)
        for one in seen
        if one.battery_current_ua is not None and one.battery_voltage_mv is not None
    ]
    joules = integral(watts, start_ms, end_ms, "current and voltage")
    _check_counter(currents, seen)
    return joules


def _check_counter(currents: Sequence[Point], seen: Sequence[Sample]) -> None:
    """Between the charge counter's first and last move both must tell the same, within a factor of two."""
    moved = moves([(float(one.t_ms), one.battery_charge_uah) for one in seen if one.battery_charge_uah is not None])
    if len(moved) <= LEAST_STEPS:
        return
    (start_ms, before), (end_ms, after) = moved[0], moved[-1]
    between = [point for point in currents if start_ms <= point[0] <= end_ms]
    if len(between) < 2 or abs(after - before) < LEAST_MILLIAMPERE_HOURS * 1000:
        return
    drawn = -float(np.trapezoid([value for _, value in between], [at for at, _ in between])) / MS_PER_HOUR / 1000
    fell = (before - after) / 1000
    if not 1 / MOST_DISAGREEMENT <= drawn / fell <= MOST_DISAGREEMENT:
        raise _CannotRead(
            f"the current says that {drawn:.3g} mAh were drawn, the charge counter {fell:.3g} mAh: unit or sign of the "
            "current are wrong"
        )


def _charge_counter(power: Power, start_ms: float, end_ms: float) -> Point:
    """The charge that the counter fell by, times the mean voltage."""
    seen = power.samples(start_ms, end_ms)
    points = [(float(one.t_ms), one.battery_charge_uah) for one in seen if one.battery_charge_uah is not None]
    fallen, covered = _fall(points, start_ms, end_ms, "the charge counter")
    volts = [one.battery_voltage_mv / 1000 for one in seen if one.battery_voltage_mv is not None]
    if not volts:
        raise _CannotRead("a charge counter, and no voltage to go with it")
    return fallen * 1e-6 * 3600 * fmean(volts), covered


def _energy_counter(power: Power, start_ms: float, end_ms: float) -> Point:
    seen = power.samples(start_ms, end_ms)
    points = [(float(one.t_ms), one.battery_energy_nwh) for one in seen if one.battery_energy_nwh is not None]
    fallen, covered = _fall(points, start_ms, end_ms, "the energy counter")
    return fallen * J_PER_NWH, covered


def _host_log(power: Power, start_ms: float, end_ms: float) -> Point:
    """The host's current times voltage; it is worth nothing while the host's cable charges the phone."""
    seen = [one for one in power.host if start_ms <= one.t_ms < end_ms]
    if any(one.sample.charging for one in seen):
        raise _CannotRead("the host saw the phone charging; read the battery over the network, not by cable")
    watts = [(one.t_ms, -one.sample.current_ua * 1e-6 * one.sample.voltage_mv * 1e-3) for one in seen]
    return integral(watts, start_ms, end_ms, "the host's samples")


def _rails(power: Power, start_ms: float, end_ms: float) -> Point:
    """All rails that the phone counts, together; what has no rail is not in it, and rails may overlap."""
    totals = {
        float(one.t_ms if one.rails_t_ms is None else one.rails_t_ms): sum(one.rails_uws.values())
        for one in power.samples(start_ms, end_ms)
        if one.rails_uws
    }
    if len(totals) < 2:
        raise _CannotRead("power monitors are not in the log")
    first, last = min(totals), max(totals)
    covered = (last - first) / (end_ms - start_ms)
    if covered < LEAST_COVERED:
        raise _CannotRead(f"power monitors cover {covered:.0%} of the time")
    return (totals[last] - totals[first]) * 1e-6 / covered, covered


def _battery_steps(power: Power, start_ms: float, end_ms: float) -> Point:
    """Percent of the battery, between the moments at which the level moved."""
    log = power.log
    told = [(float(one.t_ms), float(one.value)) for one in log.events if _is_step(one.name, one.value)]
    points = told or [(float(one.t_ms), one.battery_level) for one in log.samples if one.battery_level is not None]
    changes = points if told else moves(points)
    inside = [(at, 100.0 * level) for at, level in changes if start_ms <= at < end_ms]
    return _slope(inside, start_ms, end_ms, "the battery level")


def _is_step(name: str, value: object) -> bool:
    return name == "battery_step" and isinstance(value, int | float) and not isinstance(value, bool)


METERS: Final[Mapping[str, tuple[Unit, Callable[[Power, float, float], Point]]]] = {
    "voltage_current": ("J", _voltage_current),
    "charge_counter": ("J", _charge_counter),
    "energy_counter": ("J", _energy_counter),
    "host_log": ("J", _host_log),
    "rails": ("J", _rails),
    "battery_steps": ("%", _battery_steps),
}
"""By the order in which they are preferred; each gives the amount and the share of the time that it covers."""


def moves(points: Sequence[Point]) -> list[Point]:
    """The points at which the value is another than just before, with the new value."""
    return [(at, value) for (_, before), (at, value) in pairwise(points) if value != before]


def _fall(points: Sequence[Point], start_ms: float, end_ms: float, what: str) -> Point:
    if not points:
        raise _CannotRead(f"{what} is not in the log")
    return _slope(moves(points), start_ms, end_ms, what)


def _slope(moved: Sequence[Point], start_ms: float, end_ms: float, what: str) -> Point:
    """How far a counter that moves in steps falls from start to end, by its first and last move in between.

    At a move its value is known as exactly as it ever is, so a coarse counter is as good as a fine one once it has
    moved a few times.
    """
    if len(moved) <= LEAST_STEPS:
        raise _CannotRead(f"{what} moved {len(moved)} times, {LEAST_STEPS + 1} are needed")
    (first_ms, before), (last_ms, after) = moved[0], moved[-1]
    covered = (last_ms - first_ms) / (end_ms - start_ms)
    if covered < LEAST_SPANNED:
        raise _CannotRead(f"{what} moved in {covered:.0%} of the time alone")
    return (before - after) / covered, covered


def integral(points: Sequence[Point], start_ms: float, end_ms: float, what: str) -> Point:
    """Σ value · seconds from start to end by the trapezoid rule, and the share of the time that it covers.

    The ends hold the nearest value. Nothing is made up for a gap of more than LARGEST_GAP_MS: the rest is scaled.
    """
    if not points:
        raise _CannotRead(f"{what} are not there")
    times, values = (np.array(column) for column in zip(*points, strict=True))
    times = np.concatenate([[start_ms], times, [end_ms]])
    values = np.concatenate([values[:1], values, values[-1:]])
    steps = np.diff(times)
    near = steps <= LARGEST_GAP_MS
    covered = float(steps[near].sum() / (end_ms - start_ms))
    if covered < LEAST_COVERED:
        raise _CannotRead(f"{what} cover {covered:.0%} of the time, {LEAST_COVERED:.0%} are needed")
    amount = float(((values[:-1] + values[1:]) / 2 * steps)[near].sum()) / 1000
    return amount / covered, covered
