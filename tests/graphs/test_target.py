"""The target's graphs against transformers, over contexts several windows long."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from edge_mtp import names
from edge_mtp.checkpoint.config import DecoderConfig, LayerKind, Rope
from edge_mtp.graphs.spec import Lengths
from tests.emulator import Runtime
from tests.random_pair import WINDOW
from tests.reference import TOLERANCE, Deviation, Floats, Pair, deviation, start_runtime

CONTEXT = 5 * WINDOW
PROMPT = 3 * WINDOW + 5
LENGTHS = Lengths(context=CONTEXT, prefill=(7, WINDOW, PROMPT), draft_steps=3)


@pytest.fixture
def runtime(pair: Pair) -> Runtime:
    return start_runtime(pair, LENGTHS)


def decode_all(runtime: Runtime, tokens: np.ndarray) -> tuple[Floats, Floats]:
    """logits [n, vocab], activations [n, hidden], one token at a time."""
    outputs = [runtime.decode(int(token)) for token in tokens]
    return np.stack([logits for logits, _ in outputs]), np.stack([hidden for _, hidden in outputs])


def written(runtime: Runtime) -> dict[str, Floats]:
    """The caches' rows before `position`: keys [kv, rows, D], values [kv, D, rows]."""
    end = runtime.position
    return {
        name: cache[0, :, :end] if name.startswith(names.KV_KEY_PREFIX) else cache[0, :, :, :end]
        for name, cache in runtime.caches.items()
    }


def test_repeated_decode_equals_transformers(pair: Pair, runtime: Runtime) -> None:
    tokens = pair.tokens(PROMPT)
    expected = pair.oracle.run_target(tokens)
    logits, hidden = decode_all(runtime, tokens)
    found = deviation(logits, expected.logits), deviation(hidden, expected.hidden)
    print(f"{pair.shape.name}: decode logits {found[0].share:.1e}, hidden {found[1].share:.1e} of their range")
    assert found[0].holds
    assert found[1].share <= TOLERANCE
    assert found[0].decided > PROMPT / 2, "the argmax was hardly ever decided, so comparing it says little"


def test_caches_after_prefill_equal_transformers(pair: Pair, runtime: Runtime) -> None:
    tokens = pair.tokens(PROMPT)
    expected = pair.oracle.run_target(tokens).caches
    runtime.prefill(tokens)
    caches = written(runtime)
    for kind, (keys, values) in expected.items():
        donor = pair.target_config.decoder.donor(LayerKind(kind))
        assert deviation(caches[names.kv_key(donor)], keys[0].numpy()).share <= TOLERANCE
        transposed = values[0].transpose(1, 2).numpy()
        assert deviation(caches[names.kv_value(donor)], transposed).share <= TOLERANCE


@pytest.mark.parametrize(
    "chunks",
    [
        [(WINDOW, WINDOW)] * 3 + [(7, 5)],
        [(7, 7)] * 7 + [(7, 4)],
        [(WINDOW, 3), (WINDOW, WINDOW), (7, 1), (PROMPT, 33)],
    ],
    ids=["runtime's choice", "short", "uneven"],
)
def test_prefill_in_chunks_equals_prefill_at_once(pair: Pair, chunks: list[tuple[int, int]]) -> None:
    tokens = pair.tokens(PROMPT)
    at_once, in_chunks = start_runtime(pair, LENGTHS), start_runtime(pair, LENGTHS)
    at_once.prefill(tokens, [(PROMPT, PROMPT)])
    in_chunks.prefill(tokens, chunks)
    expected = written(at_once)
    for name, cache in written(in_chunks).items():
        assert deviation(cache, expected[name]).share <= 1e-5, name
    assert deviation(in_chunks.decode(3)[0], at_once.decode(3)[0]).share <= 1e-5


def test_padding_of_a_prefill_chunk_does_no_harm(pair: Pair) -> None:
    tokens = pair.tokens(WINDOW + 3)
    runs = [start_runtime(pair, LENGTHS) for _ in range(2)]
    for runtime, padding in zip(runs, (0.0, 37.0), strict=True):
        runtime.prefill(tokens, [(WINDOW, WINDOW), (PROMPT, 3)], padding)
    later = pair.tokens(2 * WINDOW, seed=1)
    clean, dirty = (decode_all(runtime, later)[0] for runtime in runs)
    assert np.array_equal(clean, dirty)
    expected = pair.oracle.run_target(np.concatenate([tokens, later])).logits[len(tokens) :]
    assert deviation(dirty, expected).holds


def test_verify_rows_equal_repeated_decode(pair: Pair) -> None:
    prompt, block = pair.tokens(PROMPT), pair.tokens(LENGTHS.verify, seed=1)
    one_by_one, at_once = start_runtime(pair, LENGTHS), start_runtime(pair, LENGTHS)
    one_by_one.prefill(prompt)
    at_once.prefill(prompt)
    expected = decode_all(one_by_one, block)
    for found, row in zip(at_once.verify(block), expected, strict=True):
        assert deviation(found, row).share <= 1e-5


def test_rejected_rows_of_verify_are_never_seen(pair: Pair, runtime: Runtime) -> None:
    """Three rounds that accept 1, 3 and 2 of 4 rows, then transformers over the accepted tokens alone."""
    accepted = list(pair.tokens(PROMPT))
    runtime.prefill(accepted)
    seen = []
    for seed, count in enumerate((1, 3, 2)):
        block = pair.tokens(LENGTHS.verify, seed=10 + seed)
        logits, _ = runtime.verify(block)
        seen.append(logits[:count])
        accepted += list(block[:count])
        runtime.position += count
    expected = pair.oracle.run_target(np.array(accepted)).logits[PROMPT:]
    assert deviation(np.concatenate(seen), expected).holds


def test_a_full_context_fits_in_the_cache(e2b: Pair) -> None:
    """The last chunk of a prompt as long as the context, and verify at its last slot, write in bounds."""
    lengths = Lengths(context=CONTEXT, prefill=(7, WINDOW), draft_steps=3)
    runtime, tokens = start_runtime(e2b, lengths), e2b.tokens(CONTEXT + 3)
    runtime.prefill(tokens[: CONTEXT - 1], [(7, 1)] + [(WINDOW, WINDOW)] * 4 + [(7, 7), (7, 6), (7, 1)])
    logits, _ = runtime.verify(tokens[CONTEXT - 1 :])
    assert deviation(logits, e2b.oracle.run_target(tokens).logits[CONTEXT - 1 :]).holds


def run_with(pair: Pair, change: Callable[[DecoderConfig], DecoderConfig]) -> Deviation:
    """Deviation of the logits after a prompt where the graph has another configuration than the weights."""
    config = replace(pair.target_config, decoder=change(pair.target_config.decoder))
    runtime, tokens = start_runtime(replace(pair, target_config=config), LENGTHS), pair.tokens(PROMPT)
    runtime.prefill(tokens[:-1])
    logits, _ = runtime.decode(int(tokens[-1]))
    return deviation(logits, pair.oracle.run_target(tokens).logits[-1])


def with_full_rope(config: DecoderConfig, rope: Rope) -> DecoderConfig:
    full = replace(config.attention[LayerKind.FULL], rope=rope)
    return replace(config, attention={**config.attention, LayerKind.FULL: full})


class WrongDonor(DecoderConfig):
    """Shared layers read the first layer of their kind instead of the last that owns a cache."""

    def cache_layer(self, layer: int) -> int:
        shared = layer >= self.owning_layers
        return self.layer_kinds.index(self.layer_kinds[layer]) if shared else layer


CONTROLS: dict[str, Callable[[DecoderConfig], DecoderConfig]] = {
    "no soft-cap": lambda config: replace(config, soft_cap=None),
    "window one longer": lambda config: replace(config, sliding_window=WINDOW + 1),
    "window one shorter": lambda config: replace(config, sliding_window=WINDOW - 1),
    "all frequencies rotate": lambda config: with_full_rope(config, Rope(1e6, 1.0)),
    "other rope base": lambda config: with_full_rope(config, Rope(1e4, 0.25)),
    "other donor": lambda config: WrongDonor(**vars(config)),
}


def test_unchanged_configuration_holds(e2b: Pair) -> None:
    assert run_with(e2b, lambda config: config).holds


@pytest.mark.parametrize("control", CONTROLS)
def test_wrong_graphs_do_not_hold(e2b: Pair, control: str) -> None:
    assert run_with(e2b, CONTROLS[control]).share > 2 * TOLERANCE
