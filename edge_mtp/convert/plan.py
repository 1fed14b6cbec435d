"""What an export will do, decided before anything is written: sections, weights, formats, sizes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_mtp import names
from edge_mtp.checkpoint.pairing import Pair
from edge_mtp.errors import RecipeError
from edge_mtp.graphs.spec import GraphSpec, Lengths, WeightSlot, section_names
from edge_mtp.recipe import Recipe, WeightFormat, assign_formats

SMALL_BYTES = 32 << 20
"""Room for what is not weights: graphs, tokenizer, metadata, alignment."""


@dataclass(frozen=True)
class SectionNeeds:
    """What a section's graph asks for: weights of the checkpoint, and tables computed for it."""

    slots: tuple[WeightSlot, ...]
    tables: Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class PlannedWeight:
    """One weight and the format it gets."""

    slot: WeightSlot
    format: WeightFormat

    @property
    def parameters(self) -> int:
        """Number of values."""
        return math.prod(self.slot.shape)

    @property
    def bytes(self) -> int:
        """Bytes in the bundle: packed codes and scales."""
        if self.format.dtype == "float32":
            return 4 * self.parameters
        rows, columns = self.slot.shape[0], math.prod(self.slot.shape[1:])
        scales = 2 * rows * columns // self.format.block if self.format.block else 4 * rows
        return -(-self.parameters * self.format.bits // 8) + scales


@dataclass(frozen=True)
class SectionPlan:
    """One section: its graph, its weights in order, its computed tables."""

    spec: GraphSpec
    weights: tuple[PlannedWeight, ...]
    tables: Mapping[str, npt.NDArray[Any]]

    @property
    def name(self) -> str:
        """The section's name, one of names.SECTIONS."""
        return self.spec.section

    @property
    def parameters(self) -> int:
        """Values in all weights of the section."""
        return sum(weight.parameters for weight in self.weights)

    @property
    def bytes(self) -> int:
        """Bytes of all weights of the section in the bundle."""
        return sum(weight.bytes for weight in self.weights)


@dataclass(frozen=True)
class ExportPlan:
    """The whole export. Sizes in bytes; `bundle_bytes` is an upper estimate."""

    pair: Pair
    recipe: Recipe
    lengths: Lengths
    sections: tuple[SectionPlan, ...]

    @property
    def bundle_bytes(self) -> int:
        """Size of the bundle, rounded up."""
        return sum(section.bytes for section in self.sections) + SMALL_BYTES

    @property
    def parameters(self) -> int:
        """Values in all weights; a tied head counts twice, because the bundle holds it twice."""
        return sum(section.parameters for section in self.sections)


def lengths_of(recipe: Recipe) -> Lengths:
    """The recipe's lengths as the graphs take them."""
    return Lengths(recipe.context_tokens, recipe.prefill_lengths, recipe.draft_steps, recipe.sliding_cache)


def graph_specs(pair: Pair, recipe: Recipe) -> tuple[GraphSpec, ...]:
    """One spec per section; whether the clustered head is coded is settled by `make_plan`.

    Head and position go to the drafter alone, so that with others the target's cached graphs still serve.
    """
    limit = pair.target.decoder.max_positions
    if recipe.context_tokens > limit:
        raise RecipeError(
            f'recipe "{recipe.name}" promises {recipe.context_tokens} tokens of context, but the checkpoint was made '
            f"for {limit} (max_position_embeddings); set context_tokens = {limit} or less"
        )
    if recipe.drafter_head == "clustered" and not pair.drafter.ordered_embeddings:
        raise RecipeError(
            f'recipe "{recipe.name}" asks for the clustered head, but this drafter has none '
            '(use_ordered_embeddings is false in its config.json); set head = "dense"'
        )
    lengths = lengths_of(recipe)
    specs = [GraphSpec(section, pair.target, pair.drafter, lengths) for section in section_names(pair.target)]
    return tuple(
        replace(spec, head=recipe.drafter_head, position=recipe.drafter_position)
        if spec.section == names.DRAFTER
        else spec
        for spec in specs
    )


def make_plan(pair: Pair, recipe: Recipe, specs: Sequence[GraphSpec], needs: Mapping[str, SectionNeeds]) -> ExportPlan:
    """Gives every weight its format; RecipeError where a rule does not fit."""
    formats = assign_formats(recipe, {section: need.slots for section, need in needs.items()})
    sections = []
    for spec in specs:
        weights = tuple(PlannedWeight(s, formats[spec.section, s.name]) for s in needs[spec.section].slots)
        coded = _is_coded(weights, recipe)
        final = replace(spec, coded=coded) if spec.section == names.DRAFTER else spec
        sections.append(SectionPlan(final, weights, needs[spec.section].tables))
    return ExportPlan(pair, recipe, lengths_of(recipe), tuple(sections))


def _is_coded(weights: Sequence[PlannedWeight], recipe: Recipe) -> bool:
    """Whether gathered rows are int8 codes; RecipeError for formats the gathering graph cannot read."""
    gathered = [weight for weight in weights if weight.slot.kind == "rows"]
    for weight in gathered:
        if weight.format.label not in ("int8", "float32"):
            raise RecipeError(
                f'recipe "{recipe.name}" gives {weight.slot.name} {weight.format.label}, but the clustered head '
                'gathers its rows as int8 or float32; set dtype = "int8" for it, or head = "dense"'
            )
    return any(weight.format.dtype == "int8" for weight in gathered)


def bits_per_weight(parameters: int, stored_bytes: int) -> float:
    """Bits a parameter takes, scales included."""
    return float(np.divide(8.0 * stored_bytes, max(parameters, 1)))
