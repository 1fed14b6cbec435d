"""Tokens a second: of a trial, of a span of the blocks, and on against off."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from edge_mtp.device.blocks import Block
from edge_mtp.device.estimates import geometric_mean, ratio_of_sums
from edge_mtp.device.plan import SUSTAINED_BLOCK_S
from edge_mtp.device.records import ARMS, Arm, Trial
from edge_mtp.device.report import RateFigures
from edge_mtp.device.validity import Judgement

Source = Literal["runtime", "clock"]
COLD_S: Final = 60.0


class Decoded(NamedTuple):
    """Tokens and the seconds that they took; rates follow from sums of both."""

    tokens: float
    seconds: float

    @property
    def tps(self) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds


@dataclass(frozen=True)
class PairedPrompt:
    """One prompt in one pair: its trials' rate with MTP ÷ without."""

    pair: int
    prompt: str
    prompt_class: str
    ratio: float


def rate_source(trials: Iterable[Trial]) -> Source:
    """The runtime's own benchmark where every trial has it, else the app's clock: never both in one comparison."""
    return "runtime" if all(trial.decode_tps for trial in trials) else "clock"


def decoded(trial: Trial, source: Source) -> Decoded | None:
    """What a trial decoded, by the runtime or by the clock; None where that says nothing.

    The clock runs from the first chunk to the last, so the first chunk's tokens, taken as the mean, do not count.
    """
    tokens = trial.output_tokens or 0
    if source == "runtime":
        return Decoded(tokens, tokens / trial.decode_tps) if tokens and trial.decode_tps else None
    first = tokens / trial.chunks if trial.chunks else 1.0
    if tokens <= first or not trial.decode_ms:
        return None
    return Decoded(tokens - first, trial.decode_ms / 1000)


def total(trials: Iterable[Trial], source: Source) -> Decoded | None:
    """What they decoded together; None where none did."""
    known = [found for trial in trials if (found := decoded(trial, source)) is not None]
    return Decoded(sum(one.tokens for one in known), sum(one.seconds for one in known)) if known else None


def counted_blocks(blocks: Sequence[Block], judged: Sequence[Judgement]) -> tuple[Block, ...]:
    """The blocks with those trials alone that count; their times stay those of the whole block."""
    counting = {one.trial.index for one in judged if one.counts}
    kept = []
    for block in blocks:
        trials = tuple(trial for trial in block.trials if trial.index in counting)
        if trials:
            kept.append(Block(block.pair, block.order, block.arm, trials))
    return tuple(kept)


def paired_prompts(counted: Sequence[Block], source: Source) -> tuple[PairedPrompt, ...]:
    """Every prompt of every pair that counts in both arms; what has no partner is left out."""
    grouped: dict[tuple[int, str, str], dict[Arm, list[Trial]]] = {}
    for block in counted:
        for trial in block.trials:
            key = (block.pair, trial.prompt, trial.prompt_class)
            grouped.setdefault(key, {}).setdefault(block.arm, []).append(trial)
    found = []
    for (pair, prompt, prompt_class), arms in sorted(grouped.items()):
        off, on = (total(arms.get(arm, ()), source) for arm in ARMS)
        if off is not None and on is not None:
            found.append(PairedPrompt(pair, prompt, prompt_class, on.tps / off.tps))
    return tuple(found)


Chosen = Callable[[Block, Trial], bool]


def rate_figures(
    span: str, chosen: Chosen, blocks: Sequence[Block], counting: frozenset[int], source: Source, seed: int
) -> RateFigures:
    """Rates over the trials that count and are `chosen` of their whole block; the ratio is block against block."""
    rates: dict[tuple[int, Arm], Decoded] = {}
    for block in blocks:
        found = total((one for one in block.trials if one.index in counting and chosen(block, one)), source)
        if found is not None:
            rates[block.pair, block.arm] = found
    by_arm = []
    for arm in ARMS:
        own = [one for (_, other), one in rates.items() if other == arm]
        by_arm.append(ratio_of_sums([one.tokens for one in own], [one.seconds for one in own], seed) if own else None)
    pairs = sorted({pair for pair, _ in rates})
    both = [pair for pair in pairs if all((pair, arm) in rates for arm in ARMS)]
    ratios = [(pair, rates[pair, "spec_on"].tps / rates[pair, "spec_off"].tps) for pair in both]
    return RateFigures(span, by_arm[0], by_arm[1], geometric_mean(ratios, seed))


def is_cold(block: Block, trial: Trial) -> bool:
    """Within the first minute of a block whose gate passed."""
    return block.trials[0].gate_passed is not False and trial.start_t_ms - block.start_ms < 1000 * COLD_S


def is_sustained(block: Block, trial: Trial) -> bool:
    """In the second half of a block of five minutes or more."""
    middle_ms = (block.start_ms + block.end_ms) / 2
    return block.duration_s >= SUSTAINED_BLOCK_S and trial.start_t_ms >= middle_ms


def always(block: Block, trial: Trial) -> bool:
    """Every trial."""
    return True


SPANS: Final[tuple[tuple[str, Chosen], ...]] = (("whole", always), ("cold", is_cold), ("sustained", is_sustained))
