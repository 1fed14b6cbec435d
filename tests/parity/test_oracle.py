"""The oracle against transformers' own greedy and assisted generation, which is the oracle's oracle."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edge_mtp.parity.oracle import Oracle, OracleDrafter, OracleTarget, load_oracle, load_tokenizer, render_chat
from edge_mtp.runner.drafting import FixedDraft
from edge_mtp.runner.generate import Limits, Round, Speculation, plain, speculative
from edge_mtp.runner.protocols import DraftScores, Target
from edge_mtp.runner.replay import drafts_after, replay
from edge_mtp.runner.sampling import Sampler
from edge_mtp.runner.trace import Counters, count
from tests.conftest import TINY
from tests.parity.spoilt_oracle import (
    ForgetsFirstToken,
    HiddenRowBefore,
    KeepsRejected,
    OneSlotOn,
    ShowsEveryRow,
    close,
)
from tests.random_pair import SHAPES, write_pair

STEPS = 3
NEW_TOKENS = 48
WINDOW = 64
DEV_ACCEPTANCE = 0.603
"""tests/data/tiny/README.md: clustered head, live greedy rounds of three drafts over the 32 dev prompts."""

GREEDY = Sampler()
HOW = Speculation(FixedDraft(STEPS))


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return load_oracle(TINY / "target", TINY / "drafter", threads=1)


@pytest.fixture(scope="module")
def dev() -> list[list[int]]:
    """The held-out dev prompts as token ids."""
    tokenizer = load_tokenizer(TINY / "target")
    messages = json.loads((TINY / "heldout_prompts.json").read_text())["dev"]
    return [render_chat(tokenizer, [{"role": "user", "content": message}]) for message in messages]


@pytest.fixture(scope="module")
def long_prompt(dev: list[list[int]]) -> list[int]:
    """All dev prompts in a row, cut to several windows; no chat anyone would have, which generation does not mind."""
    tokens = [token for prompt in dev for token in prompt]
    return tokens[-(5 * WINDOW + 7) :]


@pytest.fixture(scope="module")
def prompts(dev: list[list[int]], long_prompt: list[int]) -> list[list[int]]:
    return [*dev[:8], long_prompt]


@pytest.fixture(scope="module")
def generated(oracle: Oracle, prompts: list[list[int]]) -> list[list[int]]:
    """transformers' own greedy replies."""
    return [transformers_reply(oracle, prompt) for prompt in prompts]


def transformers_reply(oracle: Oracle, prompt: Sequence[int], **settings: Any) -> list[int]:
    ids = torch.tensor([list(prompt)])
    settings = {"max_new_tokens": NEW_TOKENS, "do_sample": False, "top_k": None, "top_p": None, **settings}
    return oracle.pair.target.generate(ids, **settings)[0, len(prompt) :].tolist()


def limits(oracle: Oracle, max_tokens: int = NEW_TOKENS) -> Limits:
    eos = oracle.pair.target.generation_config.eos_token_id
    return Limits(max_tokens, frozenset(eos if isinstance(eos, list) else [eos]))


def text(rounds: Sequence[Round]) -> list[int]:
    return [token for current in rounds for token in current.tokens]


@pytest.mark.parametrize(("kind", "same"), [(OracleTarget, True), (ForgetsFirstToken, False)])
def test_plain_equals_generate(oracle, prompts, generated, kind: type[OracleTarget], same: bool) -> None:
    assert len(prompts) == 9 and len(prompts[-1]) > 300
    found = [text(list(plain(kind(oracle), prompt, GREEDY, limits(oracle)))) for prompt in prompts]
    assert (found == generated) is same


@pytest.mark.parametrize(("kind", "same"), [(OracleTarget, True), (KeepsRejected, False)])
def test_speculative_equals_plain(oracle, prompts, generated, kind: type[OracleTarget], same: bool) -> None:
    found, total = [], Counters()
    for prompt in prompts:
        target = kind(oracle)
        rounds = list(speculative(target, OracleDrafter(target), prompt, GREEDY, limits(oracle), HOW))
        found.append(text(rounds))
        total += count(rounds)
    assert 0 < total.accepted < total.drafted
    assert (found == generated) is same


def recorded_drafts(oracle: Oracle, prompt: Sequence[int], patch: pytest.MonkeyPatch) -> list[DraftScores]:
    """What the drafter said in the first round of `generate(assistant_model=...)`."""
    drafter, calls = oracle.pair.drafter, []
    forward = drafter.forward

    def recorded(**inputs: Any) -> Any:
        calls.append(outputs := forward(**inputs))
        return outputs

    with patch.context() as during:
        during.setattr(drafter, "forward", recorded)
        during.setattr(drafter.generation_config, "num_assistant_tokens", STEPS)
        transformers_reply(oracle, prompt, assistant_model=drafter, max_new_tokens=STEPS + 2)
    return [DraftScores(call.logits[0, 0].numpy(), call.last_hidden_state[0, 0].numpy()) for call in calls[:STEPS]]


def own_drafts(drafter: OracleDrafter, prompt: Sequence[int], *, late: bool = False) -> list[DraftScores]:
    """Our first round after `prompt`; `late` takes the hidden row of the token before."""
    target = drafter.target
    target.prefill(prompt[:-2])
    before, last = target.decode(prompt[-2]), target.decode(prompt[-1])
    token, hidden, made = int(last.logits[0].argmax()), (before if late else last).hidden[0], []
    for _ in range(STEPS):
        made.append(drafter.draft(token, hidden, target.position))
        token, hidden = int(made[-1].logits.argmax()), made[-1].hidden
    return made


def test_first_round_equals_assisted_generation(oracle, dev, long_prompt, monkeypatch) -> None:
    for prompt in (dev[0], dev[1], long_prompt):
        expected = recorded_drafts(oracle, prompt, monkeypatch)
        assert close(own_drafts(OracleDrafter(OracleTarget(oracle)), prompt), expected)
        wrong = {
            "one slot on": own_drafts(OneSlotOn(OracleTarget(oracle)), prompt),
            "hidden row before": own_drafts(OracleDrafter(OracleTarget(oracle)), prompt, late=True),
            "dense head": own_drafts(OracleDrafter(OracleTarget(oracle), dense=True), prompt),
        }
        assert [name for name, drafts in wrong.items() if close(drafts, expected)] == []


def test_dense_head_scores_candidates_alike(oracle, dev) -> None:
    clustered, dense = (
        own_drafts(OracleDrafter(OracleTarget(oracle), dense=d), dev[0])[0].logits for d in (False, True)
    )
    candidates = clustered > clustered.min()
    assert candidates.sum() < dense.size
    np.testing.assert_allclose(clustered[candidates], dense[candidates], atol=1e-4)
    assert oracle.pair.drafter.config.use_ordered_embeddings


def drafts_over(target: OracleTarget, prompt: Sequence[int], reply: Sequence[int]) -> Counters:
    """Counters by replay, from a conversation that has already gone through the whole reply."""
    tokens = [*prompt, *reply]
    target.prefill(tokens)
    hidden, drafter = target.oracle.score(tokens).hidden, OracleDrafter(target)
    slots = range(len(prompt), len(tokens))
    table = [drafts_after(drafter, tokens[slot], hidden[slot - 1], slot, STEPS) for slot in slots]
    return replay(reply, table, NEW_TOKENS, STEPS)


@pytest.mark.parametrize(("kind", "same"), [(OracleTarget, True), (ShowsEveryRow, False)])
def test_replay_from_earlier_slots_equals_live_rounds(oracle, prompts, kind: type[OracleTarget], same: bool) -> None:
    live, replayed = Counters(), Counters()
    for prompt in prompts[-3:]:
        target = OracleTarget(oracle)
        rounds = list(speculative(target, OracleDrafter(target), prompt, GREEDY, limits(oracle), HOW))
        live += count(rounds)
        replayed += drafts_over(kind(oracle), prompt, text(rounds))
    assert (replayed == live) is same


@pytest.mark.parametrize(("kind", "near"), [(OracleTarget, True), (HiddenRowBefore, False)])
def test_acceptance_is_the_recorded_one(oracle, dev, kind: type[OracleTarget], near: bool) -> None:
    total = Counters()
    for prompt in dev:
        target = kind(oracle)
        total += count(speculative(target, OracleDrafter(target), prompt, GREEDY, limits(oracle, 64), HOW))
    rate = total.acceptance_rate
    print(f"acceptance {rate:.3f} by position {total.rate_at} rounds {total.rounds}")
    assert (abs(rate - DEV_ACCEPTANCE) < 0.02) is near


@pytest.mark.parametrize("name", ["e4b-like", "irregular", "no per-layer embeddings"])
def test_other_architectures(name: str, tmp_path: Path) -> None:
    """Two KV heads, other donors, a text-only checkpoint: plain, speculative and generate agree."""
    write_pair(SHAPES[name], tmp_path)
    oracle = load_oracle(tmp_path / "target", tmp_path / "drafter", threads=1)
    prompt = np.random.default_rng(5).integers(3, SHAPES[name].vocab_size, 40).tolist()
    end = Limits(24, frozenset())
    target = OracleTarget(oracle)
    rounds = list(speculative(target, OracleDrafter(target), prompt, GREEDY, end, HOW))
    assert text(rounds) == text(list(plain(OracleTarget(oracle), prompt, GREEDY, end)))
    assert text(rounds) == transformers_reply(oracle, prompt, max_new_tokens=24, eos_token_id=None)
    assert {keys.shape[1] for keys, _ in target.donors(target.position).values()} == {SHAPES[name].kv_heads}


def test_it_is_a_target(oracle) -> None:
    target: Target = OracleTarget(oracle, context_tokens=40)
    assert (target.context_tokens, target.max_draft_steps) == (40, 39)
    assert OracleTarget(oracle).context_tokens == 4096
