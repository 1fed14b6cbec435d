"""What a generation left behind: counters, and everything that follows from them.

Definitions are vLLM's: draft acceptance rate = accepted ÷ drafted, the bonus token not counted; mean acceptance
length = 1 + accepted ÷ rounds; c = draft step ÷ decode, v = verify ÷ decode (medians of seconds);
speed-up = mean acceptance length ÷ (K c + v), where K is drafts a round; break-even is where that is 1.
"""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from edge_mtp.runner.generate import Finish, Round

SCHEMA_VERSION: Final = 1


@dataclass(frozen=True)
class Counters:
    """Counts over rounds with drafts; `drafted_at[i]`, `accepted_at[i]` count draft position i."""

    rounds: int = 0
    drafted_at: tuple[int, ...] = ()
    accepted_at: tuple[int, ...] = ()

    @property
    def drafted(self) -> int:
        """Tokens drafted."""
        return sum(self.drafted_at)

    @property
    def accepted(self) -> int:
        """Drafts accepted, the bonus token not counted."""
        return sum(self.accepted_at)

    @property
    def acceptance_rate(self) -> float | None:
        """accepted ÷ drafted, None where nothing was drafted."""
        return self.accepted / self.drafted if self.drafted else None

    @property
    def rate_at(self) -> tuple[float, ...]:
        """Share of rounds that drafted position i in which it was accepted; later positions need all earlier ones."""
        return tuple(a / d for a, d in zip(self.accepted_at, self.drafted_at, strict=True) if d)

    @property
    def mean_length(self) -> float | None:
        """Tokens a round: 1 + accepted ÷ rounds."""
        return 1.0 + self.accepted / self.rounds if self.rounds else None

    def __add__(self, other: "Counters") -> "Counters":
        return Counters(
            self.rounds + other.rounds,
            _sum(self.drafted_at, other.drafted_at),
            _sum(self.accepted_at, other.accepted_at),
        )


def count(rounds: Iterable[Round]) -> Counters:
    """Counters of the rounds that drafted."""
    speculative = [current for current in rounds if current.drafts]
    width = max((len(current.drafts) for current in speculative), default=0)
    return Counters(
        rounds=len(speculative),
        drafted_at=tuple(sum(len(current.drafts) > i for current in speculative) for i in range(width)),
        accepted_at=tuple(sum(current.accepted > i for current in speculative) for i in range(width)),
    )


@dataclass(frozen=True)
class Costs:
    """Median seconds of a decode, of one draft step, and of a verify; what was never run is None."""

    decode_s: float | None
    draft_step_s: float | None
    verify_s: float | None

    @property
    def draft_ratio(self) -> float | None:
        """c = draft step ÷ decode."""
        return self.draft_step_s / self.decode_s if self.draft_step_s is not None and self.decode_s else None

    @property
    def verify_ratio(self) -> float | None:
        """v = verify ÷ decode."""
        return self.verify_s / self.decode_s if self.verify_s is not None and self.decode_s else None

    def break_even_length(self, drafts_a_round: float) -> float | None:
        """Mean acceptance length from which MTP pays: K c + v."""
        if self.draft_ratio is None or self.verify_ratio is None:
            return None
        return drafts_a_round * self.draft_ratio + self.verify_ratio


def costs(*traces: Sequence[Round]) -> Costs:
    """Costs over the rounds of plain and speculative runs of one machine and bundle."""
    rounds = [current for trace in traces for current in trace]
    return Costs(
        decode_s=_median([current.target_s for current in rounds if not current.drafts]),
        draft_step_s=_median([current.draft_s / len(current.drafts) for current in rounds if current.drafts]),
        verify_s=_median([current.target_s for current in rounds if current.drafts]),
    )


@dataclass(frozen=True)
class SpeedUp:
    """MTP's gain as the counters and costs predict it, and the mean acceptance length that would break even."""

    predicted: float
    break_even_length: float
    break_even_rate: float


def speed_up(counters: Counters, cost: Costs) -> SpeedUp | None:
    """None where nothing was drafted, or plain decoding was not timed."""
    if counters.mean_length is None:
        return None
    drafts = counters.drafted / counters.rounds
    even = cost.break_even_length(drafts)
    if even is None:
        return None
    return SpeedUp(counters.mean_length / even, even, (even - 1.0) / drafts)


@dataclass(frozen=True)
class Trace:
    """One reply: prompt and emitted tokens counted, seconds, rounds.

    `first_token_s` counts from the start of prefill; `total_s` to the last token.
    """

    prompt_tokens: int
    first_token_s: float
    total_s: float
    rounds: tuple[Round, ...]

    @property
    def tokens(self) -> tuple[int, ...]:
        """All emitted tokens."""
        return tuple(token for current in self.rounds for token in current.tokens)

    @property
    def tokens_per_s(self) -> float | None:
        """Decode rate: tokens behind the first, over the time they took; None where there is at most one."""
        behind, seconds = len(self.tokens) - 1, self.total_s - self.first_token_s
        return behind / seconds if behind > 0 and seconds > 0 else None


def to_json(trace: Trace) -> dict[str, Any]:
    """The trace as plain JSON values, counters only; readers derive the rest."""
    return {"schema_version": SCHEMA_VERSION, **asdict(trace)}


def from_json(value: dict[str, Any]) -> Trace:
    """What `to_json` made; KeyError or TypeError where it is something else, ValueError on another version."""
    if value["schema_version"] != SCHEMA_VERSION:
        raise ValueError(f"trace version {value['schema_version']}, this program reads {SCHEMA_VERSION}")
    rounds = tuple(_round(entry) for entry in value["rounds"])
    return Trace(value["prompt_tokens"], value["first_token_s"], value["total_s"], rounds)


def _round(entry: dict[str, Any]) -> Round:
    lists = {key: tuple(entry[key]) for key in ("tokens", "margins", "drafts")}
    finish = None if entry["finish"] is None else Finish(entry["finish"])
    return Round(**{**entry, **lists, "finish": finish})


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _sum(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...]:
    width = max(len(a), len(b))
    padded = [(*values, *([0] * (width - len(values)))) for values in (a, b)]
    return tuple(x + y for x, y in zip(*padded, strict=True))
