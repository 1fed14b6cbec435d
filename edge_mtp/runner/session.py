"""A conversation over a target: each turn reuses the rows that its prompt shares with what was processed before."""

import time
from collections.abc import Iterator, Sequence
from itertools import takewhile

from edge_mtp.errors import EdgeMtpError
from edge_mtp.runner.generate import Limits, Round, Speculation, plain, speculative
from edge_mtp.runner.protocols import Drafter, Target
from edge_mtp.runner.sampling import Sampler
from edge_mtp.runner.trace import Trace


class Session:
    """Turns of one conversation. Without `how` it decodes plainly."""

    def __init__(
        self, target: Target, drafter: Drafter | None, sampler: Sampler, how: Speculation | None = None
    ) -> None:
        """EdgeMtpError where drafting is asked for and there is no drafter that the target can verify."""
        if how is not None and (drafter is None or not target.max_draft_steps):
            raise EdgeMtpError(
                "the bundle cannot draft: it needs a drafter section and a target with `verify` "
                "(edge-mtp inspect says what is missing); run it with --no-draft"
            )
        self._target, self._drafter, self._sampler, self._how = target, drafter, sampler, how
        self._processed: list[int] = []
        target.rewind(0)
        self.trace: Trace | None = None
        """The last finished reply."""

    def reply(self, tokens: Sequence[int], limits: Limits) -> Iterator[Round]:
        """The rounds of a reply to `tokens`, the whole conversation so far from its start token on."""
        started = time.perf_counter()
        shared = min(_common(self._processed, tokens), max(len(tokens) - 1, 0))
        self._target.rewind(shared)
        self._processed = list(tokens[:shared])
        rounds: list[Round] = []
        first_token_s = last_token_s = 0.0
        for current in self._rounds(tokens[shared:], limits):
            rounds.append(current)
            last_token_s = time.perf_counter() - started
            first_token_s = first_token_s or last_token_s
            yield current
        emitted = [token for current in rounds for token in current.tokens]
        self._processed = [*tokens, *emitted[:-1]]
        self.trace = Trace(len(tokens), first_token_s, last_token_s, tuple(rounds))

    def _rounds(self, prompt: Sequence[int], limits: Limits) -> Iterator[Round]:
        if self._how is None or self._drafter is None:
            return plain(self._target, prompt, self._sampler, limits)
        return speculative(self._target, self._drafter, prompt, self._sampler, limits, self._how)


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the common beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
