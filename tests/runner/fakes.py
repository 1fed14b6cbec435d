"""A target and a drafter over made-up logits that depend on every token before, and that notice wrong bookkeeping.

The target keeps the tokens written to its KV rows and scores row i from rows 0..i, so a row too many or too few
changes all that follows. Its outputs are views that the next call overwrites. A hidden state names the tokens it
came from, and the drafter refuses one that does not fit the rows and the token it is given.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from edge_mtp.runner.generate import Limits, Round, Speculation, plain, speculative
from edge_mtp.runner.protocols import DraftScores, Floats, Scores
from edge_mtp.runner.sampling import Sampler

HIDDEN_WIDTH = 4
NOTHING = 1 << 31
"""What a row holds that was never written: no token, but scores follow from it as well."""


class FakeModel:
    """prefix -> logits [vocab] and hidden state [4], made up but always the same."""

    def __init__(self, seed: int = 0, vocab_size: int = 16, scale: float = 2.0) -> None:
        self.seed, self.vocab_size, self.scale = seed, vocab_size, scale
        self._logits: dict[tuple[int, ...], Floats] = {}
        self._prefixes: dict[tuple[float, ...], tuple[int, ...]] = {}

    def logits(self, prefix: Sequence[int]) -> Floats:
        key = tuple(prefix)
        if key not in self._logits:
            generator = np.random.default_rng([self.seed, *key])
            self._logits[key] = (self.scale * generator.standard_normal(self.vocab_size)).astype(np.float32)
        return self._logits[key]

    def hidden(self, prefix: Sequence[int]) -> Floats:
        digest = hashlib.blake2b(repr((self.seed, tuple(prefix))).encode(), digest_size=2 * HIDDEN_WIDTH).digest()
        values = np.frombuffer(digest, np.uint16).astype(np.float32)
        self._prefixes[tuple(values.tolist())] = tuple(prefix)
        return values

    def prefix_of(self, hidden: Floats) -> tuple[int, ...]:
        prefix = self._prefixes.get(tuple(hidden.tolist()))
        assert prefix is not None, "a hidden state that no prefix gave"
        return prefix


class FakeTarget:
    def __init__(self, model: FakeModel, context_tokens: int = 64, max_draft_steps: int = 4) -> None:
        self.model, self.context_tokens, self.max_draft_steps = model, context_tokens, max_draft_steps
        self.position = 0
        self.rows = [NOTHING] * context_tokens
        self._logits = np.empty((max_draft_steps + 1, model.vocab_size), np.float32)
        self._hidden = np.empty((max_draft_steps + 1, HIDDEN_WIDTH), np.float32)
        self._verified = 0

    def prefill(self, tokens: Sequence[int]) -> None:
        assert tokens
        self._write(tokens)
        self.position += len(tokens)

    def decode(self, token: int) -> Scores:
        scores = self._scores([token])
        self.position += 1
        return scores

    def verify(self, tokens: Sequence[int]) -> Scores:
        assert 2 <= len(tokens) <= self.max_draft_steps + 1
        self._verified = len(tokens)
        return self._scores(tokens)

    def keep(self, rows: int) -> None:
        assert 1 <= rows <= self._verified, "only what was verified can be kept"
        self._verified = 0
        self.position += rows

    def rewind(self, position: int) -> None:
        assert 0 <= position <= self.position
        self.position = position

    def _write(self, tokens: Sequence[int]) -> None:
        assert self.position + len(tokens) <= len(self.rows), "behind the context's last row"
        self.rows[self.position : self.position + len(tokens)] = tokens

    def _scores(self, tokens: Sequence[int]) -> Scores:
        self._write(tokens)
        self._logits[:], self._hidden[:] = np.nan, np.nan
        for row in range(len(tokens)):
            prefix = self.rows[: self.position + row + 1]
            self._logits[row], self._hidden[row] = self.model.logits(prefix), self.model.hidden(prefix)
        return Scores(self._logits[: len(tokens)], self._hidden[: len(tokens)])


class FakeDrafter:
    """Drafts the target's own scores mixed with noise: `skill` 1 is perfect, 0 useless.

    Without `strict` it takes any hidden state and position, so that only what is emitted can show a mistake.
    """

    def __init__(self, target: FakeTarget, skill: float = 0.7, strict: bool = True) -> None:
        self.target, self.skill, self.strict = target, skill, strict
        self.noise = FakeModel(target.model.seed + 1000, target.model.vocab_size, target.model.scale)
        self._step_before: tuple[int, tuple[int, ...]] | None = None

    def draft(self, token: int, hidden: Floats, position: int) -> DraftScores:
        before = self.target.model.prefix_of(hidden)
        if self.strict:
            self._check(before, position)
        prefix = (*before, token)
        self._step_before = position, prefix
        mixed = self.skill * self.target.model.logits(prefix) + (1.0 - self.skill) * self.noise.logits(prefix)
        return DraftScores(mixed.astype(np.float32), self.target.model.hidden(prefix))

    def _check(self, before: tuple[int, ...], position: int) -> None:
        assert position == self.target.position, "not the slot of the round's first token"
        rows = tuple(self.target.rows[:position])
        assert before == rows or (position, before) == self._step_before, "a hidden state of other rows"
        assert len(before) - position < self.target.max_draft_steps, "more steps than the target can verify"


def run_plain(target: FakeTarget, prompt: Sequence[int], sampler: Sampler, limits: Limits) -> list[Round]:
    return list(plain(target, prompt, sampler, limits))


def run_speculative(
    target: FakeTarget,
    prompt: Sequence[int],
    sampler: Sampler,
    limits: Limits,
    how: Speculation,
    skill: float = 0.7,
    strict: bool = True,
) -> list[Round]:
    return list(speculative(target, FakeDrafter(target, skill, strict), prompt, sampler, limits, how))


def tokens_of(rounds: Sequence[Round]) -> list[int]:
    return [token for current in rounds for token in current.tokens]


def margins_of(rounds: Sequence[Round]) -> list[float]:
    return [margin for current in rounds for margin in current.margins]
