"""Rung 3: the quantized bundle says what the float checkpoint says, token by token on its own replies."""

from collections import defaultdict
from typing import Final

import numpy as np

from edge_mtp.parity.measured import Measured, Moved
from edge_mtp.parity.metrics import KL_EDGES, QualitySums, lead_changes, signal_to_noise_db
from edge_mtp.parity.oracle import Oracle, load_oracle
from edge_mtp.parity.report import Divergence, Histogram, SuiteQuality
from edge_mtp.parity.results import Control, CouldNotCheckError, Figure, Finding
from edge_mtp.parity.rungs.verification import decode_rows
from edge_mtp.parity.workbench import Replies, Workbench
from edge_mtp.runner.protocols import Floats
from edge_mtp.runner.sampling import Sampler, choose

RUNG: Final = 3


def check(bench: Workbench, measured: Measured) -> Finding:
    """KL, agreement and perplexity on every reply; where greedy texts part; logits' signal-to-noise ratio.

    The oracle reads the bundle's replies. Where its best token is another than the reply's, its own greedy reply would
    have parted from the bundle's there for the first time.
    """
    gates = bench.request.gates
    oracle = load_oracle(bench.request.target, bench.request.drafter, bench.torch_threads)
    sums: dict[str, QualitySums] = defaultdict(QualitySums)
    partings: list[Divergence] = []
    agreed: dict[str, int] = defaultdict(int)
    parted: dict[str, int] = defaultdict(int)
    shifted, noise, lead = QualitySums(), [], 0.0
    for replies in bench.counted("bundle against float checkpoint", bench.replies):
        suite, tokens = replies.task.prompt.suite, replies.plain.tokens
        found, expected = decode_rows(bench.target, replies.task, tokens).logits, _expected(oracle, replies)
        sums[suite] = sums[suite].add(expected, found, tokens)
        noise.append(signal_to_noise_db(expected, found))
        lead = max(lead, float(lead_changes(expected, found).max()))
        if len(tokens) > 1:
            shifted = shifted.add(expected[1:], found[:-1], tokens[1:])
        at = _first_other(expected, tokens)
        agreed[suite] += len(tokens) if at is None else at
        if at is not None:
            parted[suite] += 1
            partings.append(_parting(bench, replies, expected[at], found[at], at))
    del oracle
    total = sum(sums.values(), QualitySums())
    quality, control = total.quality(), shifted.quality()
    if quality is None or control is None:
        raise CouldNotCheckError("fewer than two tokens were generated; give more prompts or a larger --max-tokens")
    measured.quality = tuple(
        one for suite, found_sums in sums.items() if (one := _suite(suite, found_sums, agreed[suite], parted[suite]))
    )
    measured.kl_histogram = Histogram(KL_EDGES, total.kl_counts(), "log")
    measured.divergences += tuple(partings)
    measured.moved = Moved(lead, quality.tokens - int(total.top1.sum()), quality.tokens)
    figures = (
        Figure("tokens", quality.tokens),
        Figure("KL mean", quality.kl_mean, "nats", f"≤ {gates.kl_mean:g}", quality.kl_mean <= gates.kl_mean),
        Figure("KL p99", quality.kl_p99, "nats"),
        Figure("KL max", quality.kl_max, "nats"),
        Figure("same best token", quality.top1, "of tokens", f"≥ {gates.top1:g}", quality.top1 >= gates.top1),
        Figure("five best shared", quality.top5, "of them"),
        Figure("perplexity, bundle ÷ float", quality.perplexity_ratio, f"± {quality.perplexity_ratio_error:.2g}"),
        Figure("logits' signal-to-noise ratio", float(np.median(noise)), "dB, median of replies"),
        Figure("greedy replies that part", len(partings), f"of {len(bench.replies)}"),
    )
    rejected = control.kl_mean > gates.kl_mean and control.top1 < gates.top1
    shift = Control("float checkpoint shifted by one token", rejected, (Figure("KL mean", control.kl_mean, "nats"),))
    return Finding(figures, (shift,))


def _expected(oracle: Oracle, replies: Replies) -> Floats:
    """The oracle's logits before each token of the plain reply [n, vocab]."""
    prompt, tokens = replies.task.tokens, replies.plain.tokens
    return oracle.score([*prompt, *tokens[:-1]]).logits[len(prompt) - 1 :]


def _first_other(expected: Floats, tokens: tuple[int, ...]) -> int | None:
    """Index of the first token that is not the oracle's best."""
    return next((i for i, token in enumerate(tokens) if int(expected[i].argmax()) != token), None)


def _parting(bench: Workbench, replies: Replies, expected: Floats, found: Floats, at: int) -> Divergence:
    """expected, found [vocab] before token `at`. What quantization changed there is what its margin is held against."""
    choice, tokens = choose(expected, Sampler(), 0), replies.plain.tokens
    tolerance = 2.0 * float(np.abs(found - expected).max())
    prompt = replies.task.prompt
    return Divergence(
        rung=RUNG,
        arm="float checkpoint against bundle",
        suite=prompt.suite,
        prompt=prompt.id,
        at_token=at,
        context=bench.text.decode(tokens[:at])[-60:],
        expected=bench.text.decode([choice.token]),
        found=bench.text.decode([tokens[at]]),
        margin=choice.margin,
        tolerance=tolerance,
        excused=choice.margin < tolerance,
    )


def _suite(suite: str, sums: QualitySums, agreed: int, parted: int) -> SuiteQuality | None:
    """None below two tokens, of which no error can be told."""
    quality = sums.quality()
    if quality is None:
        return None
    return SuiteQuality(suite=suite, **vars(quality), divergences_per_1000=1000.0 * parted / max(agreed, 1))
