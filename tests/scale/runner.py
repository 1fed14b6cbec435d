"""Our runner beside the stock engine on one bundle, in one run: `python -m tests.scale.runner [BUNDLE]`.

Both decode the same prompt for the same number of tokens, MTP off and on, taking turns; rates are medians of the runs
and their ratio. Without BUNDLE it is the synthetic E2B that `make scale` exports, made here where it is missing.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from edge_mtp.bundle.reader import read_bundle
from edge_mtp.runner.drafting import FixedDraft
from edge_mtp.runner.engine import EngineOptions, run_engine
from edge_mtp.runner.generate import Limits, Speculation
from edge_mtp.runner.litert import LiteRTPair, open_pair
from edge_mtp.runner.sampling import Sampler
from edge_mtp.runner.session import Session
from edge_mtp.runner.text import BundleText, read_text
from tests.scale.checkpoint import default_directory
from tests.scale.export import run_size
from tests.scale.machine import read_machine

THREADS = 2
TOKENS = 48
PROMPT = "The window counts rows back from the last one, so a longer prompt costs no more to read. " * 8

Rates = dict[tuple[str, bool], list[float]]
"""Tokens per second by who decoded and whether it drafted."""


def measure(bundle: Path, runs: int) -> Rates:
    """`runs` of each arm in turn, and one of each before that is not counted."""
    opened = read_bundle(bundle)
    text = read_text(opened)
    rates: Rates = {(who, drafting): [] for who in ("engine", "runner") for drafting in (False, True)}
    with TemporaryDirectory(prefix="edge-mtp-bench-") as cache:
        ours = Path(cache) / "runner"
        ours.mkdir()
        with open_pair(opened, THREADS, ours) as pair:
            arms: Mapping[str, Callable[[bool], float]] = {
                "engine": lambda drafting: engine_rate(bundle, cache, drafting),
                "runner": lambda drafting: runner_rate(pair, text, drafting),
            }
            for run in range(runs + 1):
                for (who, drafting), found in rates.items():
                    rate = arms[who](drafting)
                    if run:
                        found.append(rate)
    return rates


def engine_rate(bundle: Path, cache: str, drafting: bool) -> float:
    """LiteRT-LM's decode rate, as its own benchmark tells it."""
    options = EngineOptions(drafting, TOKENS, threads=THREADS, chat=False, cache_dir=cache)
    return run_engine(bundle, [PROMPT], options).replies[0].decode_tokens_per_s


def runner_rate(pair: LiteRTPair, text: BundleText, drafting: bool) -> float:
    """Our decode rate: tokens behind the first over their time. No stop tokens, so that every run is as long."""
    how = Speculation(FixedDraft(pair.target.max_draft_steps)) if drafting else None
    session = Session(pair.target, pair.drafter, Sampler(), how)
    for _ in session.reply(text.raw_prompt(PROMPT), Limits(TOKENS)):
        continue
    assert session.trace is not None and session.trace.tokens_per_s is not None
    return session.trace.tokens_per_s


def print_rates(rates: Rates) -> None:
    """Medians with extremes, and runner ÷ engine."""
    table = Table("decode, tokens/s", "engine", "runner", "runner ÷ engine", box=None, pad_edge=False)
    for drafting in (False, True):
        engine, runner = rates["engine", drafting], rates["runner", drafting]
        ratio = statistics.median(a / b for a, b in zip(runner, engine, strict=True))
        table.add_row(f"MTP {'on' if drafting else 'off'}", spread(engine), spread(runner), f"{ratio:.2f}")
    Console(width=100).print(table)


def spread(values: list[float]) -> str:
    """Median and extremes."""
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def main() -> int:
    """Prints the machine and the table."""
    parser = argparse.ArgumentParser(description="Our runner's decode rate beside the engine's.")
    parser.add_argument("bundle", type=Path, nargs="?")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    print(read_machine(), flush=True)
    bundle = arguments.bundle or default_directory() / "E2B.litertlm"
    if not bundle.is_file():
        run_size("E2B", default_directory(), again=False)
    print_rates(measure(bundle, arguments.runs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
