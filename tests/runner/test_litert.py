"""The runner over a bundle's graphs against `tests.emulator`, which drives the same graphs in the stock interpreter."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping

import numpy as np
import pytest

from edge_mtp import names
from edge_mtp.bundle.reader import Bundle
from edge_mtp.errors import ResourceError
from edge_mtp.runner import litert
from edge_mtp.runner.calls import HIDDEN, fill_causal
from edge_mtp.runner.graph import Graph, make_buffer
from edge_mtp.runner.litert import LiteRTPair, open_pair
from edge_mtp.runner.litert_c import Environment
from tests.convert.lowered_pair import interpreter_call
from tests.emulator import Call, Runtime, causal_mask

SAME = 1e-5
"""Both run the same kernels: on one machine the difference was 0 everywhere."""

FULL = 32 + 128
CONTEXT = 1024
LENGTHS = {"under": 7, "one chunk": 32, "both full": FULL, "over": FULL + 5, "twice the largest": 2 * 128 + 44}


@pytest.fixture(scope="module")
def calls(opened: Bundle, tmp_path_factory) -> Mapping[str, Call]:
    """The sections in the stock interpreter."""
    folder, made = tmp_path_factory.mktemp("sections"), {}
    for name in names.SECTIONS:
        path = folder / f"{name}.tflite"
        path.write_bytes(opened.section_bytes(name))
        made[name] = interpreter_call([path], {})
    return made


@pytest.fixture(scope="module")
def pair(opened: Bundle) -> Iterator[LiteRTPair]:
    with open_pair(opened, threads=1) as made:
        assert made.drafter is not None
        yield made


@pytest.fixture
def runtime(opened: Bundle, calls: Mapping[str, Call]) -> Runtime:
    """A new conversation of the emulator."""
    model = opened.model(names.TARGET)
    shapes = {one.key: {tensor.name: tensor.shape for tensor in one.inputs} for one in model.signatures}
    return Runtime(
        calls[names.TARGET], calls[names.EMBEDDER], calls[names.PER_LAYER_EMBEDDER], shapes, calls[names.DRAFTER]
    )


def tokens(count: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(3, 1000, count).tolist()


def both_prefill(pair: LiteRTPair, runtime: Runtime, prompt: list[int]) -> None:
    pair.target.rewind(0)
    pair.target.prefill(prompt)
    runtime.prefill(prompt)
    assert pair.target.position == runtime.position == len(prompt)


def both_decode(pair: LiteRTPair, runtime: Runtime, token: int) -> tuple[np.ndarray, np.ndarray]:
    """The hidden states after `token`, which are then known to be the same, as the logits are."""
    scores, (logits, hidden) = pair.target.decode(token), runtime.decode(token)
    assert_same(scores.logits[0], logits)
    assert_same(scores.hidden[0], hidden)
    return scores.hidden[0].copy(), hidden


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert float(np.abs(found - expected).max()) <= SAME


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    """The same but for rounding, in graphs of other lengths."""
    assert found.shape == expected.shape
    assert float(np.abs(found - expected).max()) < 1e-3


def assert_same_rows(pair: LiteRTPair, runtime: Runtime) -> None:
    """Every cache row that counts."""
    for name, cache in pair.target.caches.items():
        rows = (
            np.s_[..., : runtime.position, :]
            if name.startswith(names.KV_KEY_PREFIX)
            else np.s_[..., : runtime.position]
        )
        assert_same(cache[rows], runtime.caches[name][rows])


@pytest.mark.parametrize("length", LENGTHS.values(), ids=LENGTHS)
def test_prefill_and_decode_equal_the_emulator(pair, runtime, length):
    both_prefill(pair, runtime, tokens(length))
    for token in tokens(3, seed=1):
        both_decode(pair, runtime, token)
    assert_same_rows(pair, runtime)


@pytest.mark.parametrize("length", [7, FULL + 5])
def test_drafts_equal_the_emulator(pair, runtime, length):
    both_prefill(pair, runtime, tokens(length))
    hidden, expected_hidden = both_decode(pair, runtime, 11)
    expected = runtime.draft(12, expected_hidden, 3)
    token = 12
    for step in range(3):
        scores = pair.drafter.draft(token, hidden, pair.target.position)
        assert_same(scores.logits, expected.logits[step])
        assert_same(scores.hidden, expected.projected[step])
        token, hidden = expected.tokens[step], scores.hidden  # its own output, not copied: as the loop hands it over


@pytest.mark.parametrize("count", [4, 3, 2])
def test_verify_equals_the_emulator(pair, runtime, count):
    """Of fewer than K + 1 tokens the rest is padding, which the next steps must not see."""
    both_prefill(pair, runtime, tokens(40))
    block = tokens(count, seed=2)
    scores = pair.target.verify(block)
    outputs = runtime._run(names.VERIFY, block, 4)
    assert_same(scores.logits, outputs[names.LOGITS][0, :count])
    assert_same(scores.hidden, outputs[names.ACTIVATIONS][0, :count])
    assert pair.target.position == 40, "verify does not move"
    pair.target.keep(count - 1)
    runtime.position += count - 1
    both_decode(pair, runtime, 21)
    both_decode(pair, runtime, 22)
    assert_same_rows(pair, runtime)


def test_padding_is_written_as_the_runtime_writes_it(pair, runtime):
    """Nothing sees those rows. They too are the emulator's, with what the chunk before left in the inputs gone."""
    for cache in pair.target.caches.values():
        cache[...] = 0.0
    both_prefill(pair, runtime, tokens(32 + 7))
    pair.target.verify([5, 6])
    runtime._run(names.VERIFY, [5, 6], 4)
    for name, cache in pair.target.caches.items():
        assert_same(cache, runtime.caches[name])
        assert cache.any()


def test_verify_equals_decoding_one_by_one(pair):
    block = tokens(4, seed=3)
    pair.target.rewind(0)
    pair.target.prefill(tokens(40))
    together = pair.target.verify(block).logits.copy()
    one_by_one = np.stack([pair.target.decode(token).logits[0].copy() for token in block])
    assert_close(together, one_by_one)
    with pytest.raises(AssertionError):
        assert_close(together[1:], one_by_one[:-1])


def test_rewound_rows_are_forgotten(pair, runtime):
    both_prefill(pair, runtime, tokens(50))
    pair.target.verify(tokens(4, seed=4))
    pair.target.keep(4)
    for token in tokens(9, seed=5):
        pair.target.decode(token)
    pair.target.rewind(30)
    runtime.position = 30
    pair.target.prefill(tokens(37, seed=6))
    runtime.prefill(tokens(37, seed=6))
    both_decode(pair, runtime, 23)


@pytest.mark.parametrize("position", [CONTEXT - 3, CONTEXT - 5])
def test_the_last_rows_of_the_context(pair, runtime, position):
    """A chunk that begins there reaches past the context; were it moved back, rows that count would be lost."""
    assert pair.target.context_tokens == CONTEXT
    prompt = tokens(position)
    pair.target.rewind(0)
    pair.target.prefill(prompt[:-5])
    pair.target.prefill(prompt[-5:])
    runtime.prefill(prompt)  # in chunks that begin elsewhere
    assert_close(pair.target.decode(31).logits[0], runtime.decode(31)[0])
    found = pair.target.verify([32, 33]).logits
    assert_close(found, runtime._run(names.VERIFY, [32, 33], 4)[names.LOGITS][0, :2])
    keys = runtime.caches[names.kv_key(0)]  # of a sliding layer, so a ring
    keys[:, :, (position - 9) % keys.shape[2]] += 1.0
    with pytest.raises(AssertionError):
        assert_close(found[1], runtime.decode(32)[0])


@pytest.mark.parametrize("kind", [names.KV_KEY_PREFIX, names.KV_VALUE_PREFIX])
def test_a_spoilt_row_is_seen(pair, runtime, kind):
    both_prefill(pair, runtime, tokens(40))
    cache = pair.target.caches[f"{kind}0"]
    row = np.s_[:, :, 39, :] if kind == names.KV_KEY_PREFIX else np.s_[:, :, :, 39]
    cache[row] += 1.0
    with pytest.raises(AssertionError):
        both_decode(pair, runtime, 24)
    with pytest.raises(AssertionError):
        assert_same_rows(pair, runtime)


def test_a_spoilt_donor_row_is_seen_by_the_drafter(pair, runtime):
    both_prefill(pair, runtime, tokens(40))
    hidden, expected_hidden = both_decode(pair, runtime, 11)
    expected = runtime.draft(12, expected_hidden, 1)
    assert_same(pair.drafter.draft(12, hidden, 41).logits, expected.logits[0])
    for cache in pair.target.caches.values():
        cache *= 0.9
    with pytest.raises(AssertionError):
        assert_same(pair.drafter.draft(12, hidden, 41).logits, expected.logits[0])


@pytest.mark.parametrize("length", [1, 4, 32])
def test_masks_equal_the_emulators(length):
    expected = causal_mask(length, 64, 9, max(length - 1, 1))
    mask = np.full_like(expected, 7.0)
    fill_causal(mask, 9, max(length - 1, 1))
    assert np.array_equal(mask, expected)
    seen = np.zeros(expected.shape, np.bool_)
    fill_causal(seen, 9, max(length - 1, 1))
    assert np.array_equal(seen, expected == 0.0)
    assert HIDDEN < -1e38


# Memory.


def test_caches_are_one_memory_for_all_signatures(int8):
    graph = Graph(int8, names.TARGET, int8.model(names.TARGET), Environment(), 1)
    caches = {
        name: make_buffer(graph.signature(names.DECODE).input(name)) for name in (names.kv_key(0), names.kv_value(4))
    }
    every = [graph.call(key, caches) for key in (names.DECODE, names.VERIFY, names.prefill(32))]
    for name, buffer in caches.items():
        assert all(call.inputs[name] is call.outputs[name] is buffer.array for call in every)
    own = [call.inputs[names.kv_key(1)] for call in every]
    assert not np.shares_memory(own[0], own[1]), "what is not shared would be seen"


def test_the_drafter_reads_the_targets_caches(pair):
    call, caches = pair.drafter._call, pair.target.caches
    donors = [name for name in call.inputs if name in caches]
    assert donors
    assert all(call.inputs[name] is caches[name] for name in donors)


def test_a_decode_step_writes_its_row_and_nothing_else(pair):
    pair.target.rewind(0)
    pair.target.prefill(tokens(40))
    before = {name: (cache.ctypes.data, cache.copy()) for name, cache in pair.target.caches.items()}
    pair.target.decode(25)
    for name, cache in pair.target.caches.items():
        address, old = before[name]
        assert cache.ctypes.data == address
        axis = 2 if name.startswith(names.KV_KEY_PREFIX) else 3
        other = tuple(range(axis)) + tuple(range(axis + 1, 4))
        assert np.flatnonzero((cache != old).any(axis=other)).tolist() == [40]


def test_nothing_is_left_of_the_repacked_weights(int8, tmp_path, monkeypatch):
    """They are unlinked before the block begins, so that no way to die can leave them behind."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with open_pair(int8, 1) as pair:
        assert list(tmp_path.iterdir()) == []
        pair.target.prefill([2, 3])
        first = pair.target.decode(4).logits.copy()
    kept = tmp_path / "kept"
    kept.mkdir()
    for _ in range(2):  # repacked, and then found
        with open_pair(int8, 1, kept) as pair:
            assert {path.name for path in kept.iterdir()} == {"target.xnnpack_cache", "drafter.xnnpack_cache"}
            pair.target.prefill([2, 3])
            assert np.array_equal(pair.target.decode(4).logits, first)


def test_too_little_room_for_the_weights_is_refused(int8, tmp_path, monkeypatch):
    """LiteRT would end the process."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    needed = int8.find(names.TARGET).size + int8.find(names.DRAFTER).size
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(litert.shutil, "disk_usage", lambda path: usage._replace(free=needed - 1))
    with (
        pytest.raises(ResourceError, match=r"running tiny\.litertlm takes about 3 MB there.*TMPDIR"),
        open_pair(int8, 1),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(litert.shutil, "disk_usage", lambda path: usage._replace(free=needed))
    with open_pair(int8, 1):
        pass
