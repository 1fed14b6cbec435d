"""Target and drafter over a bundle's signatures, called as LiteRT-LM calls them, whoever computes them.

Masks, positions and padded chunks follow the runtime's own source (https://github.com/google-ai-edge/LiteRT-LM,
runtime/executor: llm_litert_compiled_model_executor.cc, litert_compiled_model_executor_utils.cc,
llm_litert_mtp_drafter.cc). Each KV cache is one piece of memory that a call both reads and writes, so that a step
writes its own rows and copies nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_mtp import names
from edge_mtp.bundle.contents import is_cache_name
from edge_mtp.runner.protocols import DraftScores, Floats, Scores

Array = NDArray[Any]

HIDDEN: Final = np.float32(-0.7 * np.finfo(np.float32).max)
"""What the runtime fills additive masks with before it sets the visible rows to 0."""

NO_HIDDEN: Final = np.zeros((1, 1, 0), np.float32)
"""The hidden state of a target that returns none: enough to decode plainly."""

TARGET_INPUTS: Final = (names.EMBEDDINGS, names.PER_LAYER_EMBEDDINGS, names.INPUT_POS, names.MASK, names.PARAM_TENSOR)
"""What `GraphTarget` fills beside the KV caches."""

DRAFTER_INPUTS: Final = (names.ACTIVATIONS, names.INPUT_POS, names.MASK, names.PARAM_TENSOR)
"""What `GraphDrafter` fills beside the KV caches."""


class Call(Protocol):
    """One signature bound to memory: write `inputs`, run, read `outputs`, all numpy arrays in place.

    A KV cache is among both and is the same array for all signatures of a conversation.
    """

    @property
    def inputs(self) -> Mapping[str, Array]:
        """Input arrays by name, zero at first."""

    @property
    def outputs(self) -> Mapping[str, Array]:
        """Output arrays by name; `run` overwrites them."""

    def run(self) -> None:
        """One inference."""


@dataclass(frozen=True)
class TargetCalls:
    """A target's signatures over shared caches; `verify` and `per_layer` are None where there are none."""

    embedder: Call
    per_layer: Call | None
    prefills: Sequence[Call]
    decode: Call
    verify: Call | None


class Lookup:
    """An embedder: one row a token, its first output as the runtime takes it."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def row(self, token: int) -> Floats:
        """The embedding of `token` [...] float32, valid until the next look-up."""
        self._call.inputs[names.TOKEN_IDS][...] = token
        self._call.run()
        embeddings = next(iter(self._call.outputs.values()))
        row: Floats = embeddings[0, 0]
        return row


class GraphTarget:
    """`protocols.Target` over graphs: one conversation."""

    def __init__(self, calls: TargetCalls, context_tokens: int) -> None:
        """`context_tokens` 0 stands for what the caches hold; more than that is cut to it."""
        self.embedder, self._per_layer = Lookup(calls.embedder), None
        if calls.per_layer is not None:
            self._per_layer = Lookup(calls.per_layer)
        self._decode, self._verify = calls.decode, calls.verify
        self._prefills = sorted(calls.prefills, key=lambda call: -_tokens(call))
        most = _room(calls)
        self._context_tokens = min(context_tokens or most, most)
        self._position = 0
        self._tokens: list[int] = []  # what was processed, up to `position` at least
        self._written = 0  # rows written since the caches were empty, padding and rejected drafts included
        self._ring, self._longest = _ring_rows(self.caches), max(map(_tokens, calls.prefills))

    @property
    def caches(self) -> dict[str, Array]:
        """The conversation's KV caches by name, as they lie in memory."""
        return {name: array for name, array in self._decode.inputs.items() if is_cache_name(name)}

    @property
    def position(self) -> int:
        """See `protocols.Target`."""
        return self._position

    @property
    def context_tokens(self) -> int:
        """See `protocols.Target`."""
        return self._context_tokens

    @property
    def max_draft_steps(self) -> int:
        """See `protocols.Target`."""
        return 0 if self._verify is None else _tokens(self._verify) - 1

    def prefill(self, tokens: Sequence[int]) -> None:
        """Chunks as LiteRT-LM takes them on a CPU: the largest that fill up, then the smallest with a padded tail."""
        waiting = list(tokens)
        for call in self._prefills:
            while len(waiting) >= _tokens(call) or (waiting and call is self._prefills[-1]):
                chunk, waiting = waiting[: _tokens(call)], waiting[_tokens(call) :]
                self._run(call, chunk)
                self._position += len(chunk)

    def decode(self, token: int) -> Scores:
        """See `protocols.Target`."""
        self._run(self._decode, [token])
        self._position += 1
        return self._scores(self._decode, 1)

    def verify(self, tokens: Sequence[int]) -> Scores:
        """See `protocols.Target`; rows that fewer drafts leave over are padding."""
        assert self._verify is not None and len(tokens) <= _tokens(self._verify)
        self._run(self._verify, tokens)
        return self._scores(self._verify, len(tokens))

    def keep(self, rows: int) -> None:
        """See `protocols.Target`."""
        self._position += rows

    def rewind(self, position: int) -> None:
        """See `protocols.Target`."""
        assert position <= self._position
        if self._is_lost(position):
            tokens, self._position, self._written = self._tokens[:position], 0, 0
            self.prefill(tokens)
        self._position = position
        if not position:
            self._written = 0

    def _is_lost(self, position: int) -> bool:
        """Whether ring caches no longer hold the window before `position`.

        A ring has a window and the longest chunk, so it holds the window of any position that is not further back.
        """
        return position > 0 and self._ring < self._written and self._longest < self._written - position

    def _run(self, call: Call, tokens: Sequence[int]) -> None:
        """Runs `call` on `tokens` from `position` on.

        The tail of a chunk that is not full has zero embeddings, position 0 and sees no row; what it writes lies
        behind the rows that count and is overwritten before they do.
        """
        real = len(tokens)
        self._tokens[self._position :] = tokens
        self._written = max(self._written, self._position + _tokens(call))
        positions = call.inputs[names.INPUT_POS]
        positions[:real] = np.arange(self._position, self._position + real)
        positions[real:] = 0
        fill_causal(call.inputs[names.MASK], self._position, real)
        fill_param(call, self._position, real)
        self._embed(self.embedder, call.inputs[names.EMBEDDINGS], tokens)
        if self._per_layer is not None:
            self._embed(self._per_layer, call.inputs[names.PER_LAYER_EMBEDDINGS], tokens)
        call.run()

    def _embed(self, embedder: Lookup, rows: Array, tokens: Sequence[int]) -> None:
        """Fills rows [1, T, ...] with the tokens' embeddings, zeros behind them."""
        for index, token in enumerate(tokens):
            rows[0, index] = embedder.row(token).reshape(rows.shape[2:])
        rows[0, len(tokens) :] = 0.0

    def _scores(self, call: Call, rows: int) -> Scores:
        hidden = call.outputs.get(names.ACTIVATIONS, NO_HIDDEN)
        return Scores(call.outputs[names.LOGITS][0, :rows], hidden[0, :rows])


class GraphDrafter:
    """`protocols.Drafter` over a graph that reads the caches of `target`."""

    def __init__(self, call: Call, target: GraphTarget) -> None:
        """`call` must be bound to the caches of `target`."""
        self._embedder, self._call = target.embedder, call

    def draft(self, token: int, hidden: Floats, position: int) -> DraftScores:
        """See `protocols.Drafter`. The graph gets input_pos = position - 1, as the runtime hands it over."""
        width = hidden.shape[-1]
        activations = self._call.inputs[names.ACTIVATIONS][0, 0]
        activations[width:] = hidden  # first, since it may be the graph's own output of the step before
        activations[:width] = self._embedder.row(token)
        self._call.inputs[names.INPUT_POS][...] = position - 1
        fill_causal(self._call.inputs[names.MASK], position - 1, 1)
        fill_param(self._call, position - 1, 1)
        self._call.run()
        outputs = self._call.outputs
        return DraftScores(outputs[names.LOGITS][0, 0], outputs[names.PROJECTED_ACTIVATIONS][0, 0])


def fill_causal(mask: Array, position: int, real: int) -> None:
    """Fills mask [1, 1, T, S]: token i of the first `real` sees rows 0..position+i, the padding behind them none.

    A float32 mask is additive (0 or HIDDEN), a bool mask says what is visible.
    """
    visible, hidden = (True, False) if mask.dtype == np.bool_ else (np.float32(0.0), HIDDEN)
    mask[...] = hidden
    for index in range(real):
        mask[0, 0, index, : position + index + 1] = visible


def fill_param(call: Call, position: int, real: int) -> None:
    """Fills `param_tensor` where a call has one: the rows it writes or reads up to, as the runtime hands it over."""
    if names.PARAM_TENSOR in call.inputs:
        call.inputs[names.PARAM_TENSOR].reshape(-1)[:3] = (position, position + real, position + real)


def _ring_rows(caches: Mapping[str, Array]) -> int:
    """Rows of the shortest cache, which is a ring where it is shorter than the others; 0 without any."""
    rows = (array.shape[2 if name.startswith(names.KV_KEY_PREFIX) else 3] for name, array in caches.items())
    return min(map(int, rows), default=0)


def _tokens(call: Call) -> int:
    """Tokens that a signature of the target takes at once."""
    return int(call.inputs[names.INPUT_POS].shape[0])


def _room(calls: TargetCalls) -> int:
    """Tokens for which the caches have rows, with those that the last chunk's padding needs behind them.

    A chunk that reached past the last row would be moved back over rows that count.
    """
    rows = int(calls.decode.inputs[names.MASK].shape[-1])
    verify = 0 if calls.verify is None else _tokens(calls.verify)
    return rows - max(verify, min(map(_tokens, calls.prefills)))
