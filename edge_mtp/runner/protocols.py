"""What the generation loop needs of a target and a drafter, whoever computes them.

LiteRT graphs (`litert.py`), transformers (`edge_mtp.parity.oracle`) and fakes with fixed logits all fit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Scores:
    """The target's word on n tokens: `logits` [n, vocab] float32 of what follows each, `hidden` [n, width] float32.

    `hidden` is the final norm's output, which the drafter reads. Both may be views that the next call overwrites.
    """

    logits: Floats
    hidden: Floats


@dataclass(frozen=True)
class DraftScores:
    """One draft step: `logits` [vocab] float32, and `hidden` [width] float32 for the next step."""

    logits: Floats
    hidden: Floats


class Target(Protocol):
    """A conversation with the target: KV rows 0..position-1 count, later ones are ignored."""

    @property
    def position(self) -> int:
        """Slot of the next token to process."""

    @property
    def context_tokens(self) -> int:
        """Tokens that prompts and replies may have together."""

    @property
    def max_draft_steps(self) -> int:
        """K: the most drafts that `verify` takes beside the last token; 0 where it cannot verify."""

    def prefill(self, tokens: Sequence[int]) -> None:
        """Processes `tokens` from `position` on, and moves `position` behind them."""

    def decode(self, token: int) -> Scores:
        """Processes one token at `position`, and moves `position` behind it; n = 1."""

    def verify(self, tokens: Sequence[int]) -> Scores:
        """Processes the last token and its drafts from `position` on without moving it; n = len(tokens)."""

    def keep(self, rows: int) -> None:
        """Moves `position` on by `rows` of those that `verify` processed; the others no longer count."""

    def rewind(self, position: int) -> None:
        """Forgets every row from `position` on."""


class Drafter(Protocol):
    """Proposes tokens from the target's hidden state and KV rows."""

    def draft(self, token: int, hidden: Floats, position: int) -> DraftScores:
        """What follows `token`; hidden [width] is the state that led to it, from the target or the step before.

        `position` is the slot of the round's first token, the same in every step of a round; rows before it are seen.
        """
