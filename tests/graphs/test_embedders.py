"""The two embedders against transformers."""

import numpy as np
import pytest
import torch

from edge_mtp import names
from edge_mtp.graphs.embedders import Embedder
from edge_mtp.graphs.spec import Lengths
from tests.emulator import torch_call
from tests.reference import Floats, Pair, deviation, load_section

LENGTHS = Lengths(context=8, prefill=(4,), draft_steps=3)
WITH_PLE = ["e2b-like", "e4b-like", "no sharing", "irregular"]


def run(pair: Pair, section: str) -> Floats:
    """[vocab, ...]: what the section says of every token, one call each."""
    call = torch_call(load_section(pair, section, LENGTHS))
    tokens = range(pair.shape.vocab_size)
    return np.concatenate(
        [call(names.EMBED, {names.TOKEN_IDS: np.array([[t]], np.int32)})[names.EMBEDDINGS] for t in tokens]
    )


def test_embedder_equals_transformers(pair: Pair) -> None:
    expected = np.concatenate([pair.oracle.embed(token) for token in range(pair.shape.vocab_size)])
    found = run(pair, names.EMBEDDER)
    assert found.shape == (pair.shape.vocab_size, 1, pair.shape.hidden_size)
    assert deviation(found, expected).share <= 1e-6


@pytest.mark.parametrize("name", WITH_PLE)
def test_per_layer_embedder_equals_transformers(pairs: dict[str, Pair], name: str) -> None:
    pair = pairs[name]
    tokens = torch.arange(pair.shape.vocab_size)[:, None]
    with torch.no_grad():
        expected = pair.oracle.target.get_decoder().get_per_layer_inputs(tokens).numpy()
    found = run(pair, names.PER_LAYER_EMBEDDER)
    assert found.shape == (pair.shape.vocab_size, 1, len(pair.shape.pattern), pair.shape.ple_width)
    assert deviation(found, expected).share <= 1e-6


def test_unscaled_embeddings_do_not_hold(e2b: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def unscaled(self: Embedder, token_ids: torch.Tensor) -> torch.Tensor:
        return self.embed_tokens(token_ids)

    monkeypatch.setattr(Embedder, "forward", unscaled)
    expected = np.concatenate([e2b.oracle.embed(token) for token in range(e2b.shape.vocab_size)])
    assert not deviation(run(e2b, names.EMBEDDER), expected).holds
