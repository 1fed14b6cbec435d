"""A conversation over operators that do what LiteRT's GPU operators do with `param_tensor`, against the CPU's.

The GPU has one buffer a cache, which the call before left. `odml.cache_update` writes the rows from start to before
end of it, of a ring as many as place 3 says. `odml.runtime_bmm` reads the rows before end, and leaves the columns of
Q·K behind them undefined, NaN here. Found by running LiteRT-LM 0.18.1.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

import edge_mtp.graphs.attention
import tests.emulator
from edge_mtp.graphs.attention import FEW_TOKENS, View
from edge_mtp.graphs.spec import Lengths
from tests.emulator import Draft, param_tensor
from tests.random_pair import WINDOW
from tests.reference import TOLERANCE, Floats, Pair, deviation, start_runtime

LENGTHS = Lengths(context=5 * WINDOW, prefill=(7, FEW_TOKENS + 1), draft_steps=3)
SAME = 1e-5
"""Largest deviation allowed, as a share of the expected range: sums of other lengths."""


def gpu_update(
    key: Tensor, value: Tensor, param: Tensor, keys: Tensor, values: Tensor, slot: Tensor, name: str
) -> tuple[Tensor, Tensor]:
    start, end = param.reshape(-1)[:2].tolist()
    keys, values = keys.clone(), values.clone()
    keys[:, :, start:end] = key[:, :, : end - start]
    values[..., start:end] = value[:, :, : end - start].transpose(-2, -1)
    return keys, values


def gpu_ring_update(
    key: Tensor, value: Tensor, param: Tensor, keys: Tensor, values: Tensor, slot: Tensor, name: str
) -> tuple[Tensor, Tensor]:
    """A ring's: place 0 is the first row, place 3 how many."""
    start, count = int(param.reshape(-1)[0]), int(param.reshape(-1)[3])
    keys, values = keys.clone(), values.clone()
    for token in range(count):
        row = (start + token) % keys.shape[2]
        keys[:, :, row], values[..., row] = key[:, :, token], value[:, :, token]
    return keys, values


def gpu_bmm(left: Tensor, cache: Tensor, param: Tensor, name: str, *, is_global: bool, is_values: bool) -> Tensor:
    end = int(param.reshape(-1)[2])
    if is_values:
        return left[..., :end] @ cache[..., :end].transpose(-2, -1)
    product = torch.full((*left.shape[:-1], cache.shape[2]), torch.nan)
    product[..., :end] = left @ cache[:, :, :end].transpose(-2, -1)
    return product


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on the graphs have the GPU's operators."""

    def swap() -> None:
        monkeypatch.setattr(edge_mtp.graphs.attention, "cache_update", gpu_update)
        monkeypatch.setattr(edge_mtp.graphs.attention, "ring_update", gpu_ring_update)
        monkeypatch.setattr(edge_mtp.graphs.attention, "runtime_bmm", gpu_bmm)

    return swap


def talk(pair: Pair) -> dict[str, Floats]:
    """A prompt with a padded last chunk, a decoded token, drafts, a block verified in part, and a decoded token."""
    runtime = start_runtime(pair, LENGTHS)
    runtime.prefill(pair.tokens(2 * WINDOW + 3))
    first, hidden = runtime.decode(5)
    draft: Draft = runtime.draft(7, hidden, LENGTHS.draft_steps)
    verified, _ = runtime.verify(pair.tokens(LENGTHS.verify, seed=2))
    runtime.position += 2
    last, _ = runtime.decode(9)
    return {"decode": np.stack([first, last]), "draft": draft.logits, "verify": verified}


def share(found: dict[str, Floats], expected: dict[str, Floats]) -> dict[str, float]:
    return {name: deviation(found[name], values).share for name, values in expected.items()}


def test_a_conversation_is_the_same(pair: Pair, on_gpu: Callable[[], None]) -> None:
    expected = talk(pair)
    on_gpu()
    assert max(share(talk(pair), expected).values()) <= SAME


def additive(query: Tensor, keys: Tensor, values: Tensor, view: View, name: str) -> Tensor:
    """`attend` with the mask added."""
    _, tokens, heads, width = query.shape
    kv_heads, rows, bmm = keys.shape[1], keys.shape[2], edge_mtp.graphs.attention.runtime_bmm
    folded = query.transpose(1, 2).reshape(1, kv_heads, -1, width)
    logits = bmm(folded, keys, view.param, name, is_global=view.is_global, is_values=False)
    weights = torch.softmax(logits.reshape(1, heads, tokens, rows) + view.mask, dim=-1).reshape(1, kv_heads, -1, rows)
    mixed = bmm(weights, values, view.param, name, is_global=view.is_global, is_values=True)
    return mixed.reshape(1, heads, tokens, width).transpose(1, 2).reshape(1, tokens, heads * width)


def test_an_added_mask_gives_nothing_but_nan(
    e2b: Pair, on_gpu: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = talk(e2b)
    monkeypatch.setattr(edge_mtp.graphs.attention, "attend", additive)
    assert max(share(talk(e2b), expected).values()) <= SAME, "the CPU does not mind"
    on_gpu()
    assert all(np.isnan(values).all() for values in talk(e2b).values())


SPOILT: dict[str, tuple[int, int]] = {
    "ends one row early": (0, -1),
    "begins one row late": (1, 0),
    "is one late": (1, 1),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_wrong_param_tensor_is_seen(
    e2b: Pair, on_gpu: Callable[[], None], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """On the GPU; the CPU leaves it aside."""
    later_start, later_end = SPOILT[how]

    def spoilt(start: int, real: int) -> np.ndarray:
        return param_tensor(start + later_start, real + later_end - later_start)

    expected = talk(e2b)
    monkeypatch.setattr(tests.emulator, "param_tensor", spoilt)
    assert max(share(talk(e2b), expected).values()) == 0.0
    on_gpu()
    found = share(talk(e2b), expected)
    assert all(not value <= 2 * TOLERANCE for value in found.values()), found
