"""The last stage: the stock engine runs the bundle with MTP off and on before success is reported."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, takewhile
from pathlib import Path
from typing import Final

from edge_mtp.convert.stages import ENGINE_CACHE
from edge_mtp.errors import EngineError
from edge_mtp.runner.engine import EngineOptions, EngineReply, EngineRun, run_engine

PROMPTS: Final = (
    "Explain in one paragraph why the sky is blue.",
    "Write a Python function that returns the n-th Fibonacci number.",
)
MAX_OUTPUT_TOKENS: Final = 24
AGREED_TOKENS: Final = 8
"""Greedy texts with MTP off and on must agree for at least so many tokens (two full rounds of K = 3).

Later they may part where the two best logits are closer than `verify` and `decode` compute them alike; a broken
verifier, cache or mask shows in the first rounds. Later differences are counted and reported, not failed."""


@dataclass(frozen=True)
class SmokeResult:
    """What the engine made of a bundle.

    `differing` counts prompts whose text with MTP on differs from that with MTP off, `first_difference` is the
    least number of tokens on which they agree before they do. `acceptance_rate` is accepted / drafted as the engine
    printed it; `fault` says why the bundle must not ship, None where it may.
    """

    prompts: int
    differing: int
    first_difference: int | None
    acceptance_rate: float | None
    decode_tokens_per_s_off: float
    decode_tokens_per_s_on: float
    sample: str
    fault: str | None

    @property
    def passed(self) -> bool:
        """Whether the bundle may bear its name."""
        return self.fault is None


def smoke_run(bundle: Path, context_tokens: int, scratch: Path) -> SmokeResult:
    """Greedy replies with MTP off and on, in two engine lives; `scratch` holds the engine's weight cache meanwhile.

    The cache is a file, so that memory pressure can take its pages back, and the second life starts faster.
    """
    budget = min(MAX_OUTPUT_TOKENS, context_tokens // 4)
    try:
        with _engine_cache(scratch) as cache:
            off, on = (
                run_engine(bundle, PROMPTS, EngineOptions(speculative, budget, cache_dir=cache))
                for speculative in (False, True)
            )
    except EngineError as error:
        return SmokeResult(len(PROMPTS), len(PROMPTS), None, None, 0.0, 0.0, "", str(error))
    agreed = [agreed_tokens(a, b, budget) for a, b in zip(off.replies, on.replies, strict=True)]
    early = min((count for count in agreed if count is not None), default=None)
    return SmokeResult(
        prompts=len(PROMPTS),
        differing=sum(count is not None for count in agreed),
        first_difference=early,
        acceptance_rate=on.acceptance_rate,
        decode_tokens_per_s_off=_speed(off),
        decode_tokens_per_s_on=_speed(on),
        sample=off.replies[0].text,
        fault=_fault(off, on, early),
    )


@contextmanager
def _engine_cache(scratch: Path) -> Iterator[str]:
    """A directory in `scratch` for the block. `tempfile` would leave it behind where Ctrl-C comes as it is made."""
    cache = scratch / f"{ENGINE_CACHE}{os.getpid()}"
    try:
        cache.mkdir(exist_ok=True)
        yield str(cache)
    finally:
        shutil.rmtree(cache, ignore_errors=True)


def agreed_tokens(off: EngineReply, on: EngineReply, budget: int) -> int | None:
    """How many tokens of two replies agree before they differ; None where they say the same.

    Where both spent their `budget` of output tokens, the one with MTP on may be longer by the rest of its last
    accepted block (LiteRT-LM 0.18.1 does not cut it), so the shorter text must be the longer one's beginning.
    A plain reply comes one token a chunk, which is what tokens are counted by.
    """
    spent = min(off.decode_tokens, on.decode_tokens) >= budget
    shorter, longer = sorted((off.text, on.text), key=len)
    if off.text == on.text or (spent and longer.startswith(shorter)):
        return None
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(off.text, on.text, strict=False)))
    ends = accumulate(len(chunk) for chunk in off.chunks)
    return sum(end <= common for end in ends)


def _fault(off: EngineRun, on: EngineRun, early: int | None) -> str | None:
    """The first reason not to ship. See AGREED_TOKENS for what counts as a difference."""
    if not any(reply.text.strip() for reply in off.replies):
        return "the engine generated no text with MTP off"
    if any("<pad>" in reply.text for reply in off.replies):
        return "the engine generated <pad> tokens"
    if on.acceptance_rate is None:
        return "the engine did not draft although the bundle has a drafter"
    if early is not None and early < AGREED_TOKENS:
        return f"MTP on and off wrote different text after {early} tokens, at least {AGREED_TOKENS} must agree"
    return None


def _speed(run: EngineRun) -> float:
    """Median decode rate of the run's replies, in tokens per second."""
    rates = sorted(reply.decode_tokens_per_s for reply in run.replies)
    return rates[len(rates) // 2]
