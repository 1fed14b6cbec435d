"""Every draft length from one reply: what the drafter would propose after each token, walked with any K.

With match acceptance the text does not depend on the drafts, so one table of drafts per token says exactly which
rounds any shorter K, or any stopping rule, would have had.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from edge_mtp.runner.drafting import confidence
from edge_mtp.runner.generate import Round
from edge_mtp.runner.protocols import Drafter, Floats
from edge_mtp.runner.trace import Counters, count


@dataclass(frozen=True)
class DraftsAfter:
    """What follows one token of a reply: its slot, the drafts, and the drafter's own probability of each."""

    position: int
    tokens: tuple[int, ...]
    confidences: tuple[float, ...]


def drafts_after(drafter: Drafter, token: int, hidden: Floats, position: int, steps: int) -> DraftsAfter:
    """`steps` drafts after `token` at slot `position`, as `generate.propose` makes them greedily."""
    tokens: list[int] = []
    confidences: list[float] = []
    for _ in range(steps):
        scores = drafter.draft(token, hidden, position)
        token, hidden = int(scores.logits.argmax()), scores.hidden
        tokens.append(token)
        confidences.append(confidence(scores.logits))
    return DraftsAfter(position, tuple(tokens), tuple(confidences))


def replay(
    reply: Sequence[int], table: Sequence[DraftsAfter], max_tokens: int, steps: int, threshold: float = 0.0
) -> Counters:
    """Counters of the rounds that drafting `steps` tokens a round would have had.

    reply [n]: the emitted tokens, at most `max_tokens` allowed; table [n]: drafts after each of them (the last entry
    is never read). `threshold` stops a round's drafts behind the first that is less sure, as `drafting.ConfidentDraft`
    does. Drafts behind a stop token count as rejected, since what the target would have said there is not known.
    """
    rounds: list[Round] = []
    reply, start = tuple(reply), 0
    while start + 1 < len(reply):
        most = min(steps, max_tokens - start - 2)
        entry = table[start]
        unsure = (i + 1 for i, sure in enumerate(entry.confidences[:most]) if sure < threshold)
        drafts = entry.tokens[: next(unsure, most)]
        pairs = zip(drafts, reply[start + 1 :], strict=False)
        matched = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        rounds.append(Round(entry.position, (), (), drafts, matched))
        start += matched + 1
    return count(rounds)
