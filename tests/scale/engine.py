"""Speed of a bundle in the stock engine with MTP off and on, by the engine's own benchmark.

Every run is a process of its own, arms take turns, and one run beforehand, not counted, writes the engine's
weight cache. With synthetic weights next to no draft is accepted, so MTP "on" shows what a round costs.
"""

import json
import re
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

THREADS = 2
DRAFT_STEPS = 3  # of the default recipes
PREFILL_TOKENS = 1024
DECODE_TOKENS = 96
# Long enough for PREFILL_TOKENS: the benchmark fills a short prompt up with <pad>, after which a model may
# write an end token at once, and the engine (0.18.1) with MTP on then waits for tokens that never come.
PROMPT = "The window counts rows back from the last one, so a longer prompt costs no more to read. " * 120
_TIMEOUT_S = 300
_SUCCESS_RATE = re.compile(r"Success rate:\s*([0-9.eE+-]+)")


@dataclass(frozen=True)
class EngineRun:
    """What the engine says of one run."""

    speculative: bool
    load_s: float
    first_token_s: float
    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    success_rate: float | None = None


@dataclass(frozen=True)
class Spread:
    """Median of the runs, and the extremes between which they lie."""

    median: float
    lowest: float
    highest: float

    def __str__(self) -> str:
        return f"{self.median:.1f} ({self.lowest:.1f} to {self.highest:.1f})"


@dataclass(frozen=True)
class EngineSpeed:
    """Tokens a second of one bundle; `success_rate` is accepted / drafted."""

    prefill_off: Spread
    prefill_on: Spread
    decode_off: Spread
    decode_on: Spread
    success_rate: float | None
    runs: tuple[EngineRun, ...]

    @property
    def round_decodes(self) -> float | None:
        """What a draft-and-verify round costs, in plain decodes; None where no rate is known."""
        if self.success_rate is None:
            return None
        tokens_a_round = 1 + self.success_rate * DRAFT_STEPS
        return tokens_a_round * self.decode_off.median / self.decode_on.median


def measure_engine(bundle: Path, runs: int, threads: int = THREADS) -> EngineSpeed:
    """`runs` runs of `bundle` with MTP off and as many with MTP on."""
    run_child(bundle, speculative=True, threads=threads)
    found = [run_child(bundle, speculative=on, threads=threads) for _ in range(runs) for on in (False, True)]
    off, on = ([run for run in found if run.speculative is wanted] for wanted in (False, True))
    return EngineSpeed(
        prefill_off=_spread([run.prefill_tokens_per_s for run in off]),
        prefill_on=_spread([run.prefill_tokens_per_s for run in on]),
        decode_off=_spread([run.decode_tokens_per_s for run in off]),
        decode_on=_spread([run.decode_tokens_per_s for run in on]),
        success_rate=on[-1].success_rate,
        runs=tuple(found),
    )


def run_child(bundle: Path, *, speculative: bool, threads: int) -> EngineRun:
    """One benchmark in a fresh process; RuntimeError with the end of its log where it fails."""
    command = [sys.executable, "-m", "tests.scale.engine", str(bundle), str(int(speculative)), str(threads)]
    child = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S)
    lines = [line for line in child.stdout.splitlines() if line.startswith("{")]
    if child.returncode != 0 or not lines:
        raise RuntimeError(
            f"the engine did not run {bundle} (exit status {child.returncode}); its log ends\n{child.stderr[-1500:]}"
        )
    rates = _SUCCESS_RATE.findall(child.stderr)
    return EngineRun(**{**json.loads(lines[-1]), "success_rate": float(rates[-1]) if rates else None})


def _spread(values: list[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))


def main() -> None:
    """The child: BUNDLE, 0 or 1 for MTP, threads; prints one JSON line."""
    from litert_lm import Backend, Benchmark, LogSeverity, set_min_log_severity

    bundle, speculative, threads = sys.argv[1:]
    set_min_log_severity(LogSeverity.INFO)
    info = Benchmark(
        bundle,
        backend=Backend.CPU(thread_count=int(threads)),
        prefill_tokens=PREFILL_TOKENS,
        decode_tokens=DECODE_TOKENS,
        enable_speculative_decoding=speculative == "1",
        prompt=PROMPT,
    ).run()
    run = EngineRun(
        speculative=speculative == "1",
        load_s=info.init_time_in_second,
        first_token_s=info.time_to_first_token_in_second,
        prefill_tokens_per_s=info.last_prefill_tokens_per_second,
        decode_tokens_per_s=info.last_decode_tokens_per_second,
    )
    print(json.dumps(asdict(run)), flush=True)


if __name__ == "__main__":
    main()
