"""Plans for phones: which prompts run in which order, MTP off and on, the same in Python, Kotlin and Swift.

docs/device-log.md says how a plan follows from its seed; tests/golden/device holds plans that all three must make.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from edge_mtp.errors import EdgeMtpError

Arm = Literal["spec_off", "spec_on"]

FORMAT: Final = "edge_mtp.plan"
VERSION: Final = 1
SEED_LIMIT: Final = 2**53
"""From here on JSON readers that hold numbers as doubles do not agree."""
SUSTAINED_BLOCK_S: Final = 300
OFF_FIRST: Final[tuple[Arm, Arm]] = ("spec_off", "spec_on")

_MASK: Final = 2**64 - 1


class PlanError(EdgeMtpError):
    """A plan that cannot be made from what was asked for."""


@dataclass(frozen=True)
class Sampler:
    """How tokens are chosen; top_k 1 is greedy."""

    temperature: float = 1.0
    top_k: int = 1
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Gate:
    """What a phone must be like before a block starts; after `max_wait_s` it runs all the same, and is marked."""

    max_thermal: int = 0
    min_battery_level: float = 0.2
    unplugged: bool = True
    low_power_off: bool = True
    max_wait_s: int = 600


@dataclass(frozen=True)
class PlanPrompt:
    """One task; `prompt_class` is what ratios are taken over, a suite's name."""

    id: str
    prompt_class: str
    text: str
    system: str | None = None


@dataclass(frozen=True)
class Pair:
    """Two blocks with the same prompts (ids), one an arm; `first` is the arm that starts."""

    pair: int
    first: Arm
    prompts: tuple[str, ...]


@dataclass(frozen=True)
class Lengths:
    """How often and how long: counts, and seconds."""

    pairs: int
    warmups: int = 1
    block_s: int = 0
    baseline_s: int = 0
    cooldown_s: int = 0
    max_output_tokens: int = 128


@dataclass(frozen=True)
class Plan:
    """Everything that a phone needs to know; see docs/device-log.md."""

    seed: int
    lengths: Lengths
    prompt_set: str
    prompts: tuple[PlanPrompt, ...]
    pairs: tuple[Pair, ...]
    sampler: Sampler = field(default_factory=Sampler)
    gate: Gate = field(default_factory=Gate)

    @property
    def sustained(self) -> bool:
        """Whether blocks are long enough to get hot, and run all prompts in turn."""
        return self.lengths.block_s >= SUSTAINED_BLOCK_S


class SplitMix64:
    """Sebastiano Vigna's generator, https://prng.di.unimi.it/splitmix64.c: the state is the seed itself."""

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK

    def next(self) -> int:
        """The next 64 bits, unsigned."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return mixed ^ (mixed >> 31)

    def below(self, bound: int) -> int:
        """A whole number from 0 to `bound` - 1, by the upper 32 bits of one draw; `bound` ≤ 2^32."""
        return (self.next() >> 32) * bound >> 32


def make_plan(
    prompts: Sequence[PlanPrompt], prompt_set: str, seed: int, lengths: Lengths, sampler: Sampler, gate: Gate
) -> Plan:
    """The plan that `seed` gives for these prompts in this order; PlanError where they are none or share an id."""
    if not 0 <= seed < SEED_LIMIT:
        raise PlanError(f"the seed is {seed}; needed: 0 to {SEED_LIMIT - 1}")
    if not prompts or lengths.pairs < 1:
        raise PlanError(f"{len(prompts)} prompts and {lengths.pairs} pairs; a plan needs one of each or more")
    ids = [prompt.id for prompt in prompts]
    twice = sorted({one for one in ids if ids.count(one) > 1})
    if twice:
        raise PlanError(f"two prompts are called {twice[0]!r}; give each prompt an id of its own")
    pairs = tuple(_pairs(ids, seed, lengths))
    return Plan(seed, lengths, prompt_set, tuple(prompts), pairs, sampler, gate)


def _pairs(ids: Sequence[str], seed: int, lengths: Lengths) -> Iterator[Pair]:
    """Orders flip from pair to pair (off on, on off: ABBA), so that what drifts slowly favours neither arm.

    From one round over the prompts to the next they flip too, so that no prompt always starts with the same arm.
    """
    draws = SplitMix64(seed)
    start = draws.below(2)
    order = _shuffled(ids, draws)
    sustained = lengths.block_s >= SUSTAINED_BLOCK_S
    for index in range(lengths.pairs):
        rounds, place = divmod(index, len(order))
        turned = order[place:] + order[:place]
        flips = index if sustained else place + rounds
        yield Pair(index, OFF_FIRST[(start + flips) % 2], tuple(turned if sustained else turned[:1]))


def _shuffled(ids: Sequence[str], draws: SplitMix64) -> list[str]:
    """Fisher and Yates, from the end; Knuth, The Art of Computer Programming 2, algorithm 3.4.2 P."""
    order = list(ids)
    for place in range(len(order) - 1, 0, -1):
        other = draws.below(place + 1)
        order[place], order[other] = order[other], order[place]
    return order


def prompts_sha256(prompts: Sequence[PlanPrompt]) -> str:
    """What a log is known by: of the prompts' compact JSON, keys in the plan's order, non-ASCII as it is."""
    compact = json.dumps([_prompt_json(one) for one in prompts], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(compact.encode("utf-8")).hexdigest()


def plan_json(plan: Plan) -> dict[str, Any]:
    """The plan as JSON has it, valid by plan.schema.json."""
    lengths = {key: value for key, value in asdict(plan.lengths).items() if key != "pairs"}
    return {
        "format": FORMAT,
        "v": VERSION,
        "design": "abba",
        "seed": plan.seed,
        **lengths,
        "sampler": asdict(plan.sampler),
        "prompt_set": plan.prompt_set,
        "prompt_set_sha256": prompts_sha256(plan.prompts),
        "gate": asdict(plan.gate),
        "prompts": [_prompt_json(prompt) for prompt in plan.prompts],
        "pairs": [{**asdict(pair), "prompts": list(pair.prompts)} for pair in plan.pairs],
    }


def plan_text(plan: Plan) -> str:
    """The file: one key a line at the top, one prompt or pair a line below it, so that differences can be read."""
    lines = []
    for key, value in plan_json(plan).items():
        shown = json.dumps(value, ensure_ascii=False)
        if isinstance(value, list):
            shown = "[\n  " + ",\n  ".join(json.dumps(one, ensure_ascii=False) for one in value) + "\n ]"
        lines.append(f' "{key}": {shown}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _prompt_json(prompt: PlanPrompt) -> dict[str, str]:
    return {key: value for key, value in asdict(prompt).items() if value is not None}
