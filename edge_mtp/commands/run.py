"""`edge-mtp run`: text from a bundle, by our runner or by LiteRT-LM, with what drafting gained."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import isnan
from pathlib import Path
from typing import Any

import click

from edge_mtp.bundle.reader import read_bundle
from edge_mtp.errors import EdgeMtpError
from edge_mtp.runner.drafting import ConfidentDraft, DraftPolicy, FixedDraft
from edge_mtp.runner.engine import EngineOptions, run_engine
from edge_mtp.runner.generate import Limits, Rule, Speculation
from edge_mtp.runner.litert import open_pair
from edge_mtp.runner.report import engine_lines, reply_lines
from edge_mtp.runner.sampling import Sampler
from edge_mtp.runner.session import Session
from edge_mtp.runner.text import BundleText, Detokenizer, Message, read_text
from edge_mtp.runner.trace import SCHEMA_VERSION, Trace, to_json

MAX_DRAFTS = 64


@dataclass(frozen=True)
class Request:
    """What the user asked for; `draft_steps` 0 means no drafting, None the bundle's own K."""

    bundle: Path
    prompts: tuple[str, ...]
    chat: bool
    system: str | None
    max_tokens: int
    sampler: Sampler
    draft_steps: int | None
    confidence: float
    rule: Rule
    threads: int


@click.command()
@click.argument("bundle", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--prompt", "prompts", multiple=True, help="Repeat it for several turns. Default: lines of stdin.")
@click.option("--chat", is_flag=True, help="Apply the bundle's chat template.")
@click.option("--system", help="System message (with --chat).")
@click.option("--max-tokens", default=256, show_default=True, type=click.IntRange(min=1), help="Per reply.")
@click.option("--temperature", default=0.0, show_default=True, type=click.FloatRange(min=0.0), help="0 is greedy.")
@click.option("--top-k", default=0, show_default=True, type=click.IntRange(min=0), help="0 keeps all tokens.")
@click.option(
    "--top-p",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.0, 1.0, min_open=True),
    help="Keep the likeliest tokens up to this probability.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Of sampling.")
@click.option("--no-draft", is_flag=True, help="Decode plainly.")
@click.option("--draft-steps", type=click.IntRange(1, MAX_DRAFTS), help="Drafts a round. Default: the bundle's K.")
@click.option(
    "--confidence",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0.0, 1.0),
    help="Stop drafting after a draft less probable than this.",
)
@click.option(
    "--rule",
    default="match",
    show_default=True,
    type=click.Choice(["match", "rejection"]),
    help="Acceptance: equal text to plain decoding, or equal distribution with more drafts kept.",
)
@click.option(
    "--trace", type=click.Path(dir_okay=False, path_type=Path), help="Write every round as JSON to this file."
)
@click.option(
    "--threads", default=min(os.cpu_count() or 1, 4), show_default=True, type=click.IntRange(min=1), help="CPU threads."
)
@click.option("--engine", is_flag=True, help="Run in LiteRT-LM instead of our runner.")
@click.option("--backend", default="cpu", show_default=True, type=click.Choice(["cpu", "gpu"]), help="With --engine.")
def run(
    bundle: Path,
    prompts: tuple[str, ...],
    chat: bool,
    system: str | None,
    max_tokens: int,
    temperature: float,
    top_k: int,
    top_p: float,
    seed: int,
    no_draft: bool,
    draft_steps: int | None,
    confidence: float,
    rule: Rule,
    trace: Path | None,
    threads: int,
    engine: bool,
    backend: str,
) -> None:
    """Generate text from BUNDLE, drafting where it can, and say what that gained.

    The text goes to stdout, figures to stderr. Several prompts are turns of one conversation.
    """
    sampler = Sampler(temperature, top_k, top_p, seed)
    how_to_draft = draft_steps is not None or confidence > 0.0 or rule != "match"
    _check(chat, system, trace, (temperature, top_p, confidence))
    if no_draft and how_to_draft:
        raise click.UsageError("--no-draft leaves nothing for --draft-steps, --confidence and --rule to decide")
    if engine:
        _check_engine(how_to_draft or trace is not None, not sampler.greedy and not no_draft)
    elif backend != "cpu":
        raise click.UsageError(f"--backend {backend} needs --engine; our runner uses the CPU")
    steps = 0 if no_draft else draft_steps
    request = Request(bundle, prompts, chat, system, max_tokens, sampler, steps, confidence, rule, threads)
    if engine:
        _run_engine(request, backend)
    else:
        traces = _run_here(request)
        if trace is not None:
            _write_trace(trace, request, traces)


def _check(chat: bool, system: str | None, trace: Path | None, numbers: Sequence[float]) -> None:
    """Refuses options that would be ignored, or fail only after the generation."""
    if system is not None and not chat:
        raise click.UsageError("--system needs --chat; a raw prompt has no turns")
    if any(map(isnan, numbers)):
        raise click.UsageError("--temperature, --top-p and --confidence must be numbers; one is nan")
    if trace is not None and not trace.parent.is_dir():
        raise click.UsageError(f"--trace {trace}: the directory {trace.parent} does not exist; make it first")


def _check_engine(our_options: bool, drafts_sampled: bool) -> None:
    """Refuses what LiteRT-LM would ignore."""
    if our_options:
        raise click.UsageError(
            "LiteRT-LM tells no rounds and takes no draft options: leave out --trace, --draft-steps, --confidence "
            "and --rule, or --engine"
        )
    if drafts_sampled:
        raise click.UsageError(
            "--engine samples with --no-draft only: while it drafts, LiteRT-LM 0.18.1 takes the likeliest token "
            "whatever the temperature"
        )


def _run_here(request: Request) -> list[Trace]:
    """Every turn by our runner."""
    opened = read_bundle(request.bundle)
    text = read_text(opened)
    limits = Limits(request.max_tokens, text.stop_tokens)
    traces: list[Trace] = []
    with open_pair(opened, request.threads) as pair:
        how = _speculation(request, pair.target.max_draft_steps)
        session = Session(pair.target, pair.drafter, request.sampler, how)
        history: list[Message] = [{"role": "system", "content": request.system}] if request.system else []
        raw = ""
        for prompt in _prompts(request):
            history.append({"role": "user", "content": prompt})
            tokens = text.chat_prompt(history) if request.chat else text.raw_prompt(raw + prompt)
            reply = _stream(session, text, tokens, limits)
            history.append({"role": "assistant", "content": reply})
            raw += prompt + reply
            assert session.trace is not None
            traces.append(session.trace)
            _say_all(reply_lines(session.trace))
    return traces


def _speculation(request: Request, most: int) -> Speculation | None:
    if request.draft_steps == 0:
        return None
    steps = request.draft_steps or most
    if steps > most > 0:
        raise EdgeMtpError(
            f"--draft-steps {steps}: the bundle's `verify` takes at most {most} drafts; give that or less"
        )
    policy: DraftPolicy = ConfidentDraft(steps, request.confidence) if request.confidence else FixedDraft(steps)
    return Speculation(policy, request.rule, draft_sampled=request.rule == "rejection")


def _stream(session: Session, text: BundleText, tokens: Sequence[int], limits: Limits) -> str:
    """Writes a reply as it comes; the whole text."""
    detokenizer, parts = Detokenizer(text), []
    for current in session.reply(tokens, limits):
        parts.append(detokenizer.add(current.tokens))
        _write(parts[-1])
    parts.append(detokenizer.finish())
    _write(parts[-1] + "\n")
    return "".join(parts)


def _run_engine(request: Request, backend: str) -> None:
    """Every turn by LiteRT-LM, in one conversation."""
    options = EngineOptions(
        speculative=request.draft_steps != 0,
        max_output_tokens=request.max_tokens,
        threads=request.threads,
        backend=backend,
        chat=request.chat,
        sampler=request.sampler,
        system=request.system,
        one_conversation=True,
    )
    done = run_engine(request.bundle, tuple(_prompts(request)), options, _write)
    _say_all(engine_lines(done))


def _prompts(request: Request) -> Iterator[str]:
    """The prompts given, else lines of stdin, at least one; EdgeMtpError where it is not text."""
    found = False
    try:
        for prompt in request.prompts or _lines_of_stdin():
            prompt.encode()
            found = True
            yield prompt
    except UnicodeError as error:
        raise EdgeMtpError(f"a prompt is not UTF-8 ({error}); convert it first") from None
    if not found:
        raise click.UsageError("no prompt: give --prompt, or lines of text on stdin")


def _lines_of_stdin() -> Iterator[str]:
    if sys.stdin.isatty():
        click.echo("one prompt a line, end with Ctrl-D", err=True)
    for line in sys.stdin:
        if line.strip():
            yield line.rstrip("\n")


def _write_trace(path: Path, request: Request, traces: Sequence[Trace]) -> None:
    value: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "bundle": request.bundle.name,
        "sampler": asdict(request.sampler),
        "turns": [to_json(trace) for trace in traces],
    }
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise EdgeMtpError(f"cannot write --trace {path} ({error.strerror}); give another file") from None
    finally:
        part.unlink(missing_ok=True)


def _write(text: str) -> None:
    click.echo(text, nl=False)
    sys.stdout.flush()


def _say_all(lines: Sequence[str]) -> None:
    for line in lines:
        click.echo(line, err=True)
