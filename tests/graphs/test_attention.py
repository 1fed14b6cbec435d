"""The pieces of attention, as the CPU runs them, against loops over heads and rows written from the definition."""

from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor

from edge_mtp.checkpoint.config import LayerKind
from edge_mtp.graphs.attention import FEW_TOKENS, HIDDEN_LOGIT, Call, View, attend, make_view, window_mask
from edge_mtp.graphs.composites import cache_update, runtime_bmm
from tests.emulator import HIDDEN, causal_mask, param_tensor

MANY_TOKENS = FEW_TOKENS + 1
"""Enough that the mask is not spread over the heads."""

ROWS, WIDTH = MANY_TOKENS + 6, 8
SLOTS = [0, 5, ROWS - 3]


def param(start: int = 0, rows: int = 0) -> Tensor:
    return torch.from_numpy(param_tensor(start, rows))


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Writing a cache.


def update(key: Tensor, value: Tensor, keys: Tensor, values: Tensor, slot: int) -> tuple[Tensor, Tensor]:
    at = torch.tensor([slot], dtype=torch.int32)
    return cache_update(key, value, param(slot, key.shape[2]), keys, values, at, "piece")


def written(key: Tensor, value: Tensor, keys: Tensor, values: Tensor, slot: int) -> tuple[Tensor, Tensor]:
    """The caches after row by row was put where it belongs."""
    keys, values = keys.clone(), values.clone()
    for head, row, place in product(range(key.shape[1]), range(key.shape[2]), range(key.shape[3])):
        keys[0, head, slot + row, place] = key[0, head, row, place]
        values[0, head, place, slot + row] = value[0, head, row, place]
    return keys, values


@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize(("heads", "tokens"), [(1, 1), (2, 1), (2, 3)])
def test_an_update_writes_its_rows_and_no_other(heads: int, tokens: int, slot: int) -> None:
    key, value = (random(1, heads, tokens, WIDTH, seed=seed) for seed in (1, 2))
    keys, values = random(1, heads, ROWS, WIDTH, seed=3), random(1, heads, WIDTH, ROWS, seed=4)
    found = update(key, value, keys, values, slot)
    expected = written(key, value, keys, values, slot)
    elsewhere = written(key, value, keys, values, (slot + 1) % (ROWS - 3))
    for ours, wanted, wrong in zip(found, expected, elsewhere, strict=True):
        assert torch.equal(ours, wanted)
        assert not torch.equal(ours, wrong)


@pytest.mark.parametrize("start", [-1, 7, 2**31 - 1])
def test_the_cpu_leaves_param_tensor_aside(start: int) -> None:
    """It is an input so that the GPU has it."""
    left, cache = random(1, 2, 3, WIDTH, seed=1), random(1, 2, ROWS, WIDTH, seed=2)
    plain = runtime_bmm(left, cache, param(), "piece", is_global=True, is_values=False)
    assert torch.equal(runtime_bmm(left, cache, param(start), "piece", is_global=True, is_values=False), plain)
    key, at = random(1, 2, 1, WIDTH, seed=3), torch.zeros(1, dtype=torch.int32)
    keys, values = random(1, 2, ROWS, WIDTH, seed=4), random(1, 2, WIDTH, ROWS, seed=5)
    ours = cache_update(key, key, param(start), keys, values, at, "piece")
    assert all(map(torch.equal, ours, written(key, key, keys, values, 0)))


# Reading it.

Attend = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def view_of_mask(mask: Tensor, heads: int) -> View:
    """As the graphs make it of the runtime's mask [1, 1, T, S]; without a rotation."""
    nothing, at = torch.zeros(1), torch.zeros(1, dtype=torch.int32)
    return make_view(Call(at, mask, param(), 1), (nothing, nothing), LayerKind.FULL, 0, mask.shape[-1], heads)


def ours(query: Tensor, keys: Tensor, values: Tensor, visible: Tensor) -> Tensor:
    mask = torch.where(visible, 0.0, float(HIDDEN))
    return attend(query, keys, values, view_of_mask(mask, query.shape[2]), "layer")


def plain(query: Tensor, keys: Tensor, values: Tensor, visible: Tensor) -> Tensor:
    """Each token and head by itself, over no row but those it sees; neighbouring heads share a KV head."""
    _, tokens, heads, _ = query.shape
    shared = heads // keys.shape[1]
    mixed = torch.zeros_like(query, dtype=torch.float64)
    for token, head in product(range(tokens), range(heads)):
        seen = visible[0, 0, token]
        own_keys = keys[0, head // shared][seen].double()  # [seen, D]
        own_values = values[0, head // shared][:, seen].double()  # [D, seen]
        scores = torch.exp(own_keys @ query[0, token, head].double())
        mixed[0, token, head] = own_values @ (scores / scores.sum())
    return mixed.reshape(1, tokens, -1).float()


def other_grouping(query: Tensor, keys: Tensor, values: Tensor, visible: Tensor) -> Tensor:
    """Query heads deal the KV heads out in turn."""
    return plain(query, *(cache.flip(1) for cache in (keys, values)), visible)


def one_row_more(query: Tensor, keys: Tensor, values: Tensor, visible: Tensor) -> Tensor:
    return plain(query, keys, values, visible | visible.roll(1, dims=-1))


def attention_inputs(tokens: int, heads: int, kv_heads: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random queries and caches; token i sees rows 0..4+i."""
    query = random(1, tokens, heads, WIDTH, seed=1)
    keys, values = random(1, kv_heads, ROWS, WIDTH, seed=2), random(1, kv_heads, WIDTH, ROWS, seed=3)
    visible = torch.arange(ROWS)[None, :] <= 4 + torch.arange(tokens)[:, None]
    return query, keys, values, visible[None, None]


@pytest.mark.parametrize("tokens", [1, FEW_TOKENS, MANY_TOKENS])
@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 1), (4, 2), (4, 4)])
def test_attention_is_the_definition(tokens: int, heads: int, kv_heads: int) -> None:
    inputs = attention_inputs(tokens, heads, kv_heads)
    torch.testing.assert_close(ours(*inputs), plain(*inputs), rtol=1e-5, atol=1e-6)
    wrong = [one_row_more] if kv_heads == 1 else [one_row_more, other_grouping]
    for control in wrong:
        assert (ours(*inputs) - control(*inputs)).abs().max() > 1e-2


def adding(query: Tensor, keys: Tensor, values: Tensor, visible: Tensor) -> Tensor:
    """Attention with the mask added, as it is written in most places; for one KV head."""
    logits = torch.einsum("bthd,bkrd->bhtr", query, keys) + torch.where(visible, 0.0, HIDDEN_LOGIT)
    mixed = torch.einsum("bhtr,bkdr->bthd", torch.softmax(logits, dim=-1), values)
    return mixed.reshape(1, query.shape[1], -1)


@pytest.mark.parametrize("tokens", [1, MANY_TOKENS])
@pytest.mark.parametrize("left_over", [float("nan"), float("inf"), 1e30])
def test_what_a_hidden_key_holds_is_never_seen(left_over: float, tokens: int) -> None:
    """The reason to select: what the GPU has behind the rows in use is undefined. An added mask lets it through."""
    query, keys, values, visible = attention_inputs(tokens, 4, 1)
    spoilt = keys.clone()
    spoilt[0, 0, ~visible[0, 0, -1]] = left_over  # what the last token does not see, none does
    expected = plain(query, keys, values, visible)
    torch.testing.assert_close(ours(query, spoilt, values, visible), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(adding(query, keys, values, visible), expected, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(adding(query, spoilt, values, visible), expected, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("tokens", [3, MANY_TOKENS])
def test_a_token_that_sees_nothing_gives_numbers(tokens: int) -> None:
    """Padding of a prefill chunk. Nobody reads it, but it writes cache rows, and NaN there would not go away."""
    query, keys, values, visible = attention_inputs(tokens, 4, 2)
    assert torch.isfinite(ours(query, keys, values, torch.zeros_like(visible))).all()


# What is visible.


def visible_rows(tokens: int, start: int, real: int, reach: int | None) -> list[list[int]]:
    """The rows each token sees: the first `real` of `tokens` lie from slot `start` on, padding has position 0."""
    mask = torch.from_numpy(causal_mask(tokens, ROWS, start, real))
    position = torch.zeros(tokens)
    position[:real] = torch.arange(start, start + real)
    seen = view_of_mask(mask if reach is None else window_mask(mask, position, reach), 4).visible
    for head in range(seen.shape[1]):
        assert torch.equal(seen[:, head], seen[:, 0])
    return [[row for row in range(ROWS) if seen[0, 0, token, row]] for token in range(tokens)]


@pytest.mark.parametrize("tokens", [3, MANY_TOKENS])
@pytest.mark.parametrize("reach", [None, 0, 2, ROWS])
def test_visible_rows_are_those_in_reach(reach: int | None, tokens: int) -> None:
    first, second, *padding = visible_rows(tokens, 5, 2, reach)
    assert first == list(range(0 if reach is None else max(0, 5 - reach), 6))
    assert second == list(range(0 if reach is None else max(0, 6 - reach), 7))
    assert not any(padding)


@pytest.mark.parametrize("tokens", [1, FEW_TOKENS, MANY_TOKENS])
def test_the_mask_says_what_is_visible(tokens: int) -> None:
    """0 or HIDDEN_LOGIT, which fp16 can hold, whatever the runtime and the window put there."""
    mask = window_mask(torch.from_numpy(causal_mask(tokens, ROWS, 0, tokens)), torch.arange(tokens).float(), 3)
    view = view_of_mask(mask, 4)
    assert view.mask.shape[1] == (4 if tokens <= FEW_TOKENS else 1)
    assert set(view.mask.unique().tolist()) == {0.0, HIDDEN_LOGIT}
    assert torch.equal(view.mask == 0.0, view.visible)
    assert HIDDEN_LOGIT > torch.finfo(torch.float16).min > float(HIDDEN)
