"""Sliding layers whose caches are rings: the same as transformers, and as caches that hold the whole context."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import edge_mtp.graphs.spec
from edge_mtp.checkpoint.config import LayerKind
from edge_mtp.graphs.attention import HIDDEN_LOGIT, ring_mask, ring_param
from edge_mtp.graphs.composites import ring_update
from edge_mtp.graphs.spec import Lengths
from tests.emulator import Runtime
from tests.random_pair import WINDOW
from tests.reference import Pair, deviation, start_runtime

RING = Lengths(context=7 * WINDOW, prefill=(7, WINDOW), draft_steps=3)
FULL = replace(RING, sliding_cache="full")
PROMPT = 3 * WINDOW + 5
SAME = 1e-5


def rounds(runtime: Runtime, pair: Pair, counts: tuple[int, ...]) -> tuple[list[int], list[np.ndarray]]:
    """Rounds of verify that keep `counts` of their rows, with a draft of the drafter after each: tokens, scores."""
    tokens, seen = [], []
    for seed, count in enumerate(counts):
        block = pair.tokens(RING.verify, seed=10 + seed)
        logits, hidden = runtime.verify(block)
        seen.append(logits[:count])
        tokens += list(block[:count])
        runtime.position += count
        seen.append(runtime.draft(int(block[count - 1]), hidden[count - 1], 3).logits)
    return tokens, seen


def test_rings_are_shorter_and_full_layers_keep_the_context(pair: Pair) -> None:
    decoder = pair.target_config.decoder
    for layer in range(decoder.owning_layers):
        sliding = decoder.layer_kinds[layer] is LayerKind.SLIDING
        assert RING.rows_of(decoder, layer) == (2 * WINDOW if sliding else RING.cache_rows)
        assert FULL.rows_of(decoder, layer) == FULL.cache_rows


def test_a_talk_through_three_turns_of_the_ring_equals_transformers(pair: Pair) -> None:
    runtime, prompt = start_runtime(pair, RING), pair.tokens(PROMPT)
    runtime.prefill(prompt)
    tokens, seen = rounds(runtime, pair, (1, 3, 2, 4, 4, 1, 4, 4, 3, 4))
    again = pair.tokens(WINDOW + 2, seed=5)
    runtime.prefill(again)  # a second turn, its last chunk padded
    expected = pair.oracle.run_target(np.concatenate([prompt, tokens, again, pair.tokens(1, seed=6)])).logits
    found = np.concatenate(seen[::2])
    assert deviation(found, expected[PROMPT : PROMPT + len(tokens)]).holds
    logits, _ = runtime.decode(int(pair.tokens(1, seed=6)[0]))
    assert deviation(logits, expected[-1]).holds


def test_rings_equal_caches_of_the_whole_context(pair: Pair) -> None:
    """The drafter too, which reads the ring while rejected rows stand in it."""
    found = []
    for lengths in (RING, FULL):
        runtime = start_runtime(pair, lengths)
        runtime.prefill(pair.tokens(PROMPT))
        found.append(rounds(runtime, pair, (1, 1, 4, 2, 1, 3, 4, 4, 1))[1])
    for ring, full in zip(*found, strict=True):
        assert deviation(ring, full).share <= SAME


@pytest.mark.parametrize("missing", [1, 4])
def test_a_ring_that_is_too_short_is_found_out(pair: Pair, missing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: rows that the window of a chunk's first token needs are overwritten before it reads them."""
    monkeypatch.setattr(edge_mtp.graphs.spec, "RING_ALIGNMENT", 1)
    short = replace(RING, prefill=(WINDOW,))
    monkeypatch.setattr(
        Lengths,
        "rows_of",
        lambda lengths, config, layer: (
            lengths.cache_rows
            if config.layer_kinds[layer] is LayerKind.FULL
            else WINDOW + WINDOW - 1 - missing  # without the drafter's row and without `missing` of the target's
        ),
    )
    tokens, runtime = pair.tokens(5 * WINDOW), start_runtime(pair, short)
    runtime.prefill(tokens[:-1])
    logits, _ = runtime.decode(int(tokens[-1]))
    prefilled = deviation(logits, pair.oracle.run_target(tokens).logits[-1])
    assert not prefilled.holds


@pytest.mark.parametrize(("last", "rows", "reach"), [(0, 8, 3), (7, 8, 7), (8, 8, 3), (37, 12, 5), (40_000, 12, 9)])
def test_the_mask_shows_the_window_and_nothing_else(last: int, rows: int, reach: int) -> None:
    """Row by row against its definition, with tokens at the last two positions; 40,000 is beyond fp16's integers."""
    position = torch.tensor([max(last - 1, 0), last], dtype=torch.int32)
    mask = ring_mask(position, torch.tensor([last], dtype=torch.int32), rows, reach)
    held = {
        row: max((p for p in range(max(0, last - rows + 1), last + 1) if p % rows == row), default=None)
        for row in range(rows)
    }
    for token, at in enumerate(position.tolist()):
        for row, holds in held.items():
            visible = holds is not None and 0 <= at - holds <= reach
            assert mask[0, 0, token, row] == (0.0 if visible else HIDDEN_LOGIT), (token, row)


@pytest.mark.parametrize(("start", "tokens"), [(0, 1), (11, 1), (0, 12), (5, 12), (9, 4), (30, 7)])
def test_an_update_wraps_and_leaves_the_rest_as_it_was(start: int, tokens: int) -> None:
    rows, width, heads = 12, 4, 2
    keys, values = torch.randn(1, heads, rows, width), torch.randn(1, heads, width, rows)
    key, value = torch.randn(1, heads, tokens, width), torch.randn(1, heads, tokens, width)
    param = ring_param(
        torch.tensor([[[[start, start + tokens, start + tokens, 0, 0, 0, 0]]]], dtype=torch.int32), rows, tokens
    )
    slot = torch.tensor([start % rows], dtype=torch.int32)
    new_keys, new_values = ring_update(key, value, param, keys, values, slot, "layer.cache")
    for row in range(rows):
        token = (row - start) % rows
        want = (key[:, :, token], value[:, :, token]) if token < tokens else (keys[:, :, row], values[..., row])
        assert torch.equal(new_keys[:, :, row], want[0])
        assert torch.equal(new_values[..., row], want[1])


def test_the_param_of_a_ring() -> None:
    def of(start: int, end: int) -> list[int]:
        return (
            ring_param(torch.tensor([[[[start, end, end, 0, 0, 0, 0]]]], dtype=torch.int32), 16, 4).flatten().tolist()
        )

    assert of(0, 3) == [0, 3, 3, 4, 0, 0, 0]
    assert of(14, 18) == [14, 16, 16, 4, 0, 0, 0]
    assert of(33, 37) == [1, 16, 16, 4, 0, 0, 0]


def test_no_ring_where_the_context_is_short(pair: Pair) -> None:
    lengths = Lengths(context=WINDOW, prefill=(7,), draft_steps=3)
    rows = {
        lengths.rows_of(pair.target_config.decoder, layer) for layer in range(pair.target_config.decoder.owning_layers)
    }
    assert rows == {lengths.cache_rows}
