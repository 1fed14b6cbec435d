"""What held when: a value that a sample or an event told, until the next one tells another."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from edge_mtp.device.log import RunLog


@dataclass(frozen=True)
class Timeline:
    """times [n] ms ascending, values [n], places [n] in the log (`seq`); before the first nothing is known."""

    times_ms: tuple[int, ...]
    values: tuple[Any, ...]
    places: tuple[int, ...]

    def during(self, start_ms: int, end_ms: int, end_seq: int = 0) -> tuple[Any, ...]:
        """What held at `start_ms`, where known, and what was told after it and before `end_ms`.

        `end_seq` is the place of the record that ends the span: within its millisecond what lies before it counts.
        """
        first = max(bisect_right(self.times_ms, start_ms) - 1, 0)
        past = bisect_left(
            self.places, end_seq, bisect_left(self.times_ms, end_ms), bisect_right(self.times_ms, end_ms)
        )
        if first < len(self.times_ms) and self.times_ms[first] <= start_ms:
            past = max(past, first + 1)
        return self.values[first:past]

    def share(self, start_ms: int, end_ms: int, holds: Callable[[Any], bool]) -> float:
        """Share of the time from start to end with a value for which `holds` is true; unknown counts as not."""
        if end_ms <= start_ms:
            return float(any(holds(value) for value in self.during(start_ms, start_ms + 1)))
        ends = (*self.times_ms[1:], end_ms)
        spent = 0
        for begin, end, value in zip(self.times_ms, ends, self.values, strict=True):
            overlap = min(end, end_ms) - max(begin, start_ms)
            if overlap > 0 and holds(value):
                spent += overlap
        return spent / (end_ms - start_ms)


def states(log: RunLog, sample_field: str, event_name: str) -> Timeline:
    """A state that every sample tells, and an event at the moment at which it changes.

    An event's value is any JSON; what is neither a number nor true or false tells nothing.
    """
    told = [(one.t_ms, one.seq, getattr(one, sample_field)) for one in log.samples]
    changed = [one for one in log.events if one.name == event_name and isinstance(one.value, int | float)]
    return timeline([*told, *((one.t_ms, one.seq, one.value) for one in changed)])


def background(log: RunLog) -> Timeline:
    """Whether the app was in the background."""
    names = {"background": True, "foreground": False}
    return timeline((one.t_ms, one.seq, names[one.name]) for one in log.events if one.name in names)


def timeline(told: Iterable[tuple[int, int, Any]]) -> Timeline:
    """(ms, seq, value) in any order; None tells nothing."""
    known = sorted((one for one in told if one[2] is not None), key=lambda one: one[:2])
    return Timeline(tuple(one[0] for one in known), tuple(one[2] for one in known), tuple(one[1] for one in known))
