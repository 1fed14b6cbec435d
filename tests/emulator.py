"""Drives a bundle's signatures as LiteRT-LM does, in numpy: masks, positions, padded chunks, caches, `param_tensor`.

After the runtime's own source (https://github.com/google-ai-edge/LiteRT-LM, runtime/executor:
llm_litert_compiled_model_executor.cc, litert_compiled_model_executor_utils.cc, llm_litert_mtp_drafter.cc).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edge_mtp import names
from edge_mtp.convert.lower import REGISTERS_OPS
from edge_mtp.graphs.signatures import Section

Array = NDArray[Any]
Floats = NDArray[np.float32]
Call = Callable[[str, Mapping[str, Array]], dict[str, Array]]
"""Runs a signature: (its name, inputs by name) -> outputs by name."""

Shapes = Mapping[str, Mapping[str, tuple[int, ...]]]
"""Signature -> input -> shape."""

HIDDEN = np.float32(-0.7 * np.finfo(np.float32).max)
"""What the runtime fills float masks with before it sets the visible rows to 0."""


def torch_call(section: Section) -> Call:
    """Runs the signatures of `section`, whose weights are loaded."""
    assert REGISTERS_OPS  # the graphs call torch operators that litert-torch defines
    modules = {signature.name: signature.module for signature in section.signatures}

    def call(name: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        with torch.no_grad():
            outputs = modules[name]({key: torch.from_numpy(value) for key, value in inputs.items()})
        return {key: value.numpy() for key, value in outputs.items()}

    return call


def input_shapes(section: Section) -> Shapes:
    """The input shapes of every signature of `section`."""
    return {s.name: {key: shape for key, (shape, _) in s.inputs.items()} for s in section.signatures}


def causal_mask(tokens: int, rows: int, start: int, real: int) -> Floats:
    """[1, 1, tokens, rows]: token i of the first `real` sees cache rows 0..start+i, the padding sees none."""
    mask = np.full((1, 1, tokens, rows), HIDDEN, np.float32)
    for index in range(real):
        mask[0, 0, index, : start + index + 1] = 0.0
    return mask


def param_tensor(start: int, real: int) -> NDArray[np.int32]:
    """[1, 1, 1, 7] int32 of a call for `real` tokens from cache row `start` on: [start, end, end, 0, 0, 0, 0].

    The GPU's operators write the rows from start to before end, and read those before end.
    """
    return np.array([start, start + real, start + real, 0, 0, 0, 0], np.int32).reshape(1, 1, 1, 7)


def greedy_chunks(count: int, lengths: Sequence[int]) -> list[tuple[int, int]]:
    """`count` tokens as (signature length, tokens in it): the largest that fill up, then the smallest.

    The runtime's choice on a CPU (GetOptimizedPrefillWorkGroups with greedy chunking).
    """
    chunks = []
    for length in sorted(lengths, reverse=True):
        while count >= length:
            chunks.append((length, length))
            count -= length
    return [*chunks, (min(lengths), count)] if count else chunks


@dataclass(frozen=True)
class Draft:
    """A round's draft steps: tokens [K], logits [K, vocab], projected [K, backbone]."""

    tokens: list[int]
    logits: Floats
    projected: Floats


class Runtime:
    """One conversation: the caches, and `position`, the slot of the next token to process."""

    def __init__(
        self,
        target: Call,
        embedder: Call,
        per_layer: Call | None,
        shapes: Shapes,
        drafter: Call | None = None,
    ) -> None:
        """`shapes` are the target's input shapes; `per_layer` is None where it has no such embeddings."""
        self.target, self.embedder, self.per_layer, self.drafter = target, embedder, per_layer, drafter
        self.shapes = shapes
        self.position = 0
        self.caches: dict[str, Array] = {
            name: np.zeros(shape, np.float32)
            for name, shape in shapes[names.DECODE].items()
            if name.startswith("kv_cache_")
        }
        self.prefill_lengths = [
            int(name.removeprefix(names.PREFILL_PREFIX)) for name in shapes if name.startswith(names.PREFILL_PREFIX)
        ]

    @property
    def rows(self) -> int:
        """Rows of each cache."""
        return self.shapes[names.DECODE][names.MASK][3]

    def prefill(
        self, tokens: Sequence[int], chunks: Sequence[tuple[int, int]] | None = None, padding: float = 0.0
    ) -> None:
        """Writes `tokens` into the caches, in `chunks` of (signature length, tokens) or as a CPU run would.

        The tail of a chunk that is not full has embeddings `padding`, position 0 and an all-hidden mask.
        """
        chunks = greedy_chunks(len(tokens), self.prefill_lengths) if chunks is None else chunks
        assert sum(real for _, real in chunks) == len(tokens)
        for length, real in chunks:
            chunk, tokens = tokens[:real], tokens[real:]
            self._run(names.prefill(length), chunk, length, padding)
            self.position += real

    def decode(self, token: int) -> tuple[Floats, Floats]:
        """Processes `token` at the next slot -> logits [vocab], activations [hidden]."""
        outputs = self._run(names.DECODE, [token], 1)
        self.position += 1
        return outputs[names.LOGITS][0, 0], outputs[names.ACTIVATIONS][0, 0]

    def verify(self, tokens: Sequence[int]) -> tuple[Floats, Floats]:
        """Processes K + 1 tokens from the next slot on -> logits [K + 1, vocab], activations [K + 1, hidden].

        `position` stays; advance it by what is accepted. The caches keep the rejected rows.
        """
        outputs = self._run(names.VERIFY, tokens, len(tokens))
        return outputs[names.LOGITS][0], outputs[names.ACTIVATIONS][0]

    def draft(self, token: int, hidden: Floats, steps: int) -> Draft:
        """`steps` draft steps after `token`, which is to be processed at slot `position`; hidden [backbone].

        All steps get `input_pos` = position - 1, a mask over rows 0..position-1, and a `param_tensor` of that one row.
        """
        assert self.drafter is not None
        kept = {
            names.INPUT_POS: np.array([self.position - 1], np.int32),
            names.MASK: causal_mask(1, self.rows, self.position - 1, 1),
            names.PARAM_TENSOR: param_tensor(self.position - 1, 1),
            **self.caches,
        }
        tokens, logits, projected = [token], [], []
        for _ in range(steps):
            embedded = self._lookup(self.embedder, tokens[-1])
            activations = np.concatenate([embedded, hidden[None, None]], axis=-1)
            outputs = self.drafter(names.DRAFT, {names.ACTIVATIONS: activations, **kept})
            hidden = outputs[names.PROJECTED_ACTIVATIONS][0, 0]
            logits.append(outputs[names.LOGITS][0, 0])
            projected.append(hidden)
            tokens.append(int(logits[-1].argmax()))
        return Draft(tokens[1:], np.stack(logits), np.stack(projected))

    def _run(self, name: str, tokens: Sequence[int], length: int, padding: float = 0.0) -> dict[str, Array]:
        real = len(tokens)
        positions = np.zeros(length, np.int32)
        positions[:real] = np.arange(self.position, self.position + real)
        inputs = {
            names.INPUT_POS: positions,
            names.MASK: causal_mask(length, self.rows, self.position, real),
            names.PARAM_TENSOR: param_tensor(self.position, real),
            names.EMBEDDINGS: self._embed(self.embedder, tokens, length, padding),
            **self.caches,
        }
        if self.per_layer is not None:
            inputs[names.PER_LAYER_EMBEDDINGS] = self._embed(self.per_layer, tokens, length, padding)
        outputs = self.target(name, inputs)
        self.caches = {key: outputs[key] for key in self.caches}
        return outputs

    def _embed(self, embedder: Call, tokens: Sequence[int], length: int, padding: float) -> Array:
        """[1, length, ...]: the tokens' embeddings, then rows of `padding`."""
        looked_up = np.concatenate([self._lookup(embedder, token) for token in tokens], axis=1)
        tail = np.full((1, length - len(tokens), *looked_up.shape[2:]), padding, np.float32)
        return np.concatenate([looked_up, tail], axis=1)

    def _lookup(self, embedder: Call, token: int) -> Array:
        return embedder(names.EMBED, {names.TOKEN_IDS: np.array([[token]], np.int32)})[names.EMBEDDINGS]
