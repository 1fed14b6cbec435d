"""The clustered head alone, against transformers' `Gemma4AssistantMaskedEmbedder` and against numpy."""

import numpy as np
import pytest
import torch

from edge_mtp.convert.lower import REGISTERS_OPS
from edge_mtp.graphs.drafter import ClusteredHead
from edge_mtp.graphs.weights import token_order
from tests.random_pair import SHAPES
from tests.reference import Floats, Pair, deviation

assert REGISTERS_OPS

HIDDEN_STATES = 20


def codes_and_scales(rows: Floats) -> tuple[np.ndarray, Floats]:
    """rows [n, width] -> int8 codes [n, width] and a scale per row [n]."""
    scales = (np.abs(rows).max(axis=1) / 127).astype(np.float32)
    return np.round(rows / scales[:, None]).astype(np.int8), scales


def build_head(pair: Pair, order: np.ndarray, *, coded: bool = False) -> ClusteredHead:
    """The head with the checkpoint's weights, its rows laid out by `order`."""
    config, centroids = pair.drafter_config, pair.drafter_config.centroids
    rows = lm_head(pair)[order]
    slots = np.empty(order.size, np.int32)
    slots[order] = np.arange(order.size)
    state = {
        "masked_embedding.centroids.weight": pair.drafter.read("masked_embedding.centroids.weight"),
        "rows": rows.reshape(centroids, -1),
        "slots": slots,
    }
    if coded:
        codes, scales = codes_and_scales(rows)
        state |= {"rows": codes.reshape(centroids, -1), "scales": scales.reshape(centroids, -1)}
    head = ClusteredHead(config, coded=coded)
    head.load_state_dict({name: torch.from_numpy(values) for name, values in state.items()}, assign=True)
    return head


def lm_head(pair: Pair) -> Floats:
    return pair.drafter.read(pair.drafter.stored_name("lm_head.weight"))


def run(head: ClusteredHead, hidden: Floats) -> Floats:
    """hidden [n, width] -> logits [n, vocab], one row at a time as in a bundle."""
    with torch.no_grad():
        return np.stack([head(torch.from_numpy(row)[None, None])[0, 0].numpy() for row in hidden])


def hidden_states(pair: Pair) -> Floats:
    width = pair.drafter_config.decoder.hidden_size
    return 4 * np.random.default_rng(3).standard_normal((HIDDEN_STATES, width), np.float32)


def masked_embedder(pair: Pair, hidden: Floats, weight: Floats) -> Floats:
    """transformers' head over output rows `weight`, one hidden state at a time: its floor is the call's."""
    embedder = pair.oracle.drafter.masked_embedding
    with torch.no_grad():
        rows = [embedder(torch.from_numpy(row)[None, None], torch.from_numpy(weight)) for row in hidden]
    return torch.cat(rows)[:, 0].numpy()


@pytest.fixture
def order(pair: Pair) -> np.ndarray:
    return token_order(pair.drafter, pair.shape.vocab_size)


def test_equals_transformers(pair: Pair, order: np.ndarray) -> None:
    hidden = hidden_states(pair)
    found, expected = run(build_head(pair, order), hidden), masked_embedder(pair, hidden, lm_head(pair))
    assert deviation(found, expected).holds
    floors, expected_floors = found.min(axis=1), expected.min(axis=1)
    np.testing.assert_allclose(floors, expected_floors, atol=1e-4)
    assert np.array_equal(found > floors[:, None], expected > expected_floors[:, None])


def test_coded_rows_equal_their_dequantized_values(pair: Pair, order: np.ndarray) -> None:
    hidden = hidden_states(pair)
    codes, scales = codes_and_scales(lm_head(pair))
    dequantized = codes.astype(np.float32) * scales[:, None]
    found = run(build_head(pair, order, coded=True), hidden)
    assert deviation(found, masked_embedder(pair, hidden, dequantized)).holds
    assert not deviation(found, masked_embedder(pair, hidden, lm_head(pair))).holds  # int8 is no float


def test_every_other_token_lies_one_below_the_lowest_candidate(pair: Pair, order: np.ndarray) -> None:
    """Computed anew from the definition, in float64."""
    hidden = hidden_states(pair)
    centroids = pair.drafter.read("masked_embedding.centroids.weight").astype(np.float64)
    clusters = order.reshape(pair.shape.centroids, -1)
    for row, found in zip(hidden, run(build_head(pair, order), hidden), strict=True):
        best = np.argsort(centroids @ row)[-pair.shape.centroid_top_k :]
        candidates = clusters[best].ravel()
        scores = lm_head(pair).astype(np.float64) @ row
        expected = np.full(order.size, scores[candidates].min() - 1.0)
        expected[candidates] = scores[candidates]
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_wrong_order_does_not_hold(pairs: dict[str, Pair]) -> None:
    pair = pairs["e2b-like"]
    hidden = hidden_states(pair)
    wrong = build_head(pair, np.arange(SHAPES["e2b-like"].vocab_size))
    assert not deviation(run(wrong, hidden), masked_embedder(pair, hidden, lm_head(pair))).holds
