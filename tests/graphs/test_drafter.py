"""The drafter's graph against transformers, driven as LiteRT-LM drives it.

What transformers does was read off its generation/candidate_generator.py
(`SinglePositionMultiTokenCandidateGenerator.get_candidates`) and is checked against its real assisted
generation in `test_first_round_of_assisted_generation`. With n the slot of the last token:

* `position_ids` is n in every step of a round (`input_ids.shape[1] - 1`); LiteRT-LM gives n - 1.
* the input is the target's scaled embedding of the last token, then the hidden state after the final norm.
* the K/V are the target's for slots 0..n-1, all visible to full layers; sliding layers see the last
  `sliding_window + 1` of them (`masking_utils.sliding_window_bidirectional_overlay`: distance <= window,
  counted from the last row, which is slot n - 1).
* from the second round on transformers also leaves rows of rejected drafts in the K/V (slot n on full
  layers, up to K of them on sliding layers, where they push the window forward). LiteRT-LM hides them by its
  mask, so those rounds are compared with transformers over the accepted tokens alone.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from edge_mtp import names
from edge_mtp.checkpoint.config import DecoderConfig, LayerKind
from edge_mtp.graphs.spec import Head, Lengths, Position
from tests.emulator import Call, Draft, Runtime, torch_call
from tests.random_pair import WINDOW
from tests.reference import TOLERANCE, Floats, Pair, deviation, load_section, start_runtime

STEPS = 3
LENGTHS = Lengths(context=5 * WINDOW, prefill=(7, WINDOW), draft_steps=STEPS)
SLOTS = [5, WINDOW, WINDOW + 1, WINDOW + 2, 3 * WINDOW + 5]
"""Slots of the last token: inside the window, on both sides of its edge, several windows on."""


@dataclass(frozen=True)
class Start:
    """The beginning of a round: the runtime before it drafts, the last token and the target's hidden state."""

    runtime: Runtime
    token: int
    hidden: Floats
    tokens: np.ndarray

    def draft(self) -> Draft:
        return self.runtime.draft(self.token, self.hidden, STEPS)


def start_rounds(
    pair: Pair, slots: list[int], head: Head = "dense", position: Position = "transformers"
) -> Iterator[Start]:
    """One prompt, read on to each of `slots` in turn; the last token there is the target's own choice."""
    runtime, tokens = start_runtime(pair, LENGTHS, head=head, position=position), pair.tokens(slots[-1])
    for slot in slots:
        runtime.prefill(tokens[runtime.position : slot - 1])
        logits, hidden = runtime.decode(int(tokens[slot - 1]))
        yield Start(runtime, int(logits.argmax()), hidden, tokens[:slot])


def start_round(pair: Pair, head: Head = "dense", position: Position = "transformers") -> Start:
    """A round several windows on."""
    return next(start_rounds(pair, SLOTS[-1:], head, position))


def expected_draft(pair: Pair, tokens: np.ndarray, token: int, *, dense: bool) -> Draft:
    """transformers' draft steps after `tokens` and then `token`."""
    target = pair.oracle.run_target(tokens)
    drafted, hidden, steps = [token], target.hidden[-1], []
    for _ in range(STEPS):
        steps.append(pair.oracle.draft_step(drafted[-1], hidden, target.caches, dense=dense))
        hidden = steps[-1].projected
        drafted.append(int(steps[-1].logits.argmax()))
    return Draft(drafted[1:], np.stack([s.logits for s in steps]), np.stack([s.projected for s in steps]))


def holds(found: Draft, expected: Draft) -> bool:
    projected = deviation(found.projected, expected.projected)
    logits = deviation(found.logits, expected.logits)
    return found.tokens == expected.tokens and logits.holds and projected.share <= TOLERANCE


@pytest.mark.parametrize("head", ["dense", "clustered"])
def test_draft_steps_equal_transformers(pair: Pair, head: Head) -> None:
    worst = [0.0, 0.0]
    for start in start_rounds(pair, SLOTS, head):
        found = start.draft()
        expected = expected_draft(pair, start.tokens, start.token, dense=head == "dense")
        assert holds(found, expected), start.runtime.position
        worst[0] = max(worst[0], deviation(found.logits, expected.logits).share)
        worst[1] = max(worst[1], deviation(found.projected, expected.projected).share)
    print(f"{pair.shape.name}: {head} logits {worst[0]:.1e}, projected {worst[1]:.1e} of their range")


def test_clustered_head_scores_the_same_candidates(pair: Pair) -> None:
    top_k, each = pair.shape.centroid_top_k, pair.drafter_config.tokens_per_centroid
    for start in start_rounds(pair, SLOTS, "clustered"):
        expected = expected_draft(pair, start.tokens, start.token, dense=False)
        for found, wanted in zip(start.draft().logits, expected.logits, strict=True):
            candidates = set(np.flatnonzero(found > found.min()))
            assert candidates == set(np.flatnonzero(wanted > wanted.min()))
            assert len(candidates) == top_k * each
            assert abs(found.min() - wanted.min()) <= TOLERANCE * np.ptp(wanted)
            np.testing.assert_allclose(np.sort(found)[-len(candidates)] - found.min(), 1.0, atol=1e-4)


def test_clustered_scores_are_the_dense_ones(e2b: Pair) -> None:
    """The two heads agree on every candidate: nothing was lost between the clusters' order and the ids'."""
    dense, clustered = (start_round(e2b, head).draft().logits[0] for head in ("dense", "clustered"))
    candidates = clustered > clustered.min()
    np.testing.assert_allclose(clustered[candidates], dense[candidates], atol=1e-4)


@pytest.mark.parametrize("name", ["e2b-like", "e4b-like"])
def test_first_round_of_assisted_generation(pairs: dict[str, Pair], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`generate(assistant_model=...)` itself: inputs, positions and K/V of its first round, and the outcome."""
    pair = pairs[name]
    drafter, calls = pair.oracle.drafter, []
    forward = drafter.forward

    def recorded(**inputs: Any) -> Any:
        calls.append((inputs, outputs := forward(**inputs)))
        return outputs

    monkeypatch.setattr(drafter, "forward", recorded)
    monkeypatch.setattr(drafter.generation_config, "num_assistant_tokens", STEPS)
    start = start_round(pair, "clustered")
    prompt = torch.from_numpy(start.tokens)[None]
    pair.oracle.target.generate(input_ids=prompt, assistant_model=drafter, max_new_tokens=STEPS + 2, do_sample=False)
    first_round = calls[:STEPS]
    assert [inputs["position_ids"].item() for inputs, _ in first_round] == [SLOTS[-1]] * STEPS
    rows = {keys.shape[2] for inputs, _ in first_round for keys, _ in inputs["shared_kv_states"].values()}
    assert rows == {SLOTS[-1]}
    logits = np.stack([outputs.logits[0, 0].numpy() for _, outputs in first_round])
    projected = np.stack([outputs.last_hidden_state[0, 0].numpy() for _, outputs in first_round])
    assert holds(start.draft(), Draft([int(row.argmax()) for row in logits], logits, projected))


def test_second_round_sees_accepted_rows_only(pair: Pair) -> None:
    """After verify rejected all but two of its rows, drafts equal transformers' over the accepted tokens."""
    start = start_round(pair)
    block = [start.token, *pair.tokens(STEPS, seed=2)]
    logits, hidden = start.runtime.verify(block)
    start.runtime.position += 2
    token = int(logits[1].argmax())
    found = start.runtime.draft(token, hidden[1], STEPS)
    accepted = np.array([*start.tokens, *block[:2]])
    assert holds(found, expected_draft(pair, accepted, token, dense=True))


def test_runtime_position_is_one_less(e2b: Pair) -> None:
    """position="runtime" rotates at what the runtime gives; that is not what transformers does."""
    start = start_round(e2b, position="runtime")
    target = e2b.oracle.run_target(start.tokens)
    logits = start.draft().logits[0]
    step = e2b.oracle.draft_step(start.token, target.hidden[-1], target.caches, dense=True, position=SLOTS[-1] - 1)
    assert deviation(logits, step.logits).holds
    transformers_step = e2b.oracle.draft_step(start.token, target.hidden[-1], target.caches, dense=True)
    assert deviation(logits, transformers_step.logits).share > 2 * TOLERANCE


class FirstDonor(DecoderConfig):
    """The drafter reads the first layer of a kind instead of the last that owns a cache."""

    def donor(self, kind: LayerKind) -> int:
        return self.layer_kinds.index(kind)


def with_window(pair: Pair, window: int) -> Pair:
    decoder = replace(pair.drafter_config.decoder, sliding_window=window)
    return replace(pair, drafter_config=replace(pair.drafter_config, decoder=decoder))


def with_first_donor(pair: Pair) -> Pair:
    wrong = FirstDonor(**vars(pair.target_config.decoder))
    return replace(pair, target_config=replace(pair.target_config, decoder=wrong))


CHANGED_PAIRS: dict[str, Callable[[Pair], Pair]] = {
    "window one longer": lambda pair: with_window(pair, WINDOW + 1),
    "window one shorter": lambda pair: with_window(pair, WINDOW - 1),
    "other donor": with_first_donor,
}


@pytest.mark.parametrize("control", CHANGED_PAIRS)
def test_wrong_graphs_do_not_hold(e2b: Pair, control: str) -> None:
    right = start_round(e2b)
    wrong = torch_call(load_section(CHANGED_PAIRS[control](e2b), names.DRAFTER, LENGTHS))
    expected = expected_draft(e2b, right.tokens, right.token, dense=True).logits[0]
    assert deviation(right.draft().logits[0], expected).holds
    right.runtime.drafter = wrong
    assert deviation(right.draft().logits[0], expected).share > 2 * TOLERANCE


def later_by_one(call: Call) -> Call:
    """The runtime's position and mask one row further, as if it handed over the last token's own slot."""

    def changed(name: str, inputs: dict[str, Any]) -> dict[str, Any]:
        mask = inputs[names.MASK].copy()
        mask[..., int(inputs[names.INPUT_POS][0]) + 1] = 0.0
        return call(name, {**inputs, names.INPUT_POS: inputs[names.INPUT_POS] + 1, names.MASK: mask})

    return changed


def hidden_state_first(call: Call) -> Call:
    def changed(name: str, inputs: dict[str, Any]) -> dict[str, Any]:
        embedded, hidden = np.split(inputs[names.ACTIVATIONS], 2, axis=-1)
        return call(name, {**inputs, names.ACTIVATIONS: np.concatenate([hidden, embedded], axis=-1)})

    return changed


@pytest.mark.parametrize("change", [later_by_one, hidden_state_first])
def test_wrong_inputs_do_not_hold(e2b: Pair, change: Callable[[Call], Call]) -> None:
    start = start_round(e2b)
    expected = expected_draft(e2b, start.tokens, start.token, dense=True).logits[0]
    start.runtime.drafter = change(start.runtime.drafter)
    assert deviation(start.draft().logits[0], expected).share > 2 * TOLERANCE
