"""The process that holds a LiteRT-LM engine: one JSON request on stdin, one JSON line a reply on stdout.

It is a process of its own because the engine prints its acceptance to stderr only when it is deleted, and
because a bundle that crashes the native library must not take the caller with it. It ends with its caller.
"""

import json
import os
import sys
import time
from threading import Thread
from typing import Any

from litert_lm import Backend, Engine, SamplerConfig, set_min_log_severity
from litert_lm import LogSeverity as Severity


def main() -> None:
    """Runs every prompt of the request in one engine life, greedily, and prints a reply for each."""
    Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    request: dict[str, Any] = json.load(sys.stdin)
    set_min_log_severity(Severity.INFO)
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
    for prompt in request["prompts"]:
        _say(_reply(engine, prompt, request["max_output_tokens"], chat=request["chat"]))
    engine.close()


def _reply(engine: Engine, prompt: str, max_output_tokens: int, *, chat: bool) -> dict[str, Any]:
    """Greedy continuation of `prompt`: text, stream chunks, and the engine's own speed figures."""
    sampler = SamplerConfig(top_k=1, top_p=1.0, temperature=1.0, seed=0)
    if chat:
        talk = engine.create_conversation(sampler_config=sampler, max_output_tokens=max_output_tokens)
        chunks = [_text(message) for message in talk.send_message_async(prompt)]
    else:
        talk = engine.create_session(
            apply_prompt_template=False, sampler_config=sampler, max_output_tokens=max_output_tokens
        )
        talk.run_prefill([prompt])
        chunks = [response.texts[0] for response in talk.run_decode_async() if response.texts]
    info = talk.get_benchmark_info()
    talk.close()
    return {
        "prompt": prompt,
        "chunks": chunks,
        "prefill_tokens": info.last_prefill_token_count,
        "prefill_tokens_per_s": info.last_prefill_tokens_per_second,
        "decode_tokens": info.last_decode_token_count,
        "decode_tokens_per_s": info.last_decode_tokens_per_second,
    }


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
