"""A recipe: what one export decides (lengths, head, number format of every weight), read from TOML.

A recipe file holds `name`, `[lengths]`, `[drafter]`, `[runtime]` and an ordered list of `[[weights]]`
rules; of the rules that match a weight the last one wins. Sizes of the model are not in it: those
are the checkpoint's. The shipped recipes lie in `export/` and show every key.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol, get_args

from edge_mtp.errors import RecipeError
from edge_mtp.names import SECTIONS
from edge_mtp.toml_table import TomlTable, did_you_mean, open_table, read_toml

Dtype = Literal["float32", "int8", "int4", "int2"]
Head = Literal["dense", "clustered"]
Position = Literal["transformers", "runtime"]
Activation = Literal["fp32", "fp16"]
SlidingCache = Literal["ring", "full"]

ANY_SECTION: Final = "*"
BLOCKS: Final = (0, 32, 64, 128)
_BITS: Final[Mapping[Dtype, int]] = {"float32": 32, "int8": 8, "int4": 4, "int2": 2}
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "": ("name", "lengths", "drafter", "runtime", "weights"),
    "[lengths]": ("context_tokens", "prefill", "draft_steps", "sliding_cache"),
    "[drafter]": ("head", "position"),
    "[runtime]": ("activation",),
    "[[weights]]": ("section", "tensor", "dtype", "block", "reason"),
}


@dataclass(frozen=True)
class WeightFormat:
    """Number format of a weight; `block` is 0 for one scale a row, else the columns that share a scale."""

    dtype: Dtype
    block: int = 0

    @property
    def bits(self) -> int:
        """Bits of one code, scales not counted."""
        return _BITS[self.dtype]

    @property
    def label(self) -> str:
        """Short name for tables: `int8`, or `int4/32` with blocks of 32 columns."""
        return f"{self.dtype}/{self.block}" if self.block else self.dtype


FLOAT32: Final = WeightFormat("float32")


@dataclass(frozen=True)
class WeightRule:
    """Gives `format` to the weights of `section` (`*`: every section) whose whole name matches `tensor`."""

    section: str
    tensor: str
    format: WeightFormat
    reason: str

    def matches(self, section: str, name: str) -> bool:
        """Whether weight `name` of `section` falls under this rule."""
        return self.section in (ANY_SECTION, section) and re.fullmatch(self.tensor, name) is not None


@dataclass(frozen=True)
class Recipe:
    """The decisions of one export; `sha256` is that of the file's bytes."""

    name: str
    context_tokens: int
    prefill_lengths: tuple[int, ...]
    draft_steps: int
    sliding_cache: SlidingCache
    drafter_head: Head
    drafter_position: Position
    activation: Activation
    rules: tuple[WeightRule, ...]
    sha256: str


class Slot(Protocol):
    """What a rule looks at: a weight's name, its shape, and its kind, which says how the graph reads it."""

    @property
    def name(self) -> str:
        """Name as in the checkpoint, without the model's prefix."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape as in the checkpoint."""

    @property
    def kind(self) -> str:
        """`linear`, `embedding`, `rows` (gathered as they are stored) or `vector`."""


def recipe_path(name: str) -> Path:
    """The shipped recipe `name`: in the installed package, else in the checkout's `export/`."""
    package = Path(__file__).parent
    folder = package / "recipes"
    if not folder.is_dir():
        folder = package.parent / "export"
    path = folder / f"{name}.toml"
    if not path.is_file():
        shipped = sorted(found.stem for found in folder.glob("*.toml"))
        near, known = did_you_mean(name, shipped), ", ".join(shipped)
        raise RecipeError(f'no recipe is called "{name}"{near}; give one of {known}, or a file')
    return path


def default_recipe(hidden_size: int, layers: int) -> Path:
    """Recipe for a target of that width and depth; shapes other than E2B's and E4B's get int8 everywhere.

    int8 is the safe answer for a shape nobody tuned a layout for: twice int4's size, and no loss to look for.
    """
    tuned = {(1536, 35): "gemma4-e2b", (2560, 42): "gemma4-e4b"}
    small = "tiny" if hidden_size < 512 else "default"
    return recipe_path(tuned.get((hidden_size, layers), small))


def load_recipe(path: Path) -> Recipe:
    """The recipe in `path`; RecipeError naming file and key where it is malformed."""
    raw, values = read_toml(path)
    top = open_table(path, _KEYS, "", values)
    lengths, drafter, runtime = (
        open_table(path, _KEYS, f"[{key}]", top.typed(key, dict, f"a table [{key}]"))
        for key in ("lengths", "drafter", "runtime")
    )
    context_tokens = lengths.positive("context_tokens")
    return Recipe(
        name=top.text("name"),
        context_tokens=context_tokens,
        prefill_lengths=_prefill_lengths(lengths, context_tokens),
        draft_steps=lengths.positive("draft_steps"),
        sliding_cache=_sliding_cache(lengths),
        drafter_head=drafter.choice("head", get_args(Head)),
        drafter_position=drafter.choice("position", get_args(Position)),
        activation=runtime.choice("activation", get_args(Activation)),
        rules=tuple(_rules(top)),
        sha256=hashlib.sha256(raw).hexdigest(),
    )


def assign_formats(recipe: Recipe, weights: Mapping[str, Sequence[Slot]]) -> dict[tuple[str, str], WeightFormat]:
    """Format of every weight by (section, name); vectors are float32.

    RecipeError lists what does not fit: every rule must decide at least one weight, and every linear
    or embedding weight needs a rule.
    """
    formats: dict[tuple[str, str], WeightFormat] = {}
    deciding: set[int] = set()
    faults: list[str] = []
    for section, slot in ((section, slot) for section, slots in weights.items() for slot in slots):
        formats[section, slot.name] = FLOAT32
        if slot.kind == "vector":
            continue
        matching = [i for i, rule in enumerate(recipe.rules) if rule.matches(section, slot.name)]
        if not matching:
            faults.append(f'no rule covers {section} {slot.name}; add one, dtype = "float32" keeps it as it is')
            continue
        deciding.add(matching[-1])
        formats[section, slot.name] = recipe.rules[matching[-1]].format
        faults += _misfits(matching[-1], recipe.rules[matching[-1]], slot)
    faults += [_unused(i, rule, weights) for i, rule in enumerate(recipe.rules) if i not in deciding]
    if faults:
        shown = [*faults[:8], f"and {len(faults) - 8} more"] if len(faults) > 9 else faults
        raise RecipeError(f'recipe "{recipe.name}" does not fit this checkpoint:\n  ' + "\n  ".join(shown))
    return formats


def _prefill_lengths(lengths: TomlTable, context_tokens: int) -> tuple[int, ...]:
    needed = f"a list of different integers, ascending, from 1 to context_tokens ({context_tokens})"
    found: list[Any] = lengths.typed("prefill", list, needed)
    integers = [length for length in found if type(length) is int and 1 <= length <= context_tokens]
    if not found or integers != found or sorted(set(integers)) != integers:
        raise lengths.refusal("prefill", needed)
    return tuple(integers)


def _sliding_cache(lengths: TomlTable) -> SlidingCache:
    """`ring` where the key is absent."""
    if "sliding_cache" not in lengths.values:
        return "ring"
    chosen: SlidingCache = lengths.choice("sliding_cache", get_args(SlidingCache))
    return chosen


def _rules(top: TomlTable) -> Iterator[WeightRule]:
    """The rules in the file's order; two with the same section and pattern are refused."""
    seen: dict[tuple[str, str], int] = {}
    needed = "one [[weights]] table or more"
    tables: list[Any] = top.typed("weights", list, needed)
    if not tables or not all(isinstance(table, dict) for table in tables):
        raise top.refusal("weights", needed)
    for number, values in enumerate(tables, start=1):
        rule = _rule(open_table(top.path, _KEYS, "[[weights]]", values, number))
        first = seen.setdefault((rule.section, rule.tensor), number)
        if first != number:
            raise RecipeError(
                f"{top.path}: [[weights]] rule {number} repeats rule {first} "
                f"(section {rule.section}, tensor {rule.tensor}); keep one of the two"
            )
        yield rule


def _rule(table: TomlTable) -> WeightRule:
    tensor = table.text("tensor")
    try:
        re.compile(tensor)
    except re.error as error:
        raise table.refusal("tensor", f"a regular expression that matches whole weight names ({error})") from None
    dtype = table.choice("dtype", get_args(Dtype))
    block = table.choice("block", BLOCKS) if "block" in table.values else 0
    if block and dtype != "int4":
        raise table.refusal("block", f"0 with {dtype}; the runtime reads block scales of int4 only")
    section = table.choice("section", (ANY_SECTION, *SECTIONS))
    return WeightRule(section, tensor, WeightFormat(dtype, block), table.text("reason"))


def _misfits(index: int, rule: WeightRule, slot: Slot) -> Iterator[str]:
    """What keeps `slot` from having the format of `rule`."""
    columns = slot.shape[-1]
    wanted = f"rule {index + 1} gives {slot.name} {list(slot.shape)} {rule.format.label}"
    if rule.format.block and slot.kind == "rows":
        yield f"{wanted}, but the clustered head gathers raw rows, which have no blocks; set block = 0"
    elif rule.format.block and columns % rule.format.block:
        yield f"{wanted}, but {columns} columns are no multiple of {rule.format.block}; take another block"
    if slot.kind == "rows" and rule.format.dtype not in ("int8", "float32"):
        yield f"{wanted}, but the clustered head gathers raw rows; take int8 or float32"
    elif columns * rule.format.bits % 8:
        yield f"{wanted}, but a row of {columns} codes does not fill whole bytes; take int8"


def _unused(index: int, rule: WeightRule, weights: Mapping[str, Sequence[Slot]]) -> str:
    """Why `rule` decides no weight, with what to do."""
    start = f"rule {index + 1} (section {rule.section}, tensor {rule.tensor}) decides no weight: "
    slots = [slot for section, found in weights.items() if rule.section in (ANY_SECTION, section) for slot in found]
    matching = [slot for slot in slots if re.fullmatch(rule.tensor, slot.name)]
    if not slots:
        return f"{start}this checkpoint has no {rule.section}; take the rule out"
    if all(slot.kind == "vector" for slot in matching) and matching:
        return f"{start}{matching[0].name} is a vector, and vectors stay float32; take the rule out"
    if matching:
        return f"{start}later rules match all of its weights and win; move it behind them or take it out"
    names = [slot.name for slot in slots if slot.kind != "vector"]
    plain = re.sub(r"\\([.d])\+?", lambda found: "0" if found[1] == "d" else ".", rule.tensor)
    hint = did_you_mean(plain, names) or f"; names look like {', '.join(names[:3])}"
    return f"{start}no name matches{hint}"
