"""`edge-mtp run`: what goes where, that drafting and engine change no text, traces, and how it ends when stopped."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge_mtp.bundle.reader import read_bundle
from edge_mtp.cli import main
from edge_mtp.runner.text import BundleText, read_text
from edge_mtp.runner.trace import count, from_json
from tests.export.command import COMMAND, environment, group_is_alive, wait_until
from tests.runner.conftest import HELD_OUT

TOKENS = 40
PROMPTS = json.loads(HELD_OUT.read_text())["final"][9:15]
RATE = re.compile(r"draft acceptance rate (\S+) \(accepted ÷ drafted: (\d+) of (\d+)\), by position (.*)")
COUNTS = re.compile(r"(\d+) tokens in, (\d+) out \((\w+)\)")


@pytest.fixture(scope="module")
def bundle(exported) -> Path:
    return exported()


@pytest.fixture(scope="module")
def text(bundle) -> BundleText:
    return read_text(read_bundle(bundle))


def invoke(bundle: Path, *arguments: object, given: str | bytes | None = None) -> Result:
    command = ["run", str(bundle), "--max-tokens", str(TOKENS), "--threads", "1", *map(str, arguments)]
    return CliRunner(env={"COLUMNS": "400"}).invoke(main, command, input=given)


def held(bundle: Path, *arguments: object, given: str | None = None) -> Result:
    result = invoke(bundle, *arguments, given=given)
    assert result.exit_code == 0, result.output
    return result


def said(bundle: Path, *arguments: object, given: str | None = None) -> str:
    return held(bundle, *arguments, given=given).stdout


def asking(prompts: Sequence[str]) -> list[str]:
    return [part for prompt in prompts for part in ("--prompt", prompt)]


# What is said, and where.


def test_the_reply_goes_to_stdout_and_the_figures_to_stderr(bundle):
    result = held(bundle, "--chat", *asking(PROMPTS[:1]))
    figures = result.stderr.splitlines()
    assert COUNTS.match(figures[0])
    assert RATE.match(figures[1])
    assert figures[2].startswith("mean acceptance length ")
    assert len(figures) == 3
    assert not any(line in result.stdout for line in figures)
    plain = held(bundle, "--chat", "--no-draft", *asking(PROMPTS[:1]))
    assert plain.stdout == result.stdout
    assert len(plain.stderr.splitlines()) == 1


@pytest.mark.parametrize("prompt", PROMPTS)
def test_drafting_and_the_engine_change_no_text(bundle, prompt):
    """The engine's last round may pass the budget (LiteRT-LM#2816)."""
    ours = held(bundle, "--chat", "--prompt", prompt)
    assert said(bundle, "--chat", "--prompt", prompt, "--no-draft") == ours.stdout
    ended = "(stop)" in ours.stderr
    for options in ((), ("--no-draft",)):
        engine = said(bundle, "--chat", "--prompt", prompt, "--engine", *options)
        assert engine == ours.stdout if ended else engine.startswith(ours.stdout.removesuffix("\n"))
        assert not engine.startswith(ours.stdout[:-2] + "#")


def test_some_of_these_replies_stop_and_some_are_cut(bundle):
    finishes = {COUNTS.search(held(bundle, "--chat", "--prompt", prompt).stderr)[3] for prompt in PROMPTS}
    assert finishes == {"stop", "length"}


def test_sampling_with_and_without_drafts(bundle):
    sampled = ("--chat", *asking(PROMPTS[:1]), "--temperature", 1, "--top-k", 64, "--top-p", 0.95)
    texts = [said(bundle, *sampled, "--seed", seed) for seed in (1, 2)]
    assert texts == [said(bundle, *sampled, "--seed", seed, "--no-draft") for seed in (1, 2)]
    assert texts[0] != texts[1]
    assert said(bundle, *sampled, "--seed", 1, "--draft-steps", 1, "--confidence", 0.6) == texts[0]
    rejection = said(bundle, *sampled, "--seed", 1, "--rule", "rejection")
    assert rejection == said(bundle, *sampled, "--seed", 1, "--rule", "rejection")


def test_rejection_is_greedy_where_sampling_is(bundle):
    prompt = ("--chat", *asking(PROMPTS[:1]))
    assert said(bundle, *prompt, "--rule", "rejection") == said(bundle, *prompt)


def test_the_engine_samples(bundle):
    prompt = ("--chat", *asking(PROMPTS[:1]), "--engine", "--no-draft")
    texts = [said(bundle, *prompt, "--temperature", 1, "--seed", seed) for seed in (1, 2)]
    assert len({*texts, said(bundle, *prompt)}) == 3


def test_options_of_drafting_show_in_the_figures(bundle):
    prompt = ("--chat", *asking(PROMPTS[1:2]))
    places = {
        steps: len(RATE.search(held(bundle, *prompt, "--draft-steps", steps).stderr)[4].split()) for steps in (1, 2)
    }
    assert places == {1: 1, 2: 2}
    drafted = [int(RATE.search(held(bundle, *prompt, *how).stderr)[3]) for how in ((), ("--confidence", 0.9))]
    assert drafted[1] < drafted[0]


# Turns.


TURNS = ("What is `os.lockf`?", "And `os.open`?")
LONG = ("--chat", "--max-tokens", 100)


@pytest.mark.parametrize("options", [(), ("--no-draft",), ("--engine",), ("--engine", "--no-draft")], ids=str)
def test_prompts_are_turns(bundle, options):
    """Each reply on lines of its own; in the second the first is remembered."""
    both, alone = (said(bundle, *LONG, *options, *asking(turns)) for turns in (TURNS, TURNS[:1]))
    assert both.startswith(alone)
    assert both.removeprefix(alone).endswith("\n")
    assert both == said(bundle, *LONG, *options, given="\n\n".join(TURNS) + "\n")
    assert both.removeprefix(alone) != said(bundle, *LONG, *options, *asking(TURNS[1:])), "the first turn matters"


def test_a_second_turn_is_what_a_fresh_run_over_the_talk_says(bundle, text, tmp_path):
    path = tmp_path / "trace.json"
    both = said(bundle, *LONG, *asking(TURNS), "--trace", path)
    assert both == said(bundle, *LONG, *asking(TURNS), "--no-draft")
    first, second = (from_json(turn) for turn in json.loads(path.read_text())["turns"])
    history = [{"role": "user", "content": TURNS[0]}, {"role": "assistant", "content": text.decode(first.tokens)}]
    rendered = text.render([*history, {"role": "user", "content": TURNS[1]}])
    assert second.prompt_tokens == len(text.raw_prompt(rendered))
    assert both.endswith(said(bundle, "--max-tokens", 100, *asking([rendered])))
    assert both.endswith(text.decode(second.tokens) + "\n")


@pytest.mark.parametrize("options", [(), ("--engine",)], ids=str)
def test_a_system_message_is_heard(bundle, options):
    talk = (*LONG, *options, *asking(TURNS[:1]))
    assert said(bundle, *talk, "--system", "Say nothing but yes or no.") != said(bundle, *talk)


def test_raw_prompts_go_on_where_the_text_ended(bundle):
    first = said(bundle, "--max-tokens", 6, *asking(["The module"]))
    both = said(bundle, "--max-tokens", 6, *asking(["The module", " and its"]))
    assert both.startswith(first)
    whole = "The module" + first.removesuffix("\n") + " and its"
    assert both.removeprefix(first) == said(bundle, "--max-tokens", 6, *asking([whole]))


def test_an_empty_prompt_is_a_prompt(bundle):
    """Behind the start token the model may say what it likes."""
    assert COUNTS.search(held(bundle, *asking([""])).stderr)[1] == "1"
    assert said(bundle, "--chat", *asking([""])).strip()


# Traces.


def test_a_trace_holds_what_was_printed(bundle, tmp_path):
    path = tmp_path / "trace.json"
    path.write_text("older")
    result = held(bundle, "--chat", *asking(PROMPTS[:2]), "--temperature", 0.5, "--seed", 7, "--trace", path)
    value = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert (value["bundle"], value["sampler"]) == (
        bundle.name,
        {"temperature": 0.5, "top_k": 0, "top_p": 1.0, "seed": 7},
    )
    turns = [from_json(turn) for turn in value["turns"]]
    printed = zip(RATE.findall(result.stderr), COUNTS.findall(result.stderr), turns, strict=True)
    for (rate, accepted, drafted, places), (given, out, finish), trace in printed:
        counters = count(trace.rounds)
        assert f"{counters.acceptance_rate:.3f}" == rate
        assert (counters.accepted, counters.drafted) == (int(accepted), int(drafted))
        assert [f"{one:.3f}" for one in counters.rate_at] == places.split()
        assert (trace.prompt_tokens, len(trace.tokens), trace.rounds[-1].finish) == (int(given), int(out), finish)
        assert sum(current.accepted for current in trace.rounds[:-1]) < counters.accepted + 4
    assert list(tmp_path.iterdir()) == [path]


def test_a_trace_of_plain_decoding(bundle, tmp_path):
    path = tmp_path / "trace.json"
    held(bundle, "--no-draft", *asking(PROMPTS[:1]), "--trace", path)
    (turn,) = json.loads(path.read_text())["turns"]
    assert count(from_json(turn).rounds).drafted == 0


def test_a_trace_that_cannot_be_written_leaves_nothing_half_written(bundle, tmp_path, monkeypatch):
    path = tmp_path / "trace.json"
    path.write_text("older")

    def full(self: Path, content: str, encoding: str) -> int:
        with self.open("w", encoding=encoding) as out:
            out.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    result = invoke(bundle, *asking(PROMPTS[:1]), "--trace", path)
    assert result.exit_code == 1
    assert f"error: cannot write --trace {path} (No space left on device); give another file" in result.stderr
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "older"


# Stopping it.


def start(bundle: Path, *arguments: object, tmp: Path) -> "subprocess.Popen[str]":
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*COMMAND, "run", str(bundle), *map(str, arguments)],
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        text=True,
        start_new_session=True,
        env=environment({"TMPDIR": str(tmp)}),
    )


def test_a_talk_over_stdin_answers_line_by_line_and_ends_with_ctrl_c(bundle, tmp_path):
    with start(bundle, "--chat", "--max-tokens", 8, tmp=tmp_path) as running:
        for prompt in PROMPTS[:2]:
            running.stdin.write(prompt + "\n")
            running.stdin.flush()
            assert running.stdout.readline().strip()
        running.send_signal(signal.SIGINT)
        _, figures = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "interrupted" in figures
    assert "Traceback" not in figures
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda by: by.name)
def test_however_it_is_stopped_nothing_is_left(bundle, tmp_path, by):
    """Of a large bundle it would be gigabytes of repacked weights."""
    with start(bundle, "--max-tokens", 1000, *asking(["The"] * 200), tmp=tmp_path) as running:
        assert running.stdout.read(1)
        os.killpg(running.pid, by)
        running.communicate(timeout=30)
    assert running.returncode == (130 if by == signal.SIGINT else -by)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_the_engine_as_well(bundle, tmp_path):
    with start(bundle, "--engine", "--max-tokens", 1000, *asking(["The"] * 200), tmp=tmp_path) as running:
        assert running.stdout.read(1)
        running.send_signal(signal.SIGINT)  # not to its child
        running.communicate(timeout=30)
    assert running.returncode == 130
    wait_until(lambda: not group_is_alive(running.pid), 10.0, "the engine's end")
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_goes_away_ends_it_quietly(bundle, tmp_path):
    with start(bundle, "--max-tokens", 1000, *asking(["The"] * 200), tmp=tmp_path) as running:
        assert running.stdout.read(1)
        running.stdout.close()
        figures = running.stderr.read()
        assert running.wait(timeout=30) == 1
    assert "Traceback" not in figures
