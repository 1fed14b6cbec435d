"""Any draft length from one reply: the counters are those of a live run with it."""

from dataclasses import replace

import numpy as np
import pytest

from edge_mtp.runner.drafting import ConfidentDraft, FixedDraft, confidence
from edge_mtp.runner.generate import Finish, Limits, Speculation
from edge_mtp.runner.replay import DraftsAfter, drafts_after, replay
from edge_mtp.runner.sampling import Sampler
from edge_mtp.runner.trace import Counters, count
from tests.runner.fakes import FakeDrafter, FakeTarget, tokens_of
from tests.runner.replies import MODEL, PROMPT, plain_reply, speculative_reply

LONGEST = 4
SAMPLERS = {"greedy": Sampler(), "warm": Sampler(0.7, top_k=6, seed=2)}
SKILLS = [0.0, 0.6, 0.8, 1.0]
STOP = frozenset({6, 13})
THRESHOLDS = [0.2, 0.3, 0.5, 1.1]


def table_of(reply, skill, steps=LONGEST):
    """What the drafter proposes behind every token of a reply, which the target is fed token by token."""
    target = FakeTarget(MODEL)
    drafter = FakeDrafter(target, skill)
    target.prefill(PROMPT[:-1])
    token, table = PROMPT[-1], []
    for following in reply:
        hidden = target.decode(token).hidden[0].copy()
        table.append(drafts_after(drafter, following, hidden, target.position, steps))
        token = following
    return table


def live(sampler, policy, limits, skill, context_tokens=64):
    target = FakeTarget(MODEL, context_tokens)
    return speculative_reply(sampler, Speculation(policy), limits, skill, target)


@pytest.mark.parametrize("max_tokens", [1, 2, 3, 7, 30])
@pytest.mark.parametrize("skill", SKILLS)
@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
def test_replies_that_used_their_budget(sampler, skill, max_tokens):
    limits = Limits(max_tokens)
    reply = tokens_of(plain_reply(sampler, limits))
    table = table_of(reply, skill)
    for steps in range(1, LONGEST + 1):
        assert replay(reply, table, max_tokens, steps) == count(live(sampler, FixedDraft(steps), limits, skill))


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
def test_stopping_early(sampler, threshold):
    limits = Limits(30)
    reply = tokens_of(plain_reply(sampler, limits))
    for skill in SKILLS:
        table = table_of(reply, skill)
        for steps in (2, 4):
            rounds = live(sampler, ConfidentDraft(steps, threshold), limits, skill)
            assert replay(reply, table, 30, steps, threshold) == count(rounds)


def test_lengths_and_thresholds_do_make_a_difference():
    reply = tokens_of(plain_reply(Sampler(), Limits(30)))
    table = table_of(reply, 0.8)
    found = [replay(reply, table, 30, steps) for steps in range(1, 5)]
    assert len(set(found)) == 4
    lengths = [counters.mean_length for counters in found]
    assert lengths == sorted(lengths)
    by_threshold = {replay(reply, table, 30, 4, threshold) for threshold in THRESHOLDS}
    assert len(by_threshold) == len(THRESHOLDS)
    assert replay(reply, table, 30, 4, THRESHOLDS[-1]) == found[0]


def test_the_context_is_a_budget():
    """Such a reply has no more tokens to come, so the budget to replay with is its own length."""
    context_tokens = len(PROMPT) + 12
    rounds = live(Sampler(), FixedDraft(3), Limits(99), 0.8, context_tokens)
    assert rounds[-1].finish is Finish.CONTEXT
    reply = tokens_of(rounds)
    table = table_of(reply, 0.8)
    assert replay(reply, table, len(reply), 3) == count(rounds)
    assert replay(reply, table, 99, 3) != count(rounds)


def known(rounds):
    """Counters of live rounds with the drafts behind the stop token taken for rejected."""
    last = rounds[-1]
    return count([*rounds[:-1], replace(last, accepted=min(last.accepted, len(last.tokens)))])


def stopped_runs():
    """(reply, live rounds, skill, steps) that ended by a stop token."""
    for seed in range(16):
        for skill in (0.6, 1.0):
            for steps in (1, 3, 4):
                sampler = Sampler(0.5, seed=seed)
                rounds = live(sampler, FixedDraft(steps), Limits(30, STOP), skill)
                if rounds[-1].finish is Finish.STOP:
                    yield tokens_of(rounds), rounds, skill, steps


def test_replies_that_stopped():
    """All but what the target would have said behind the stop token, which only a live round knows."""
    differing = 0
    for reply, rounds, skill, steps in stopped_runs():
        found = replay(reply, table_of(reply, skill), 30, steps)
        assert found == known(rounds)
        assert found.rounds == count(rounds).rounds
        assert found.drafted_at == count(rounds).drafted_at
        assert found.accepted <= count(rounds).accepted
        differing += found != count(rounds)
    assert differing > 3


def test_enough_replies_stopped():
    runs = list(stopped_runs())
    assert len(runs) > 20
    assert any(rounds[-1].tokens[-1] in rounds[-1].drafts[:1] for _, rounds, _, _ in runs)


def test_the_table_is_what_live_rounds_drafted():
    rounds = live(Sampler(), FixedDraft(LONGEST), Limits(30), 0.8)
    reply = tokens_of(rounds)
    table = {entry.position: entry for entry in table_of(reply, 0.8)}
    assert sorted(table) == list(range(len(PROMPT), len(PROMPT) + 30))
    for current in rounds[1:-1]:
        assert table[current.position].tokens[: len(current.drafts)] == current.drafts != ()
    assert all(0.0 < sure <= 1.0 for entry in table.values() for sure in entry.confidences)


@pytest.mark.parametrize("spoil", ["a row late", "a token changed", "another budget"])
def test_a_wrong_table_is_noticed(spoil):
    limits = Limits(30)
    reply = tokens_of(plain_reply(Sampler(), limits))
    table, budget = table_of(reply, 0.8), 30
    expected = count(live(Sampler(), FixedDraft(3), limits, 0.8))
    if spoil == "a row late":
        table = [*table[1:], table[-1]]
    elif spoil == "a token changed":
        table[0] = replace(table[0], tokens=tuple((token + 1) % 16 for token in table[0].tokens))
    else:
        budget = 40
    assert replay(reply, table, budget, 3) != expected


def test_as_sure_as_asked_goes_on():
    """Live and replayed alike."""
    assert confidence(np.zeros(2, np.float32)) == 0.5
    assert ConfidentDraft(2, 0.5).goes_on(np.zeros(2, np.float32))
    assert not ConfidentDraft(2, 0.501).goes_on(np.zeros(2, np.float32))
    table = [DraftsAfter(0, (1, 2, 3), (0.5, 0.5, 0.5))] * 3
    assert [replay([0, 1, 9], table, 9, 3, threshold).drafted for threshold in (0.5, 0.501)] == [3, 1]


def test_replies_too_short_to_draft():
    assert replay([], [], 5, 3) == Counters()
    assert replay([4], table_of([4], 1.0), 1, 3) == Counters()
