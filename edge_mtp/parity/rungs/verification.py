"""Rung 4: `verify` says of K + 1 tokens at once what `decode` says of them one by one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from edge_mtp.parity.measured import Measured
from edge_mtp.parity.metrics import deviation
from edge_mtp.parity.results import Control, CouldNotCheckError, Figure, Finding
from edge_mtp.parity.workbench import Task, Workbench, spread
from edge_mtp.runner.calls import GraphTarget
from edge_mtp.runner.protocols import Floats

TEXTS: Final = 12


@dataclass(frozen=True)
class Rows:
    """Logits [n, vocab] and hidden [n, width] behind each token of a reply."""

    logits: Floats
    hidden: Floats


def check(bench: Workbench, measured: Measured) -> Finding:
    """Replies of the bundle, decoded and verified over the same cache; the largest difference is kept for rung 5."""
    gate, target = bench.request.gates.verify_share, bench.target
    if not target.max_draft_steps:
        raise CouldNotCheckError("the bundle's target has no `verify`; export it with edge-mtp")
    tasks = spread(bench.tasks, TEXTS)
    cases = [(task, bench.reply(task).tokens) for task in bench.counted("replies to compare", tasks)]
    # Text by text: the logits of all of them would fill gigabytes.
    apart = Apart.worst([Apart.between(verify_rows(target, *one), decode_rows(target, *one), gate) for one in cases])
    measured.tolerance = apart.logits
    decoded = decode_rows(target, *cases[0])
    spoilt = Apart.between(_corrupted(target, *cases[0]), decoded, gate)
    control = Control(
        "keys and values of one prompt token negated",
        not spoilt.holds,
        (Figure("largest difference", spoilt.share, "of the range"),),
    )
    return Finding(apart.figures(gate), (control,))


@dataclass(frozen=True)
class Apart:
    """How far verified rows are from decoded ones: in logits, as shares of a text's range, and in clear best tokens."""

    logits: float
    logits_share: float
    hidden_share: float
    clashes: int
    rows: int
    gate: float

    @classmethod
    def between(cls, found: Rows, expected: Rows, gate: float) -> "Apart":
        """The figures of two sets of rows."""
        logits, hidden = deviation(found.logits, expected.logits, gate), deviation(found.hidden, expected.hidden, gate)
        largest = float(np.abs(found.logits - expected.logits).max())
        return cls(largest, logits.share, hidden.share, logits.clashes, len(expected.logits), gate)

    @classmethod
    def worst(cls, texts: Sequence["Apart"]) -> "Apart":
        """The largest figures of several texts, NaN where one is, and their counts together."""
        return cls(
            logits=float(np.max([one.logits for one in texts])),
            logits_share=float(np.max([one.logits_share for one in texts])),
            hidden_share=float(np.max([one.hidden_share for one in texts])),
            clashes=sum(one.clashes for one in texts),
            rows=sum(one.rows for one in texts),
            gate=texts[0].gate,
        )

    @property
    def share(self) -> float:
        """The larger share."""
        return max(self.logits_share, self.hidden_share)

    @property
    def holds(self) -> bool:
        """Within the gate, and no clear best token differs; NaN never holds."""
        return self.share <= self.gate and self.clashes == 0

    def figures(self, gate: float) -> tuple[Figure, ...]:
        """For the report."""
        return (
            Figure("tokens compared", self.rows),
            Figure("largest difference of logits", self.logits, "logits"),
            Figure("that is", self.logits_share, "of the range", f"≤ {gate:g}", self.logits_share <= gate),
            Figure("hidden states", self.hidden_share, "of the range", f"≤ {gate:g}", self.hidden_share <= gate),
            Figure("clear best tokens that differ", self.clashes, bar="0", held=self.clashes == 0),
        )


def decode_rows(target: GraphTarget, task: Task, reply: Sequence[int]) -> Rows:
    """What `decode` says behind the prompt's last token and each token of the reply but its last."""
    _start(target, task)
    rows = []
    for token in (task.tokens[-1], *reply[:-1]):
        scores = target.decode(token)
        rows.append(Rows(scores.logits.copy(), scores.hidden.copy()))
    return _joined(rows)


def verify_rows(target: GraphTarget, task: Task, reply: Sequence[int]) -> Rows:
    """The same tokens through `verify`, as many at once as it takes."""
    _start(target, task)
    return _verify(target, (task.tokens[-1], *reply[:-1]))


def _corrupted(target: GraphTarget, task: Task, reply: Sequence[int]) -> Rows:
    """`verify_rows` with one row of every cache negated: that of the token before the last of the prompt."""
    _start(target, task)
    row = max(len(task.tokens) - 2, 0)
    for name, cache in target.caches.items():
        held = row % cache.shape[2 if "_k_" in name else 3]  # where a ring has it
        spoilt = cache[:, :, held] if "_k_" in name else cache[:, :, :, held]
        spoilt *= -1
    return _verify(target, (task.tokens[-1], *reply[:-1]))


def _verify(target: GraphTarget, tokens: Sequence[int]) -> Rows:
    rows, width = [], target.max_draft_steps + 1
    for first in range(0, len(tokens), width):
        block = tokens[first : first + width]
        scores = target.verify(block)
        rows.append(Rows(scores.logits.copy(), scores.hidden.copy()))
        target.keep(len(block))
    return _joined(rows)


def _start(target: GraphTarget, task: Task) -> None:
    target.rewind(0)
    if len(task.tokens) > 1:
        target.prefill(task.tokens[:-1])


def _joined(rows: Sequence[Rows]) -> Rows:
    return Rows(np.concatenate([one.logits for one in rows]), np.concatenate([one.hidden for one in rows]))
