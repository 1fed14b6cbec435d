"""What each block of a run cost the battery, by every meter, and what the phone draws while idle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from edge_mtp.device.blocks import Block
from edge_mtp.device.meters import LARGEST_GAP_MS, METERS, NoReading, Power, Reading, read
from edge_mtp.device.records import Sample
from edge_mtp.device.validity import WORDS, Judgement

LEAST_BLOCK_S: Final = 60.0


@dataclass(frozen=True)
class BlockEnergy:
    """What every meter says of a block, or why it has no energy at all; `baseline_w` is the idle power around it."""

    block: Block
    void: str | None
    readings: Mapping[str, Reading | NoReading]
    baseline_w: Mapping[str, float]

    def amount(self, source: str) -> float | None:
        """Gross, in the source's unit."""
        found = self.readings.get(source)
        return found.amount if isinstance(found, Reading) else None

    def net(self, source: str) -> float | None:
        """Less what the phone draws while idle; None where that was not measured."""
        gross, idle_w = self.amount(source), self.baseline_w.get(source)
        return None if gross is None or idle_w is None else gross - idle_w * self.block.duration_s


def measure(power: Power, blocks: Sequence[Block], judged: Sequence[Judgement]) -> tuple[BlockEnergy, ...]:
    """All meters over all blocks that can have an energy."""
    reasons = {one.trial.index: one.reasons for one in judged}
    idle = {source: baselines(power, source, blocks) for source, (unit, _) in METERS.items() if unit == "J"}
    measured = []
    for block in blocks:
        void = _void(power, block, reasons)
        readings = {} if void else {source: read(source, power, block.start_ms, block.end_ms) for source in METERS}
        around = {source: by_pair[block.pair] for source, by_pair in idle.items() if block.pair in by_pair}
        measured.append(BlockEnergy(block, void, readings, around))
    return tuple(measured)


def _void(power: Power, block: Block, reasons: Mapping[int, tuple[str, ...]]) -> str | None:
    """Why a block has no energy: it is short, one of its trials does not count, or a sample in it was plugged in."""
    if block.duration_s < LEAST_BLOCK_S:
        return f"shorter than {LEAST_BLOCK_S:.0f} s"
    told = {reason for trial in block.trials for reason in reasons[trial.index]}
    if told:
        return "; ".join(WORDS[reason] for reason in WORDS if reason in told)
    if any(sample.charging for sample in power.samples(block.start_ms, block.end_ms)):
        return WORDS["charging"]
    return None


def baselines(power: Power, source: str, blocks: Sequence[Block]) -> dict[int, float]:
    """Watts by pair: the idle stretches right before and right after it, weighted by their length."""
    stretches = []
    for start_ms, end_ms in idle_stretches(power.log.samples):
        found = read(source, power, start_ms, end_ms)
        if isinstance(found, Reading):
            stretches.append((start_ms, end_ms, found.amount))
    known: dict[int, float] = {}
    for pair in sorted({block.pair for block in blocks}):
        own = [block for block in blocks if block.pair == pair]
        begin, end = min(block.start_ms for block in own), max(block.end_ms for block in own)
        before = [one for one in stretches if one[1] <= begin][-1:]
        after = [one for one in stretches if one[0] >= end][:1]
        if before or after:
            seconds = sum((stop - start) / 1000 for start, stop, _ in (*before, *after))
            known[pair] = sum(joules for _, _, joules in (*before, *after)) / seconds
    return known


def idle_stretches(samples: Sequence[Sample]) -> list[tuple[int, int]]:
    """(first, last) moment of every run of samples of the phase `baseline` without a charger or a long gap."""
    idle = [one for one in samples if one.phase == "baseline" and not one.charging]
    stretches: list[tuple[int, int]] = []
    places = {one.seq: place for place, one in enumerate(samples)}
    for before, now in pairwise(idle):
        together = places[now.seq] == places[before.seq] + 1 and now.t_ms - before.t_ms <= LARGEST_GAP_MS
        if together and stretches and stretches[-1][1] == before.t_ms:
            stretches[-1] = (stretches[-1][0], now.t_ms)
        elif together:
            stretches.append((before.t_ms, now.t_ms))
    return [stretch for stretch in stretches if stretch[1] > stretch[0]]
