"""The last stage: the stock engine runs the bundle with MTP off and on before success is reported."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge_mtp.errors import EngineError
from edge_mtp.runner.engine import EngineOptions, EngineReply, EngineRun, run_engine

PROMPTS: Final = (
    "Explain in one paragraph why the sky is blue.",
    "Write a Python function that returns the n-th Fibonacci number.",
    "List three uses of a paper clip.",
)
MAX_OUTPUT_TOKENS: Final = 48


@dataclass(frozen=True)
class SmokeResult:
    """What the engine made of a bundle.

    `differing` counts prompts whose text with MTP on differs from that with MTP off. `acceptance_rate` is
    accepted / drafted as the engine printed it; `fault` says why the bundle must not ship, None where it may.
    """

    prompts: int
    differing: int
    acceptance_rate: float | None
    decode_tokens_per_s_off: float
    decode_tokens_per_s_on: float
    sample: str
    fault: str | None

    @property
    def passed(self) -> bool:
        """Whether the bundle may bear its name."""
        return self.fault is None


def smoke_run(bundle: Path, context_tokens: int) -> SmokeResult:
    """Greedy replies with MTP off and on, in two engine lives."""
    try:
        off, on = (_run(bundle, context_tokens, speculative=speculative) for speculative in (False, True))
    except EngineError as error:
        return SmokeResult(len(PROMPTS), len(PROMPTS), None, 0.0, 0.0, "", str(error))
    budget = _budget(context_tokens)
    differing = [a for a, b in zip(off.replies, on.replies, strict=True) if not same_text(a, b, budget)]
    return SmokeResult(
        prompts=len(PROMPTS),
        differing=len(differing),
        acceptance_rate=on.acceptance_rate,
        decode_tokens_per_s_off=_speed(off),
        decode_tokens_per_s_on=_speed(on),
        sample=off.replies[0].text,
        fault=_fault(off, on, len(differing)),
    )


def _run(bundle: Path, context_tokens: int, *, speculative: bool) -> EngineRun:
    return run_engine(bundle, PROMPTS, EngineOptions(speculative, _budget(context_tokens)))


def _budget(context_tokens: int) -> int:
    return min(MAX_OUTPUT_TOKENS, context_tokens // 4)


def same_text(off: EngineReply, on: EngineReply, budget: int) -> bool:
    """Whether two replies say the same as far as both go.

    Where both spent their `budget` of output tokens, the one with MTP on may be longer by the rest of its last
    accepted block (LiteRT-LM 0.18.1 does not cut it), so the shorter text must be the longer one's beginning.
    """
    if min(off.decode_tokens, on.decode_tokens) < budget:
        return off.text == on.text
    shorter, longer = sorted((off.text, on.text), key=len)
    return longer.startswith(shorter)


def _fault(off: EngineRun, on: EngineRun, differing: int) -> str | None:
    """The first reason not to ship."""
    if not any(reply.text.strip() for reply in off.replies):
        return "the engine generated no text with MTP off"
    if any("<pad>" in reply.text for reply in off.replies):
        return "the engine generated <pad> tokens"
    if on.acceptance_rate is None:
        return "the engine did not draft although the bundle has a drafter"
    if differing:
        return f"MTP on and off wrote different text for {differing} of {len(PROMPTS)} prompts"
    return None


def _speed(run: EngineRun) -> float:
    """Median decode rate of the run's replies, in tokens per second."""
    rates = sorted(reply.decode_tokens_per_s for reply in run.replies)
    return rates[len(rates) // 2]
