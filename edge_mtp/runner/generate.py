"""Plain and speculative decoding as generators of rounds, over any target and drafter.

A plain step is a round without drafts, so whoever reads rounds need not know which loop made them. After a reply
the target has processed every token but the last one emitted, which therefore opens the next turn's prompt.
The order of a round follows LiteRT-LM (runtime/executor/llm_litert_mtp_drafter.cc): after prefill one plain step,
then draft, verify, and the hidden state of the last accepted row starts the next round's drafts.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

import numpy as np

from edge_mtp.errors import EdgeMtpError
from edge_mtp.runner.acceptance import Accepted, RejectionRule, accept_match, accept_rejection
from edge_mtp.runner.drafting import DraftPolicy
from edge_mtp.runner.protocols import Drafter, Floats, Scores, Target
from edge_mtp.runner.sampling import Choice, Probabilities, Sampler, choose, draw, probabilities
from edge_mtp.runner.uniforms import Purpose, uniform

Rule = Literal["match", "rejection"]


class Finish(StrEnum):
    """Why a reply ended."""

    STOP = "stop"
    LENGTH = "length"
    CONTEXT = "context"


@dataclass(frozen=True)
class Limits:
    """When a reply ends: `max_tokens` emitted (a stop token counts), a stop token, or the context full."""

    max_tokens: int
    stop_tokens: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Round:
    """One step of a reply.

    `position` is the slot of the token it started from, `tokens` what it emitted, `margins` how firm each choice was
    (see `sampling.Choice`), `drafts` what was proposed (none in a plain step) and `accepted` how many of them the
    rule kept, also where a stop token or the budget then cut the reply. `draft_s` and `target_s` are seconds.
    """

    position: int
    tokens: tuple[int, ...]
    margins: tuple[float, ...]
    drafts: tuple[int, ...] = ()
    accepted: int = 0
    draft_s: float = 0.0
    target_s: float = 0.0
    finish: Finish | None = None


@dataclass(frozen=True)
class Speculation:
    """How to draft and accept. `draft_sampled` draws drafts instead of taking the drafter's best.

    `rejection` is what rule "rejection" applies; `edge_mtp.parity.losslessness` puts broken ones here.
    """

    policy: DraftPolicy
    rule: Rule = "match"
    draft_sampled: bool = False
    rejection: RejectionRule = accept_rejection


def plain(target: Target, prompt: Sequence[int], sampler: Sampler, limits: Limits) -> Iterator[Round]:
    """One round a token. prompt: the tokens not yet processed, at least one; see the module for the next turn's."""
    token, ended = _start(target, prompt, limits), _Ending(limits, target.context_tokens)
    while ended.finish is None:
        current, _ = _plain_round(target, token, sampler, ended)
        yield current
        token = current.tokens[-1]


def speculative(
    target: Target, drafter: Drafter, prompt: Sequence[int], sampler: Sampler, limits: Limits, how: Speculation
) -> Iterator[Round]:
    """One round a draft-and-verify cycle, the first one plain. `prompt` as in `plain`."""
    token, ended = _start(target, prompt, limits), _Ending(limits, target.context_tokens)
    current, hidden = _plain_round(target, token, sampler, ended)
    yield current
    while ended.finish is None:
        room = ended.room(target.position)
        steps = min(how.policy.steps, target.max_draft_steps, room - 1)
        if steps < 1:
            current, hidden = _plain_round(target, current.tokens[-1], sampler, ended)
        else:
            current, hidden = _speculative_round(
                target, drafter, current.tokens[-1], hidden, sampler, ended, how, steps
            )
        yield current


@dataclass
class _Ending:
    """Counts what a reply has emitted, and says when and why it ends."""

    limits: Limits
    context_tokens: int
    emitted: int = 0
    finish: Finish | None = None

    def room(self, position: int) -> int:
        """Tokens that may still be emitted when the token at `position` is the last one."""
        return min(self.limits.max_tokens - self.emitted, self.context_tokens - position - 1)

    def cut(self, position: int, tokens: Sequence[int]) -> tuple[int, ...]:
        """What plain decoding would have emitted of `tokens`, which follow the one at `position`."""
        room = self.room(position)
        kept = tuple(tokens[:room])
        stop = next((i for i, token in enumerate(kept) if token in self.limits.stop_tokens), None)
        if stop is not None:
            kept, self.finish = kept[: stop + 1], Finish.STOP
        elif len(kept) == room:
            spent = self.emitted + room == self.limits.max_tokens
            self.finish = Finish.LENGTH if spent else Finish.CONTEXT
        self.emitted += len(kept)
        return kept


def _start(target: Target, prompt: Sequence[int], limits: Limits) -> int:
    """Processes the prompt up to its last token, which is returned."""
    if not prompt or limits.max_tokens < 1:
        raise EdgeMtpError("nothing to generate: the prompt has no tokens, or no output tokens are allowed")
    total = target.position + len(prompt)
    if total >= target.context_tokens:
        raise EdgeMtpError(
            f"the prompt needs {total} tokens, the bundle's context is {target.context_tokens} for prompt and reply "
            "together; shorten the prompt, or export with a larger context_tokens"
        )
    if len(prompt) > 1:
        target.prefill(prompt[:-1])
    return prompt[-1]


def _plain_round(target: Target, token: int, sampler: Sampler, ended: _Ending) -> tuple[Round, Floats]:
    """A round without drafts, and the hidden state [width] that led to its token."""
    position, started = target.position, time.perf_counter()
    scores = target.decode(token)
    target_s = time.perf_counter() - started
    choice = choose(scores.logits[0], sampler, position + 1)
    tokens = ended.cut(position, [choice.token])
    hidden = scores.hidden[0].copy()
    return Round(position, tokens, (choice.margin,), target_s=target_s, finish=ended.finish), hidden


def _speculative_round(
    target: Target,
    drafter: Drafter,
    token: int,
    hidden: Floats,
    sampler: Sampler,
    ended: _Ending,
    how: Speculation,
    steps: int,
) -> tuple[Round, Floats]:
    """Draft, verify, accept, keep; with the hidden state that led to the round's last token."""
    position, started = target.position, time.perf_counter()
    proposal = propose(drafter, token, hidden, position, sampler, how, steps)
    drafted = time.perf_counter()
    scores = target.verify([token, *proposal.tokens])
    verified = time.perf_counter()
    accepted, margins = _accept(scores, proposal, sampler, how, position)
    emitted = ended.cut(position, [*proposal.tokens[: accepted.count], accepted.token])
    target.keep(len(emitted))
    current = Round(
        position=position,
        tokens=emitted,
        margins=tuple(margins[: len(emitted)]),
        drafts=tuple(proposal.tokens),
        accepted=accepted.count,
        draft_s=drafted - started,
        target_s=verified - drafted,
        finish=ended.finish,
    )
    return current, scores.hidden[len(emitted) - 1].copy()


@dataclass
class Proposal:
    """A round's drafts, and where they were drawn the distributions they came from [vocab] each."""

    tokens: list[int] = field(default_factory=list)
    probs: list[Probabilities] = field(default_factory=list)


def propose(
    drafter: Drafter, token: int, hidden: Floats, position: int, sampler: Sampler, how: Speculation, steps: int
) -> Proposal:
    """Up to `steps` drafts after `token` at slot `position`; hidden [width] is the state that led to `token`."""
    made = Proposal()
    for step in range(steps):
        scores = drafter.draft(token, hidden, position)
        token = _draft_token(scores.logits, sampler, how, position + 1 + step, made)
        made.tokens.append(token)
        if step + 1 == steps or not how.policy.goes_on(scores.logits):
            break
        hidden = scores.hidden
    return made


def _draft_token(logits: Floats, sampler: Sampler, how: Speculation, slot: int, made: Proposal) -> int:
    """The draft for `slot`. Matching drafts share the target's number, which makes equal tokens likelier."""
    if how.draft_sampled:
        probs = probabilities(logits, sampler)
        purpose = Purpose.CHOICE if how.rule == "match" else Purpose.DRAFT
        token = draw(probs, uniform(sampler.seed, slot, purpose))
    else:
        token = int(logits.argmax())
        probs = np.zeros(0)
    if how.rule == "rejection":
        made.probs.append(probs if how.draft_sampled else one_hot(token, logits.shape[-1]))
    return token


def one_hot(token: int, vocab_size: int) -> Probabilities:
    """All probability on `token` [vocab_size]."""
    probs = np.zeros(vocab_size)
    probs[token] = 1.0
    return probs


def _accept(
    scores: Scores, proposal: Proposal, sampler: Sampler, how: Speculation, position: int
) -> tuple[Accepted, list[float]]:
    """What the rule keeps, and the margin of every token up to the one it adds."""
    slots = range(position + 1, position + 2 + len(proposal.tokens))
    if how.rule == "match":
        choices = _choices(scores, proposal.tokens, sampler, slots)
        accepted = accept_match(proposal.tokens, [choice.token for choice in choices])
        return accepted, [choice.margin for choice in choices]
    accepted = how.rejection(
        np.stack(proposal.probs),
        np.stack([probabilities(scores.logits[row], sampler) for row in range(len(slots))]),
        proposal.tokens,
        [uniform(sampler.seed, slot, Purpose.ACCEPT) for slot in slots[:-1]],
        [uniform(sampler.seed, slot, Purpose.CHOICE) for slot in slots],
    )
    return accepted, [0.0] * len(slots)


def _choices(scores: Scores, drafts: Sequence[int], sampler: Sampler, slots: range) -> list[Choice]:
    """The target's own tokens, row by row, up to the first that is not the draft; the rest would not be read."""
    made: list[Choice] = []
    for row, slot in enumerate(slots):
        made.append(choose(scores.logits[row], sampler, slot))
        if row < len(drafts) and made[-1].token != drafts[row]:
            break
    return made
