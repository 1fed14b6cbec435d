"""Conversations: what a turn reuses, how a reply ends, and that drafting changes no token of the real bundle's text."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from edge_mtp.errors import EdgeMtpError
from edge_mtp.runner.drafting import ConfidentDraft, FixedDraft
from edge_mtp.runner.generate import Finish, Limits, Round, Speculation
from edge_mtp.runner.litert import LiteRTPair, open_pair
from edge_mtp.runner.sampling import Sampler
from edge_mtp.runner.session import Session
from edge_mtp.runner.trace import count
from tests.runner.fakes import FakeDrafter, FakeTarget, margins_of, tokens_of
from tests.runner.replies import MODEL, SAMPLERS, KeepsTooMany

MATCH = Speculation(FixedDraft(3))
POLICIES = {"K=1": FixedDraft(1), "K=2": FixedDraft(2), "K=3": FixedDraft(3), "confident": ConfidentDraft(3, 0.5)}
GREEDY, SIX, TOKENS = Sampler(), Limits(6), 48


class Spy(FakeTarget):
    """Counts what was processed before the first step of each reply."""

    def __init__(self, context_tokens: int = 64) -> None:
        super().__init__(MODEL, context_tokens)
        self.prefilled: list[int] = []

    def prefill(self, tokens: Sequence[int]) -> None:
        self.prefilled.append(len(tokens))
        super().prefill(tokens)


def session_of(target: FakeTarget, sampler: Sampler = GREEDY, how: Speculation | None = MATCH) -> Session:
    return Session(target, FakeDrafter(target, 0.8), sampler, how)


def reply_of(session: Session, tokens: Sequence[int], limits: Limits = SIX) -> list[int]:
    return tokens_of(list(session.reply(tokens, limits)))


def without_times(rounds: Sequence[Round]) -> list[Round]:
    return [replace(current, draft_s=0.0, target_s=0.0) for current in rounds]


@pytest.mark.parametrize("how", [None, MATCH], ids=["plain", "drafting"])
@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
def test_a_second_turn_takes_up_where_the_first_ended(sampler, how):
    target = Spy()
    session = session_of(target, sampler, how)
    first = [3, 1, 4, 1, 5]
    said = reply_of(session, first)
    again = [*first, *said, 9, 2]
    second = reply_of(session, again)
    assert target.prefilled == [4, 2], "of the second turn the last token said and the first of the question"
    assert second == reply_of(session_of(Spy(), sampler, how), again)


def test_a_row_too_many_is_seen_in_the_second_turn():
    target = KeepsTooMany(MODEL)
    session = Session(target, FakeDrafter(target, 0.8, strict=False), Sampler(), MATCH)
    first = [3, 1, 4, 1, 5]
    again = [*first, *reply_of(session, first), 9, 2]
    assert reply_of(session, again) != reply_of(session_of(Spy()), again)


@pytest.mark.parametrize("shared", [1, 3, 4])
def test_another_beginning_is_processed_anew_from_where_it_parts(shared):
    target = Spy()
    session = session_of(target)
    first = [3, 1, 4, 1, 5]
    reply_of(session, first)
    other = [*first[:shared], 8, 8, 8]
    second = reply_of(session, other)
    assert target.prefilled == [4, 2]
    assert second == reply_of(session_of(Spy()), other)


def test_the_same_prompt_again_processes_its_last_token_only():
    target = Spy()
    session = session_of(target)
    first = [3, 1, 4, 1, 5]
    assert reply_of(session, first) == reply_of(session, first)
    assert target.prefilled == [4]


def test_a_shorter_prompt_forgets_the_rest():
    session = session_of(Spy())
    reply_of(session, [3, 1, 4, 1, 5])
    assert reply_of(session, [3, 1]) == reply_of(session_of(Spy()), [3, 1])


def test_a_reply_that_nobody_read_to_its_end_is_forgotten():
    target = Spy()
    session = session_of(target)
    rounds = session.reply([3, 1, 4, 1, 5], Limits(20))
    read = [next(rounds), next(rounds)]
    rounds.close()
    assert session.trace is None
    again = [3, 1, 4, 1, 5, *tokens_of(read), 9]
    assert reply_of(session, again) == reply_of(session_of(Spy()), again)


def test_a_prompt_that_does_not_fit_is_refused_and_the_talk_goes_on():
    target = Spy(context_tokens=16)
    session = session_of(target)
    said = reply_of(session, [3, 1, 4])
    with pytest.raises(
        EdgeMtpError, match=r"the prompt needs 16 tokens, the bundle's context is 16 .*shorten the prompt"
    ):
        reply_of(session, [5] * 16)
    again = [3, 1, 4, *said, 7]
    assert reply_of(session, again) == reply_of(session_of(Spy(context_tokens=16)), again)
    assert len(reply_of(session, [5] * 15)) == 1, "one token less fits"


def test_a_prompt_of_no_tokens_is_refused():
    with pytest.raises(EdgeMtpError, match="nothing to generate: the prompt has no tokens"):
        reply_of(session_of(Spy()), [])


@pytest.mark.parametrize("target", [FakeTarget(MODEL, max_draft_steps=0), Spy()], ids=["no verify", "no drafter"])
def test_drafting_without_what_it_needs_is_refused(target):
    drafter = None if isinstance(target, Spy) else FakeDrafter(target)
    with pytest.raises(EdgeMtpError, match=r"the bundle cannot draft: it needs a drafter section .*--no-draft"):
        Session(target, drafter, Sampler(), MATCH)
    assert reply_of(Session(target, drafter, Sampler()), [3, 1])


def test_the_trace_of_a_reply():
    target = Spy()
    session = session_of(target)
    rounds = list(session.reply([3, 1, 4], Limits(9)))
    trace = session.trace
    assert trace is not None
    assert trace.rounds == tuple(rounds)
    assert (trace.prompt_tokens, len(trace.tokens)) == (3, 9)
    assert 0.0 < trace.first_token_s < trace.total_s
    reply_of(session, [3, 1, 4, *trace.tokens, 2])
    assert session.trace is not trace
    assert session.trace.prompt_tokens == 13


def test_what_the_reader_does_behind_the_last_token_is_not_counted(monkeypatch):
    clock = iter(range(10**6))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(clock)))
    session = session_of(Spy())
    for current in session.reply([3, 1, 4], SIX):
        if current.finish is not None:
            clock = iter(range(2 * 10**6, 3 * 10**6))
    assert session.trace.total_s < 10**6


# On the real bundle.


@pytest.fixture(scope="module")
def pair(int8) -> Iterator[LiteRTPair]:
    with open_pair(int8, threads=1) as made:
        yield made


class CountingPair:
    """A pair whose target counts the tokens it was given to prefill."""

    def __init__(self, pair: LiteRTPair, monkeypatch: pytest.MonkeyPatch) -> None:
        self.prefilled = 0
        whole = pair.target.prefill

        def prefill(tokens: Sequence[int]) -> None:
            self.prefilled += len(tokens)
            whole(tokens)

        monkeypatch.setattr(pair.target, "prefill", prefill)


def chat(text, *turns: str) -> list[int]:
    roles = ("user", "assistant")
    return text.chat_prompt([{"role": roles[i % 2], "content": turn} for i, turn in enumerate(turns)])


def generate(pair: LiteRTPair, prompt: Sequence[int], sampler: Sampler, how: Speculation | None, limits: Limits):
    return list(Session(pair.target, pair.drafter, sampler, how).reply(prompt, limits))


def parted(found: Sequence[Round], expected: Sequence[Round]) -> float | None:
    """None where both say the same for the same reason, else the margin of the first token that differs."""
    pairs = zip(tokens_of(found), tokens_of(expected), margins_of(expected), strict=False)
    margin = next((margin for one, other, margin in pairs if one != other), None)
    if margin is None and (len(tokens_of(found)), found[-1].finish) != (len(tokens_of(expected)), expected[-1].finish):
        return float("inf")
    return margin


SAMPLINGS = [Sampler(), *(Sampler(1.0, 64, 0.95, seed) for seed in (1, 2))]


@pytest.mark.parametrize("sampler", SAMPLINGS, ids=["greedy", "seed 1", "seed 2"])
def test_drafting_changes_no_token(pair, text, prompts, sampler):
    """`decode` and `verify` round differently, so that a near tie may tip; here none did."""
    limits = Limits(TOKENS, text.stop_tokens)
    made = accepted = 0
    for prompt in prompts:
        expected = generate(pair, chat(text, prompt), sampler, None, limits)
        for policy in POLICIES.values():
            found = generate(pair, chat(text, prompt), sampler, Speculation(policy), limits)
            assert (parted(found, expected) or 0.0) < 1e-3
            made, accepted = made + len(tokens_of(found)), accepted + count(found).accepted
    assert accepted > 0.05 * made > 0, "else nothing was put to the test"


def test_another_seed_says_something_else(pair, text, prompts):
    """And so would drafts that are kept without asking the target."""
    limits = Limits(TOKENS, text.stop_tokens)
    prompt = chat(text, prompts[0])
    expected = generate(pair, prompt, Sampler(1.0, 64, 0.95, 1), None, limits)
    assert parted(generate(pair, prompt, Sampler(1.0, 64, 0.95, 2), MATCH, limits), expected) > 1e-3
    greedy = generate(pair, prompt, Sampler(), None, limits)
    keeps_all = Speculation(FixedDraft(3), "rejection", False, lambda d, t, drafts, a, c: AllAccepted(len(drafts)))
    assert parted(generate(pair, prompt, Sampler(), keeps_all, limits), greedy) > 1e-3


class AllAccepted:
    """An acceptance that keeps every draft, and adds a token of no meaning."""

    def __init__(self, drafts: int) -> None:
        self.count, self.token = drafts, 5


def test_fewer_drafts_make_more_rounds(pair, text, prompts):
    limits, prompt = Limits(TOKENS), chat(text, prompts[0])
    rounds = {name: generate(pair, prompt, Sampler(), Speculation(policy), limits) for name, policy in POLICIES.items()}
    counters = {name: count(made) for name, made in rounds.items()}
    assert counters["K=1"].rounds > counters["K=2"].rounds > counters["K=3"].rounds
    for steps in (1, 2, 3):
        assert len(counters[f"K={steps}"].drafted_at) == steps
    assert 0 < counters["confident"].drafted < counters["K=3"].drafted
    assert counters["confident"].acceptance_rate > counters["K=3"].acceptance_rate


@pytest.mark.parametrize("how", [None, MATCH], ids=["plain", "drafting"])
def test_a_second_turn_on_the_bundle(pair, text, prompts, how, monkeypatch):
    limits, counting = Limits(TOKENS, text.stop_tokens), CountingPair(pair, monkeypatch)
    session = Session(pair.target, pair.drafter, Sampler(), how)
    first = chat(text, prompts[0])
    said = tokens_of(list(session.reply(first, limits)))
    assert counting.prefilled == len(first) - 1
    again = chat(text, prompts[0], text.decode([token for token in said if token not in text.stop_tokens]), prompts[1])
    counting.prefilled = 0
    second = list(session.reply(again, limits))
    assert counting.prefilled < len(again) - len(first)
    assert session.trace.prompt_tokens == len(again)
    fresh = generate(pair, again, Sampler(), None, limits)
    assert (parted(second, fresh) or 0.0) < 1e-3


@pytest.mark.parametrize("budget", range(1, 7))
def test_a_reply_cut_by_its_budget_is_the_beginning_of_the_longer(pair, text, prompts, budget):
    prompt = chat(text, prompts[2])
    whole = tokens_of(generate(pair, prompt, Sampler(), MATCH, Limits(12)))
    cut = generate(pair, prompt, Sampler(), MATCH, Limits(budget))
    assert tokens_of(cut) == whole[:budget]
    assert cut[-1].finish is Finish.LENGTH


@pytest.mark.parametrize("how", [None, MATCH], ids=["plain", "drafting"])
def test_the_context_can_be_filled_to_its_last_slot(pair, text, how):
    prompt = [text.start_token, *([700] * 1009)]
    rounds = generate(pair, prompt, Sampler(), how, Limits(100))
    assert len(tokens_of(rounds)) == 1024 - len(prompt)
    assert rounds[-1].finish is Finish.CONTEXT
    assert (parted(rounds, generate(pair, prompt, Sampler(), None, Limits(100))) or 0.0) < 1e-3
    with pytest.raises(EdgeMtpError, match=r"the prompt needs 1024 tokens, the bundle's context is 1024"):
        generate(pair, [*prompt, *([700] * 14)], Sampler(), how, Limits(100))
