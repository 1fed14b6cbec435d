"""The lines that `edge-mtp run` ends with."""

from collections.abc import Iterator

from edge_mtp.runner.engine import EngineRun
from edge_mtp.runner.trace import Trace, costs, count


def reply_lines(trace: Trace) -> list[str]:
    """Speed and, where it drafted, acceptance of one reply, each figure with its definition."""
    return list(_reply_lines(trace))


def _reply_lines(trace: Trace) -> Iterator[str]:
    rate = trace.tokens_per_s
    finish = trace.rounds[-1].finish
    yield (
        f"{trace.prompt_tokens} tokens in, {len(trace.tokens)} out ({finish}); "
        f"first token after {trace.first_token_s * 1e3:.0f} ms; "
        f"{'-' if rate is None else f'{rate:.1f}'} tok/s"
    )
    counters = count(trace.rounds)
    if counters.acceptance_rate is None:
        return
    yield (
        f"draft acceptance rate {counters.acceptance_rate:.3f} (accepted ÷ drafted: {counters.accepted} of "
        f"{counters.drafted}), by position {' '.join(f'{rate:.3f}' for rate in counters.rate_at)}"
    )
    cost = costs(trace.rounds)
    yield (
        f"mean acceptance length {counters.mean_length:.2f} tokens a round over {counters.rounds} rounds; "
        f"draft step {_ms(cost.draft_step_s)}, verify {_ms(cost.verify_s)}, decode {_ms(cost.decode_s)}"
    )


def engine_lines(run: EngineRun) -> list[str]:
    """What LiteRT-LM tells of its run; its acceptance is that of all turns together."""
    lines = [
        f"LiteRT-LM: {reply.prefill_tokens} tokens in, {reply.decode_tokens} out; first text after "
        f"{f'{reply.chunk_s[0] * 1e3:.0f} ms' if reply.chunk_s else '-'}; {reply.decode_tokens_per_s:.1f} tok/s; "
        f"{reply.decode_tokens / max(len(reply.chunks), 1):.2f} tokens a chunk"
        for reply in run.replies
    ]
    if run.acceptance_rate is not None:
        lines.append(f"draft acceptance rate {run.acceptance_rate:.3f} (accepted ÷ drafted, as LiteRT-LM prints it)")
    return lines


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.2f} ms"
