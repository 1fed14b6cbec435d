"""Oracles spoilt on purpose, each in one thing that is easily got wrong, and how close drafts must be."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from edge_mtp.parity.oracle import OracleDrafter, OracleTarget
from edge_mtp.runner.protocols import DraftScores, Floats, Scores
from tests.reference import TOLERANCE, deviation


class ForgetsFirstToken(OracleTarget):
    """One row short, so every token sits a slot too early."""

    def prefill(self, tokens: Sequence[int]) -> None:
        super().prefill(tokens[1:])


class KeepsRejected(OracleTarget):
    """A cache that nobody crops: rows of rejected drafts stay."""

    def verify(self, tokens: Sequence[int]) -> Any:
        self.verified = len(tokens)
        return super().verify(tokens)

    def keep(self, rows: int) -> None:
        super().keep(self.verified)


class ShowsRejectedRow(KeepsRejected):
    """transformers' own habit: the first rejected draft's row lies at the last token's slot, and is seen."""

    def donors(self, position: int) -> Any:
        return super().donors(position + 1)


class HiddenRowBefore(OracleTarget):
    """The state that led to the draft before the last accepted one."""

    def verify(self, tokens: Sequence[int]) -> Any:
        scores = super().verify(tokens)
        return Scores(scores.logits, np.roll(scores.hidden, 1, axis=0))


class ShowsEveryRow(OracleTarget):
    """Gives the drafter all the rows that there are, wherever it drafts from."""

    def donors(self, position: int) -> Any:
        return super().donors(self.position)


class OneSlotOn(OracleDrafter):
    """Sits one slot further, over the right rows."""

    def draft(self, token: int, hidden: Floats, position: int) -> DraftScores:
        donors = self.target.donors(position)
        return self.target.oracle.pair.draft(token, hidden, donors, position + 1, dense=self.dense)


def close(found: Sequence[DraftScores], expected: Sequence[DraftScores]) -> bool:
    pairs = list(zip(found, expected, strict=True))
    return all(
        deviation(f.logits, e.logits).holds and deviation(f.hidden, e.hidden).share < TOLERANCE for f, e in pairs
    )
