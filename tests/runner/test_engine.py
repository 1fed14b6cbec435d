"""The stock engine in its process: what is heard, how it samples, turns, and how its end is told."""

import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from edge_mtp.errors import EngineError
from edge_mtp.runner import engine
from edge_mtp.runner.engine import EngineOptions, EngineReply, EngineRun, run_engine
from edge_mtp.runner.report import engine_lines
from edge_mtp.runner.sampling import Sampler

TOKENS = 24
WARM = Sampler(1.0, 0, 1.0, seed=1)


@pytest.fixture(scope="module")
def bundle(int8) -> Path:
    return int8.path


def options(speculative: bool = False, **changes: object) -> EngineOptions:
    return EngineOptions(speculative, TOKENS, threads=1, **changes)


def said(bundle: Path, prompt: str, sampler: Sampler, speculative: bool = False, **changes: object) -> str:
    return run_engine(bundle, [prompt], options(speculative, sampler=sampler, **changes)).replies[0].text


@pytest.fixture(scope="module")
def heard(bundle, prompts) -> tuple[EngineRun, list[tuple[float, str]]]:
    """Two prompts with MTP on, and what was heard of them when."""
    pieces: list[tuple[float, str]] = []
    run = run_engine(bundle, prompts[:2], options(True), lambda piece: pieces.append((time.monotonic(), piece)))
    return run, pieces


def test_chunks_are_heard_as_they_come(heard):
    run, pieces = heard
    expected = [piece for reply in run.replies for piece in (*reply.chunks, "\n")]
    assert [piece for _, piece in pieces] == expected
    times = [when for when, piece in pieces]
    assert times[0] < times[-1], "not all at the end"
    assert all(len(reply.chunks) > 3 for reply in run.replies)


def test_a_reply_tells_when_its_chunks_came(heard):
    for reply in heard[0].replies:
        assert len(reply.chunk_s) == len(reply.chunks)
        assert all(0.0 < a <= b for a, b in pairwise(reply.chunk_s))
        assert len(reply.chunks) < reply.decode_tokens, "rounds of more than one token"


def test_the_lines_about_a_run(heard):
    run, _ = heard
    first, second, acceptance = engine_lines(run)
    reply = run.replies[0]
    assert first.startswith(f"LiteRT-LM: {reply.prefill_tokens} tokens in, {reply.decode_tokens} out; first text after")
    assert f"{run.replies[1].decode_tokens_per_s:.1f} tok/s" in second
    assert acceptance.startswith(f"draft acceptance rate {run.acceptance_rate:.3f} (accepted ÷ drafted")


def test_a_reply_without_text_came_at_no_time():
    silent = EngineRun((EngineReply("x", (), (), 3, 1.0, 1, 2.0),), 0.1, None, "")
    assert engine_lines(silent) == ["LiteRT-LM: 3 tokens in, 1 out; first text after -; 2.0 tok/s; 1.00 tokens a chunk"]


def test_without_drafting_there_is_no_acceptance(bundle, prompts):
    run = run_engine(bundle, prompts[:1], options())
    assert run.acceptance_rate is None
    assert len(engine_lines(run)) == 1


def test_the_sampler_is_passed_on(bundle, prompts):
    """No top-k means all tokens; the engine's own default would be the likeliest one."""
    greedy = said(bundle, prompts[0], Sampler())
    warm = said(bundle, prompts[0], WARM)
    assert warm == said(bundle, prompts[0], WARM)
    assert warm != greedy
    assert said(bundle, prompts[0], Sampler(1.0, 0, 1.0, seed=2)) not in (warm, greedy)
    assert said(bundle, prompts[0], Sampler(1.0, 1, 1.0, seed=1)) == greedy
    assert said(bundle, prompts[0], Sampler(1e-3, 0, 1.0, seed=1)) == greedy
    assert said(bundle, prompts[0], Sampler(1.0, 0, 1e-3, seed=1)) == greedy


def test_while_it_drafts_the_engine_does_not_sample(bundle, prompts):
    """So `edge-mtp run` refuses it. Where this fails, the engine has learnt to and the refusal can go."""
    assert said(bundle, prompts[0], WARM, speculative=True).startswith(said(bundle, prompts[0], Sampler()))


def test_prompts_are_separate_unless_they_are_turns(bundle, prompts, text):
    alone = run_engine(bundle, [prompts[0]] * 2, options())
    turns = run_engine(bundle, [prompts[0]] * 2, options(one_conversation=True))
    prompt = text.chat_prompt([{"role": "user", "content": prompts[0]}])
    assert [reply.prefill_tokens for reply in alone.replies] == [len(prompt)] * 2
    assert [reply.prefill_tokens for reply in turns.replies] != [len(prompt)] * 2
    assert alone.replies[0].text == alone.replies[1].text == turns.replies[0].text


def test_the_system_message_is_heard(bundle, prompts, text):
    message, asked = {"role": "system", "content": "Answer in Latin."}, {"role": "user", "content": prompts[0]}
    with_it = run_engine(bundle, prompts[:1], options(system=message["content"]))
    without = run_engine(bundle, prompts[:1], options())
    assert with_it.replies[0].prefill_tokens == len(text.chat_prompt([message, asked]))
    assert without.replies[0].prefill_tokens == len(text.chat_prompt([asked]))


# How it ends.


@pytest.fixture
def child(tmp_path, monkeypatch) -> Callable[[str], None]:
    """Puts a shell script in the child's place."""

    def write(script: str) -> None:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(engine.sys, "executable", str(path))

    return write


ANY = Path("x.litertlm")
LOADED = """echo '{"load_s": 0.5}'"""


def test_a_child_that_takes_too_long_is_killed_and_named(child, tmp_path):
    """What it had said was heard; half a line, of which a kill can leave one, was not."""
    pid, pieces = tmp_path / "pid", []
    child(f"""echo $$ > {pid}; {LOADED}; echo '{{"chunk": "a"}}'; printf '{{"chunk": "b'; exec sleep 60""")
    started = time.monotonic()
    with pytest.raises(EngineError, match=r"LiteRT-LM did not finish x\.litertlm within 1 s; try fewer prompts"):
        run_engine(ANY, ["hello"], options(timeout_s=1.0), pieces.append)
    assert time.monotonic() - started < 10.0
    assert pieces == ["a"]
    assert not Path(f"/proc/{pid.read_text().strip()}").exists()


def test_lateness_is_told_however_the_threads_run(child, monkeypatch):
    """The caller sees the end of the output before the one who killed has returned."""
    child("exec sleep 60")
    kill = engine.subprocess.Popen.kill

    def slow_kill(process: object) -> None:
        kill(process)
        if threading.current_thread() is not threading.main_thread():
            time.sleep(0.5)

    monkeypatch.setattr(engine.subprocess.Popen, "kill", slow_kill)
    with pytest.raises(EngineError, match="did not finish"):
        run_engine(ANY, ["hello"], options(timeout_s=0.2))


def test_a_child_that_dies_says_why(child):
    child("echo the first words >&2; for i in 1 2 3 4 5 6 7 8 9 10 11; do echo $i >&2; done; echo last >&2; exit 7")
    with pytest.raises(EngineError, match=r"(?s)\(exit status 7\)\. Its log ends:\n  1\n.*\n  11\n  last$"):
        run_engine(ANY, ["hello" * 100_000], options())


def test_a_child_that_dies_within_a_reply_says_why(child):
    pieces = []
    child(f"""{LOADED}; echo '{{"chunk": "a"}}'; printf '{{"chu'; echo out of memory >&2; kill -9 $$""")
    with pytest.raises(EngineError, match=r"\(exit status -9\)\. Its log ends:\n  out of memory"):
        run_engine(ANY, ["hello"], options(), pieces.append)
    assert pieces == ["a"]


def test_a_caller_that_stops_hearing_leaves_no_child(child, tmp_path):
    pid = tmp_path / "pid"
    child(f"""echo $$ > {pid}; {LOADED}; echo '{{"chunk": "a"}}'; exec sleep 60""")

    def refuse(piece: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_engine(ANY, ["hello"], options(), refuse)
    assert not Path(f"/proc/{pid.read_text().strip()}").exists()


def test_what_the_library_prints_is_no_reply(child):
    child(f"""echo noise; {LOADED}; echo; echo more; echo '{{"chunk": "a"}}'; echo 'Success rate: nan' >&2""")
    run = run_engine(ANY, ["hello"], options())
    assert (run.load_s, run.replies, run.acceptance_rate) == (0.5, (), None)


@pytest.mark.parametrize(("log", "rate"), [("Success rate: 0.25\nSuccess rate: 0.5", 0.5), ("success RATE:1e-1", 0.1)])
def test_the_last_rate_counts(child, log, rate):
    child(f"""{LOADED}; printf '{log}' >&2""")
    assert run_engine(ANY, ["hello"], options(True)).acceptance_rate == rate
