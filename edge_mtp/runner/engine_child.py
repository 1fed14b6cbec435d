"""The process that holds a LiteRT-LM engine: one JSON request on stdin, one JSON line a reply on stdout.

It is a process of its own because the engine prints its acceptance to stderr only when it is deleted, and
because a bundle that crashes the native library must not take the caller with it. It ends with its caller.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from threading import Thread
from typing import Any, Final

from litert_lm import Backend, Engine, SamplerConfig, set_min_log_severity
from litert_lm import LogSeverity as Severity

ALL_TOKENS: Final = (1 << 31) - 1


def main() -> None:
    """Runs every prompt of the request in one engine life, and prints its chunks and a reply for each."""
    Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    request: dict[str, Any] = json.load(sys.stdin)
    set_min_log_severity(Severity.VERBOSE if request["verbose"] else Severity.INFO)
    started = time.monotonic()
    engine = Engine(
        request["bundle"],
        backend=Backend.CPU(thread_count=request["threads"]) if request["backend"] == "cpu" else Backend.GPU(),
        max_num_tokens=request["max_num_tokens"],
        cache_dir=request["cache_dir"],
        enable_benchmark=True,
        enable_speculative_decoding=request["speculative"],
    )
    _say({"load_s": time.monotonic() - started})
    talk = None
    for prompt in request["prompts"]:
        if talk is None or not request["one_conversation"]:
            talk = _start(engine, request)
        _say(_reply(talk, prompt, chat=request["chat"]))
        if not request["one_conversation"]:
            talk.close()
    if talk is not None:
        talk.close()
    engine.close()


def _start(engine: Engine, request: dict[str, Any]) -> Any:
    """A conversation, or for raw prompts a session, with the request's sampler."""
    sampler, budget = _sampler(request["sampler"]), request["max_output_tokens"]
    if request["chat"]:
        return engine.create_conversation(
            sampler_config=sampler, max_output_tokens=budget, system_message=request["system"]
        )
    return engine.create_session(apply_prompt_template=False, sampler_config=sampler, max_output_tokens=budget)


def _sampler(wanted: dict[str, Any]) -> SamplerConfig:
    """The engine's own greedy type is not implemented in 0.18.1; one token to choose from is the same.

    It takes no top-k for a top-k of 1, and any number above the vocabulary's size for all tokens.
    """
    if wanted["temperature"] == 0.0:
        return SamplerConfig(top_k=1, top_p=1.0, temperature=1.0, seed=0)
    return SamplerConfig(
        top_k=wanted["top_k"] or ALL_TOKENS,
        top_p=wanted["top_p"],
        temperature=wanted["temperature"],
        seed=wanted["seed"],
    )


def _reply(talk: Any, prompt: str, *, chat: bool) -> dict[str, Any]:
    """Continuation of `prompt`: text, stream chunks with their times, and the engine's own speed figures."""
    chunks: list[str] = []
    times_s: list[float] = []
    started = time.monotonic()
    for text in _chat_texts(talk, prompt) if chat else _raw_texts(talk, prompt):
        times_s.append(time.monotonic() - started)
        chunks.append(text)
        _say({"chunk": text})
    info = talk.get_benchmark_info()
    return {
        "prompt": prompt,
        "chunks": chunks,
        "chunk_s": times_s,
        "prefill_tokens": info.last_prefill_token_count,
        "prefill_tokens_per_s": info.last_prefill_tokens_per_second,
        "decode_tokens": info.last_decode_token_count,
        "decode_tokens_per_s": info.last_decode_tokens_per_second,
    }


def _chat_texts(talk: Any, prompt: str) -> Iterator[str]:
    return (_text(message) for message in talk.send_message_async(prompt))


def _raw_texts(talk: Any, prompt: str) -> Iterator[str]:
    talk.run_prefill([prompt])
    return (response.texts[0] for response in talk.run_decode_async() if response.texts)


def _end_with(caller: int) -> None:
    """Loading a large bundle takes long, and nobody would read what comes of it."""
    while os.getppid() == caller:
        time.sleep(1.0)
    os._exit(1)


def _text(message: Any) -> str:
    """All text of a streamed message, channels (thinking) included."""
    parts = [str(part.get("text", "")) for part in message.get("content", []) if isinstance(part, dict)]
    return "".join([*message.channels.values(), *parts])


def _say(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    # One line, so that the engine's own last words stay in the part of the log that the caller shows.
    sys.excepthook = lambda kind, error, _: print(f"{kind.__name__}: {error}", file=sys.stderr)
    main()
