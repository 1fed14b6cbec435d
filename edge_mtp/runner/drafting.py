"""How many tokens a round drafts.

Drafting further costs a draft step each; a draft that will not be accepted is a step for nothing.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edge_mtp.runner.protocols import Floats


class DraftPolicy(Protocol):
    """Decides after each draft step whether to take another."""

    @property
    def steps(self) -> int:
        """The most drafts of a round."""

    def goes_on(self, logits: Floats) -> bool:
        """Whether to draft another token after the one that logits [vocab] gave."""


@dataclass(frozen=True)
class FixedDraft:
    """Always `steps` drafts, as LiteRT-LM does with its K."""

    steps: int

    def goes_on(self, logits: Floats) -> bool:
        """Always."""
        return True


@dataclass(frozen=True)
class ConfidentDraft:
    """Up to `steps` drafts, ending early after one whose own probability is below `threshold`.

    The stopping rule of transformers' `assistant_confidence_threshold` (ConfidenceCriteria), after Mamou et al.,
    "Dynamic Speculation Lookahead Accelerates Speculative Decoding of Large Language Models" (2024,
    https://arxiv.org/abs/2405.04304); llama.cpp has it as `--draft-p-min`. The unsure draft itself is still verified.
    """

    steps: int
    threshold: float = 0.4

    def goes_on(self, logits: Floats) -> bool:
        """Whether the drafter gave its best token at least `threshold`."""
        return confidence(logits) >= self.threshold


def confidence(logits: Floats) -> float:
    """logits [vocab] -> probability of the best token."""
    return float(1.0 / np.exp(logits - logits.max(), dtype=np.float64).sum())
