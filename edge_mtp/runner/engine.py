"""Runs a bundle in the stock LiteRT-LM engine, in a child process, and reads what only its log tells."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from threading import Event, Timer
from typing import Any

from edge_mtp.errors import EngineError
from edge_mtp.runner.sampling import Sampler

NO_CACHE = ":nocache"
"""The engine's own spelling for "write no weight cache beside the bundle"."""

_SUCCESS_RATE = re.compile(r"Success rate:\s*([0-9.eE+-]+|nan)", re.IGNORECASE)


@dataclass(frozen=True)
class EngineOptions:
    """How to run.

    `speculative` drafts and verifies. `chat` applies the bundle's template to each prompt, `system` is then the system
    message. With `one_conversation` the prompts are turns of one talk, else each begins a new one.
    `verbose` has it log what it does with the graphs.
    """

    speculative: bool
    max_output_tokens: int = 64
    max_num_tokens: int | None = None
    threads: int = field(default_factory=lambda: min(os.cpu_count() or 1, 4))
    backend: str = "cpu"
    chat: bool = True
    cache_dir: str = NO_CACHE
    timeout_s: float = 600.0
    sampler: Sampler = field(default_factory=Sampler)
    system: str | None = None
    one_conversation: bool = False
    verbose: bool = False


@dataclass(frozen=True)
class EngineReply:
    """One prompt's reply. One chunk is the text of one step, or of one draft-and-verify round.

    `chunk_s` says when each came, in seconds after the prompt was handed over.
    """

    prompt: str
    chunks: tuple[str, ...]
    chunk_s: tuple[float, ...]
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


def run_engine(
    bundle: Path, prompts: Sequence[str], options: EngineOptions, hear: Callable[[str], None] | None = None
) -> EngineRun:
    """Runs `prompts` through LiteRT-LM one after another; EngineError with the log's tail where it fails.

    `hear` gets each chunk of text as it comes, and a line end behind each reply.
    """
    request = {**asdict(options), "bundle": str(bundle), "prompts": list(prompts)}
    lines, log = _run_child(json.dumps(request), bundle, options.timeout_s, hear or (lambda chunk: None))
    first, *replies = lines
    parsed = tuple(
        EngineReply(**{**reply, "chunks": tuple(reply["chunks"]), "chunk_s": tuple(reply["chunk_s"])})
        for reply in replies
    )
    return EngineRun(parsed, first["load_s"], _acceptance(log), log)


def _run_child(
    request: str, bundle: Path, timeout_s: float, hear: Callable[[str], None]
) -> tuple[list[dict[str, Any]], str]:
    """The child's JSON lines, chunks left out, and its log."""
    command = [sys.executable, "-m", "edge_mtp.runner.engine_child"]
    pipe = subprocess.PIPE
    with TemporaryFile("w+", errors="replace") as log:
        child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, text=True, errors="replace")
        assert child.stdin is not None and child.stdout is not None
        late = Event()
        watch = Timer(timeout_s, _end, (child, late))
        watch.daemon = True  # Ctrl-C may come while it starts, and nothing should wait for it then
        try:
            watch.start()
            with suppress(BrokenPipeError):  # it died at once; its exit status says so below
                child.stdin.write(request)
                child.stdin.close()
            values = list(_heard(child.stdout, hear))
            child.wait()
        finally:  # also on Ctrl-C: whoever removes the engine's files must find it gone
            watch.cancel()
            child.kill()
            child.wait()
        log.seek(0)
        text = log.read()
    if late.is_set() and child.returncode != 0:
        raise EngineError(
            f"LiteRT-LM did not finish {bundle.name} within {timeout_s:.0f} s; "
            "try fewer prompts or tokens, or a machine that is less busy"
        )
    if child.returncode != 0:
        raise EngineError(
            f"LiteRT-LM could not run {bundle.name} (exit status {child.returncode}). Its log ends:\n{_tail(text)}"
        )
    return values, text


def _end(child: "subprocess.Popen[str]", late: Event) -> None:
    late.set()  # first, since the caller looks as soon as the child is gone
    child.kill()


def _heard(lines: Iterable[str], hear: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """JSON objects among `lines`, of which a killed child may leave half of the last; chunks go to `hear`."""
    for line in lines:
        value = json.loads(line) if line.startswith("{") and line.endswith("\n") else {}
        if "chunk" in value:
            hear(value["chunk"])
        elif value:
            yield value
        if "chunks" in value:
            hear("\n")


def _acceptance(log: str) -> float | None:
    """The last success rate in the log; "nan" (nothing drafted) counts as none."""
    found = _SUCCESS_RATE.findall(log)
    return float(found[-1]) if found and found[-1].lower() != "nan" else None


def _tail(log: str, lines: int = 12) -> str:
    return "\n".join("  " + line for line in log.strip().splitlines()[-lines:])
