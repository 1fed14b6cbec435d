"""Runs a bundle in the stock LiteRT-LM engine, in a child process, and reads what only its log tells."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge_mtp.errors import EngineError

NO_CACHE = ":nocache"
"""The engine's own spelling for "write no weight cache beside the bundle"."""

_SUCCESS_RATE = re.compile(r"Success rate:\s*([0-9.eE+-]+|nan)", re.IGNORECASE)


@dataclass(frozen=True)
class EngineOptions:
    """How to run: `speculative` drafts and verifies, `chat` applies the bundle's template to each prompt."""

    speculative: bool
    max_output_tokens: int = 64
    max_num_tokens: int | None = None
    threads: int = field(default_factory=lambda: min(os.cpu_count() or 1, 4))
    backend: str = "cpu"
    chat: bool = True
    cache_dir: str = NO_CACHE
    timeout_s: float = 600.0


@dataclass(frozen=True)
class EngineReply:
    """One prompt's greedy reply. One chunk is the text of one step, or of one draft-and-verify round."""

    prompt: str
    chunks: tuple[str, ...]
    prefill_tokens: int
    prefill_tokens_per_s: float
    decode_tokens: int
    decode_tokens_per_s: float

    @property
    def text(self) -> str:
        """The whole reply."""
        return "".join(self.chunks)


@dataclass(frozen=True)
class EngineRun:
    """One engine life. `acceptance_rate` is accepted / drafted over all its prompts, None where not printed."""

    replies: tuple[EngineReply, ...]
    load_s: float
    acceptance_rate: float | None
    log: str


def run_engine(bundle: Path, prompts: Sequence[str], options: EngineOptions) -> EngineRun:
    """Runs `prompts` through LiteRT-LM one after another; EngineError with the log's tail where it fails."""
    request = {
        "bundle": str(bundle),
        "prompts": list(prompts),
        "speculative": options.speculative,
        "max_output_tokens": options.max_output_tokens,
        "max_num_tokens": options.max_num_tokens,
        "threads": options.threads,
        "backend": options.backend,
        "chat": options.chat,
        "cache_dir": options.cache_dir,
    }
    output, log = _run_child(json.dumps(request), bundle, options.timeout_s)
    first, *replies = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    parsed = tuple(EngineReply(**{**reply, "chunks": tuple(reply["chunks"])}) for reply in replies)
    return EngineRun(parsed, first["load_s"], _acceptance(log), log)


def _run_child(request: str, bundle: Path, timeout_s: float) -> tuple[str, str]:
    command = [sys.executable, "-m", "edge_mtp.runner.engine_child"]
    pipe = subprocess.PIPE
    child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, errors="replace")
    try:
        output, log = child.communicate(request, timeout_s)
    except subprocess.TimeoutExpired:
        raise EngineError(
            f"LiteRT-LM did not finish {bundle.name} within {timeout_s:.0f} s; "
            "try fewer prompts or tokens, or a machine that is less busy"
        ) from None
    finally:  # also on Ctrl-C: whoever removes the engine's files must find it gone
        child.kill()
        child.wait()
    if child.returncode != 0:
        raise EngineError(
            f"LiteRT-LM could not run {bundle.name} (exit status {child.returncode}). Its log ends:\n{_tail(log)}"
        )
    return output, log


def _acceptance(log: str) -> float | None:
    """The last success rate in the log; "nan" (nothing drafted) counts as none."""
    found = _SUCCESS_RATE.findall(log)
    return float(found[-1]) if found and found[-1].lower() != "nan" else None


def _tail(log: str, lines: int = 12) -> str:
    return "\n".join("  " + line for line in log.strip().splitlines()[-lines:])
