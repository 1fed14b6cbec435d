"""Joules, or percent of the battery, a token: gross and net, arm by arm and on against off."""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final

from edge_mtp.device.blocks import Place
from edge_mtp.device.energy import BlockEnergy
from edge_mtp.device.estimates import geometric_mean, ratio_of_sums
from edge_mtp.device.meters import METERS, NoReading
from edge_mtp.device.records import ARMS, Arm, Sample
from edge_mtp.device.report import ArmEnergy, EnergyFigures, Estimate, SourceFigures, VoidBlocks

Amounts = Mapping[Place, float]
"""Joules or percent by block."""

PERCENT_SOURCES: Final = ("battery_steps", "charge_counter")


def choose(measured: Sequence[BlockEnergy]) -> str | None:
    """The first source of the ladder that read in both arms, else the first that read at all."""
    arms = {source: {arm for _, arm in gross_amounts(measured, source)} for source in METERS}
    for needed in (2, 1):
        for source in METERS:
            if len(arms[source]) >= needed:
                return source
    return None


def energy_figures(samples: Sequence[Sample], measured: Sequence[BlockEnergy], seed: int) -> EnergyFigures:
    """The chosen source's figures, and every source beside it."""
    source = choose(measured)
    gross = gross_amounts(measured, source) if source else {}
    net = net_amounts(measured, source) if source else {}
    percent_source, percents = percent_amounts(samples, measured)
    idle = [one.baseline_w[source] for one in measured if source in one.baseline_w] if source else []
    seconds = {one.block.place: one.block.duration_s for one in measured}
    tokens = tokens_of(measured)
    return EnergyFigures(
        source=source,
        unit=METERS[source][0] if source else None,
        baseline_w=sum(idle) / len(idle) if idle else None,
        percent_source=percent_source,
        arms=tuple(
            ArmEnergy(
                arm=arm,
                blocks=len(own := _of(arm, gross)),
                tokens=sum(tokens[place] for place in own),
                mean_w=_mean_w(own, seconds) if source and METERS[source][0] == "J" else None,
                gross_per_token=_quotient(own, tokens, seed),
                net_per_token=_quotient(_of(arm, net), tokens, seed),
                tokens_per_percent=_quotient(tokens, _of(arm, percents), seed),
            )
            for arm in ARMS
        ),
        gross_ratio=on_off_ratio(gross, tokens, seed),
        net_ratio=on_off_ratio(net, tokens, seed),
        sources=tuple(_source(one, measured, tokens) for one in METERS),
        void_blocks=tuple(VoidBlocks(*one) for one in Counter(one.void for one in measured if one.void).items()),
    )


def gross_amounts(measured: Sequence[BlockEnergy], source: str) -> Amounts:
    """What `source` read, by block."""
    return {one.block.place: amount for one in measured if (amount := one.amount(source)) is not None}


def net_amounts(measured: Sequence[BlockEnergy], source: str) -> Amounts:
    """The same less the idle phone's; blocks without an idle stretch beside them have none."""
    return {one.block.place: amount for one in measured if (amount := one.net(source)) is not None}


def tokens_of(measured: Sequence[BlockEnergy]) -> Mapping[Place, int]:
    """Tokens by block."""
    return {one.block.place: one.block.tokens for one in measured}


def of_class(measured: Sequence[BlockEnergy], prompt_class: str) -> list[BlockEnergy]:
    """The blocks that hold prompts of this class and no other: energy cannot be split within one."""
    return [one for one in measured if one.block.classes == (prompt_class,)]


def on_off_ratio(amounts: Amounts, tokens: Mapping[Place, int], seed: int) -> Estimate | None:
    """Amount a token with MTP ÷ without, over the pairs that have both."""
    each = {place: amount / tokens[place] for place, amount in amounts.items() if tokens[place] and amount > 0}
    pairs = [pair for pair, arm in sorted(each) if arm == "spec_on" and (pair, "spec_off") in each]
    return geometric_mean([(pair, each[pair, "spec_on"] / each[pair, "spec_off"]) for pair in pairs], seed)


def percent_amounts(samples: Sequence[Sample], measured: Sequence[BlockEnergy]) -> tuple[str | None, Amounts]:
    """Source, and percent of the battery by block: steps of the level, else the charge counter and what is full.

    What is full is told by counter ÷ level, which a level of whole percents knows to one part in a hundred or so.
    """
    steps, charge = (gross_amounts(measured, source) for source in PERCENT_SOURCES)
    full_uah = [
        one.battery_charge_uah / one.battery_level for one in samples if one.battery_charge_uah and one.battery_level
    ]
    volts = [one.battery_voltage_mv / 1000 for one in samples if one.battery_voltage_mv]
    if steps:
        return PERCENT_SOURCES[0], steps
    if not (charge and full_uah and volts):
        return None, {}
    joules_a_percent = median(full_uah) * 1e-6 * 3600 * median(volts) / 100
    return PERCENT_SOURCES[1], {place: amount / joules_a_percent for place, amount in charge.items()}


def _of(arm: Arm, amounts: Amounts) -> Amounts:
    return {place: amount for place, amount in amounts.items() if place[1] == arm}


def _mean_w(joules: Amounts, seconds: Mapping[Place, float]) -> float | None:
    return sum(joules.values()) / sum(seconds[place] for place in joules) if joules else None


def _quotient(upper: Mapping[Place, float], lower: Mapping[Place, float], seed: int) -> Estimate | None:
    """Σ upper ÷ Σ lower over the blocks that have both."""
    both = [place for place in upper if place in lower]
    return ratio_of_sums([upper[place] for place in both], [lower[place] for place in both], seed) if both else None


def _source(source: str, measured: Sequence[BlockEnergy], tokens: Mapping[Place, int]) -> SourceFigures:
    amounts = gross_amounts(measured, source)
    off, on = (_quotient(_of(arm, amounts), tokens, 0) for arm in ARMS)
    reasons = [found.reason for one in measured if isinstance(found := one.readings.get(source), NoReading)]
    missing = next(iter(reasons), None if amounts else "no block can have an energy")
    return SourceFigures(
        source,
        METERS[source][0],
        len(amounts),
        None if off is None else off.value,
        None if on is None else on.value,
        missing,
    )
