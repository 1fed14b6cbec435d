"""How near LiteRT-LM has to be to our runner, by backend.

On the CPU both run the same kernels, so only what `verify` and `decode` differ by (rung 4) excuses another token. A GPU
computes the same weights otherwise: CPU kernels round the activations of quantized layers to int8, the GPU's do not.
How far that may move a choice is measured and not assumed: rung 3 reads the same replies with the float checkpoint,
which rounds neither activations nor weights. From the runner it differs by what the GPU does and by the weights on top,
so it says how close two tokens must be for the GPU to choose the other, and how often that may be.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

import numpy as np

from edge_mtp.intervals import bootstrap_ratio
from edge_mtp.parity.measured import Measured, Moved
from edge_mtp.parity.rungs import quantization, verification
from edge_mtp.parity.workbench import Workbench
from edge_mtp.parity.written import Written
from edge_mtp.runner.protocols import Floats
from edge_mtp.runner.trace import Counters

CANDIDATES: Final = 64
"""Best tokens among which the engine's is looked for."""


@dataclass(frozen=True)
class Bars:
    """What the engine must reach.

    Where its text parts, its token may lie `tolerance` logits behind the runner's; the success rates may differ by
    `rate`. `moved` says how often texts may part, None where the tolerance alone is to say so.
    """

    tolerance: float
    rate: float
    moved: Moved | None = None


def bars_for(bench: Workbench, measured: Measured, replies: Sequence[Counters]) -> Bars:
    """The bars of the requested backend; `replies` are the runner's counters, one a prompt.

    For the GPU CouldNotCheckError where the float checkpoint cannot be run.
    """
    if measured.tolerance is None:
        verification.check(bench, measured)
    exact, gate = 2.0 * (measured.tolerance or 0.0), bench.request.gates.engine_rate
    if bench.request.backend == "cpu":
        return Bars(exact, gate)
    moved = measured.moved or _moved(bench)
    return Bars(max(exact, moved.lead), max(gate, rate_spread(replies, bench.request.seed)), moved)


def rate_spread(replies: Sequence[Counters], seed: int) -> float:
    """How far the ends of the acceptance rate's 95 % interval over prompts lie from it; 0 where nothing was drafted."""
    rate = bootstrap_ratio([one.accepted for one in replies], [one.drafted for one in replies], seed)
    return 0.0 if rate is None else max(rate.high - rate.value, rate.value - rate.low)


def _moved(bench: Workbench) -> Moved:
    """Rung 3's figures where it was not asked for; what else it finds is left aside."""
    apart = Measured()
    quantization.check(bench, apart)
    assert apart.moved is not None
    return apart.moved


def unshown(shown: Sequence[str], at: int) -> list[int]:
    """The tokens up to `at` that follow the same text: `at`, and those before it that show nothing yet.

    `shown` [n] is the text behind each token. Where half a character differs, the text parts at the other half.
    """
    before = ["", *shown]
    return [index for index in range(at + 1) if before[index] == before[at]]


def lag(writer: Written, reply: Sequence[int], at: int, logits: Floats, text: str) -> float:
    """How far the token that `text` has in place of reply[at] is behind the best of logits [vocab].

    A text names no tokens: of the best ones the first that spells what stands there counts. Infinite where none does.
    """
    best = np.argsort(-logits, kind="stable")[:CANDIDATES].tolist()
    others = (token for token in best if token != reply[at] and _spells(writer, reply[:at], token, text))
    token = next(others, None)
    return inf if token is None else float(logits.max() - logits[token])


def _spells(writer: Written, before: Sequence[int], token: int, text: str) -> bool:
    """Whether `text` goes on with `token` behind `before`."""
    *earlier, shown = ["", *writer.after_each([*before, token])]
    if token in writer.text.stop_tokens:
        return text == shown
    if shown == earlier[-1]:  # half a character
        return text.startswith(shown) and not text[len(shown) :][:1].isascii()
    return text.startswith(shown)
