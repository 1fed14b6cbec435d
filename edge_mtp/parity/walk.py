"""One text walked through a pair, so that two pairs can be compared number by number.

A walk has every signature in it: prefill up to a tail beyond the window, decodes, verifies, and draft steps.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from edge_mtp.parity.metrics import Deviation, deviation
from edge_mtp.parity.results import Figure
from edge_mtp.runner.protocols import Drafter, Floats, Target

DECODED: Final = 16
VERIFIED_BLOCKS: Final = 8


@dataclass(frozen=True)
class Walk:
    """What a pair says of a text's tail: logits and hidden [n, ...] of the target, and of draft steps [m, ...]."""

    logits: Floats
    hidden: Floats
    draft_logits: Floats
    draft_hidden: Floats


def tail_length(draft_steps: int) -> int:
    """Tokens behind the prefilled ones that a walk takes."""
    return DECODED + VERIFIED_BLOCKS * (draft_steps + 1)


def walk(target: Target, drafter: Drafter, text: Sequence[int], draft_steps: int) -> Walk:
    """text [more than `tail_length`]: prefill, decode some of the tail, verify the rest, drafting before each block.

    Draft steps are fed the text's own tokens, so that both pairs answer the same questions.
    """
    target.rewind(0)
    start = len(text) - tail_length(draft_steps)
    target.prefill(text[:start])
    logits: list[Floats] = []
    hidden: list[Floats] = []
    drafts: list[tuple[Floats, Floats]] = []
    for token in text[start : start + DECODED]:
        scores = target.decode(token)
        logits.append(scores.logits.copy())
        hidden.append(scores.hidden.copy())
    for first in range(start + DECODED, len(text), draft_steps + 1):
        drafts += _draft(drafter, text[first : first + draft_steps], hidden[-1][-1], first)
        scores = target.verify(text[first : first + draft_steps + 1])
        logits.append(scores.logits.copy())
        hidden.append(scores.hidden.copy())
        target.keep(draft_steps + 1)
    draft_logits, draft_hidden = (np.stack(values) for values in zip(*drafts, strict=True))
    return Walk(np.concatenate(logits), np.concatenate(hidden), draft_logits, draft_hidden)


def _draft(drafter: Drafter, tokens: Sequence[int], hidden: Floats, position: int) -> Iterator[tuple[Floats, Floats]]:
    """Draft steps after tokens that are given, not drafted."""
    for token in tokens:
        scores = drafter.draft(token, hidden, position)
        hidden = scores.hidden.copy()
        yield scores.logits.copy(), hidden


@dataclass(frozen=True)
class WalkDeviation:
    """How far one walk is from another."""

    parts: dict[str, Deviation]

    @property
    def share(self) -> float:
        """The largest deviation as a share of the expected range."""
        return max(part.share for part in self.parts.values())

    @property
    def holds(self) -> bool:
        """Whether every part does."""
        return all(part.holds for part in self.parts.values())

    def figures(self, tolerance: float) -> tuple[Figure, ...]:
        """One figure a part, with its bar."""
        return tuple(
            Figure(
                f"{name}, largest difference",
                part.share,
                "of the range",
                f"≤ {tolerance:g} and the same best value where it is clear",
                part.holds,
            )
            for name, part in self.parts.items()
        )


def compare(found: Walk, expected: Walk, tolerance: float) -> WalkDeviation:
    """Deviation of target logits, hidden states and drafter logits."""
    return WalkDeviation(
        {
            "target logits": deviation(found.logits, expected.logits, tolerance),
            "hidden states": deviation(found.hidden, expected.hidden, tolerance),
            "drafter logits": deviation(found.draft_logits, expected.draft_logits, tolerance),
            "drafter's next hidden states": deviation(found.draft_hidden, expected.draft_hidden, tolerance),
        }
    )


def long_text(texts: Sequence[Sequence[int]], least: int, most: int) -> tuple[int, ...]:
    """A text of `least` tokens, at most `most`, made of prompts one behind the other."""
    joined: list[int] = []
    while len(joined) < least:
        for text in texts:
            joined += text
    return tuple(joined[: min(least, most)])
