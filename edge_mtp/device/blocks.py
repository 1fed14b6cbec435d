"""A run's trials as the plan ordered them: blocks of one arm, two of them a pair."""

from dataclasses import dataclass

from edge_mtp.device.log import RunLog
from edge_mtp.device.plan import SUSTAINED_BLOCK_S
from edge_mtp.device.records import Arm, Trial

Place = tuple[int, Arm]
"""Pair and arm."""


@dataclass(frozen=True)
class Block:
    """The trials of one arm in one pair, ascending, from the first one's start to the last one's end."""

    pair: int
    order: int
    arm: Arm
    trials: tuple[Trial, ...]

    @property
    def place(self) -> Place:
        """What tells it from the run's other blocks."""
        return self.pair, self.arm

    @property
    def start_ms(self) -> int:
        """When its first prompt was sent."""
        return self.trials[0].start_t_ms

    @property
    def end_ms(self) -> int:
        """When its last trial ended."""
        return max(trial.t_ms for trial in self.trials)

    @property
    def duration_s(self) -> float:
        """From start to end, the pauses between trials included."""
        return (self.end_ms - self.start_ms) / 1000

    @property
    def tokens(self) -> int:
        """Tokens that all of its trials put out."""
        return sum(trial.output_tokens or 0 for trial in self.trials)

    @property
    def classes(self) -> tuple[str, ...]:
        """Prompt classes of its trials, sorted."""
        return tuple(sorted({trial.prompt_class for trial in self.trials}))


def blocks_of(log: RunLog) -> tuple[Block, ...]:
    """Blocks by pair and order; warm-ups are in none."""
    grouped: dict[tuple[int, int, Arm], list[Trial]] = {}
    for trial in log.trials:
        if not trial.warmup and trial.pair is not None and trial.order is not None:
            grouped.setdefault((trial.pair, trial.order, trial.arm), []).append(trial)
    ordered = sorted(grouped.items())
    return tuple(
        Block(pair, order, arm, tuple(sorted(trials, key=lambda one: one.start_t_ms)))
        for (pair, order, arm), trials in ordered
    )


def is_sustained(log: RunLog) -> bool:
    """Whether the plan's blocks were long enough to get hot on purpose."""
    return log.run.plan.block_s >= SUSTAINED_BLOCK_S
