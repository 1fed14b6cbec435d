"""`edge-mtp device plan`: the plan that the phone apps run."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from edge_mtp.commands.output import make_directory, write_file
from edge_mtp.device.plan import SEED_LIMIT, Gate, Lengths, Plan, PlanPrompt, Sampler, make_plan, plan_text
from edge_mtp.prompts import Suite, read_suites, shipped_suites

QUICK: Final = Lengths(pairs=0)
SUSTAINED: Final = Lengths(pairs=2, block_s=600, baseline_s=60, cooldown_s=300, max_output_tokens=256)
GATE: Final = Gate()
NOT_NEGATIVE: Final = click.IntRange(min=0)


@click.command()
@click.option(
    "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="File for the plan, JSON."
)
@click.option(
    "--sustained", is_flag=True, help="Two pairs of 10-minute blocks with idle time around them: heat and energy."
)
@click.option("--prompts", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Prompt suite (.jsonl), repeatable. Default: the suites that come with edge_mtp.")  # fmt: skip
@click.option("--per-suite", default=6, show_default=True, type=click.IntRange(min=1), help="Prompts of each suite.")
@click.option("--pairs", type=click.IntRange(min=1), help="Pairs of blocks. Default: one a prompt; sustained 2.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, SEED_LIMIT - 1), help="Of the order.")
@click.option(
    "--warmups", default=1, show_default=True, type=click.IntRange(min=0), help="Trials an arm that do not count."
)
@click.option("--block-s", type=NOT_NEGATIVE, help="How long a block repeats its prompts; 60 or more for energy. "
              "Default: one trial; sustained 600.")  # fmt: skip
@click.option("--baseline-s", type=NOT_NEGATIVE, help="Idle seconds before and after a pair. Default: 0; sustained 60.")
@click.option("--cooldown-s", type=NOT_NEGATIVE, help="Idle seconds between blocks. Default: 0; sustained 300.")
@click.option("--max-tokens", type=click.IntRange(min=2), help="Per reply. Default: 128; sustained 256.")
@click.option("--max-thermal", default=GATE.max_thermal, show_default=True, type=click.IntRange(0, 3),
              help="Warmest state in which a block starts.")  # fmt: skip
@click.option("--min-battery", default=GATE.min_battery_level, show_default=True, type=click.FloatRange(0, 1),
              help="Lowest battery level at which one does.")  # fmt: skip
@click.option("--max-wait-s", default=GATE.max_wait_s, show_default=True, type=NOT_NEGATIVE,
              help="How long a block waits for that; then it runs and does not count.")  # fmt: skip
def plan(
    output: Path,
    sustained: bool,
    prompts: tuple[Path, ...],
    per_suite: int,
    pairs: int | None,
    seed: int,
    warmups: int,
    block_s: int | None,
    baseline_s: int | None,
    cooldown_s: int | None,
    max_tokens: int | None,
    max_thermal: int,
    min_battery: float,
    max_wait_s: int,
) -> None:
    """Write the plan that a phone runs: pairs of blocks, MTP off and on, their order flipped from pair to pair."""
    suites = read_suites(prompts or shipped_suites(), per_suite)
    chosen = plan_prompts(suites)
    preset = SUSTAINED if sustained else replace(QUICK, pairs=len(chosen))
    asked = {"pairs": pairs, "block_s": block_s, "baseline_s": baseline_s, "cooldown_s": cooldown_s}
    given = {**asked, "max_output_tokens": max_tokens, "warmups": warmups}
    lengths = replace(preset, **{key: value for key, value in given.items() if value is not None})
    gate = replace(GATE, max_thermal=max_thermal, min_battery_level=min_battery, max_wait_s=max_wait_s)
    name = "+".join(suite.name for suite in suites)
    made = make_plan(chosen, name, seed, lengths, Sampler(), gate)
    make_directory(output.parent)
    write_file(output, plan_text(made))
    Console(stderr=True).print(_told(made, output), highlight=False, markup=False, soft_wrap=True)


def plan_prompts(suites: Sequence[Suite]) -> list[PlanPrompt]:
    """The suites' prompts, their class the suite's name."""
    return [PlanPrompt(one.id, suite.name, one.text, one.system) for suite in suites for one in suite.prompts]


def _told(made: Plan, output: Path) -> str:
    lengths = made.lengths
    blocks_s = 2 * lengths.pairs * (lengths.block_s + lengths.cooldown_s)
    least_s = blocks_s + (lengths.pairs + 1) * lengths.baseline_s
    time = f", at least {least_s / 60:.0f} minutes" if least_s else ""
    return f"wrote {output}: {lengths.pairs} pairs over {len(made.prompts)} prompts, seed {made.seed}{time}"
