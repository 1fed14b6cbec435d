"""Which rule decides which weight, what does not fit, and the shipped recipes on the real shapes."""

import math
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_mtp.errors import RecipeError
from edge_mtp.recipe import Recipe, WeightFormat, WeightRule, assign_formats, load_recipe, recipe_path


@dataclass(frozen=True)
class Slot:
    name: str
    shape: tuple[int, ...]
    kind: str = "linear"


def rule(section: str, tensor: str, dtype="int8", block=0) -> WeightRule:
    return WeightRule(section, tensor, WeightFormat(dtype, block), "a test")


def recipe_of(*rules: WeightRule) -> Recipe:
    return replace(load_recipe(recipe_path("tiny")), name="mine", rules=rules)


def gemma_slots(hidden, layers, kv_heads, owning, mlp_widths, full_every):
    """Weights of an E2B- or E4B-shaped target and its drafter, by section."""
    target = []
    for layer in range(layers):
        head_dim = 512 if (layer + 1) % full_every == 0 else 256
        projections = {"q": (8 * head_dim, hidden), "o": (hidden, 8 * head_dim)}
        if layer < owning:
            projections |= {"k": (kv_heads * head_dim, hidden), "v": (kv_heads * head_dim, hidden)}
        width = mlp_widths[layer >= owning]
        target += [Slot(f"layers.{layer}.self_attn.{p}_proj.weight", s) for p, s in projections.items()]
        target += [Slot(f"layers.{layer}.mlp.{p}_proj.weight", (width, hidden)) for p in ("gate", "up")]
        target += [
            Slot(f"layers.{layer}.mlp.down_proj.weight", (hidden, width)),
            Slot(f"layers.{layer}.per_layer_input_gate.weight", (256, hidden)),
            Slot(f"layers.{layer}.per_layer_projection.weight", (hidden, 256)),
            Slot(f"layers.{layer}.input_layernorm.weight", (hidden,), "vector"),
        ]
    return {
        "target": [
            *target,
            Slot("per_layer_model_projection.weight", (layers * 256, hidden)),
            Slot("lm_head.weight", (262144, hidden)),
        ],
        "embedder": [Slot("embed_tokens.weight", (262144, hidden), "embedding")],
        "per_layer_embedder": [Slot("embed_tokens_per_layer.weight", (262144, layers * 256), "embedding")],
        "drafter": [
            Slot("pre_projection.weight", (256, 2 * hidden)),
            Slot("post_projection.weight", (hidden, 256)),
            Slot("layers.0.mlp.up_proj.weight", (2048, 256)),
            Slot("lm_head.weight", (262144, 256)),
        ],
    }


SHAPES = {
    "gemma4-e2b": gemma_slots(1536, 35, 1, 15, (6144, 12288), 5),
    "gemma4-e4b": gemma_slots(2560, 42, 2, 24, (10240, 10240), 6),
}


def stored_bytes(slot: Slot, form: WeightFormat) -> int:
    values = math.prod(slot.shape)
    return values * form.bits // 8 + (values // form.block * 2 if form.block else slot.shape[0] * 4)


def test_the_later_rule_wins():
    recipe = recipe_of(rule("*", ".*"), rule("target", "a.*", "int4", 32), rule("target", "ab", "int2"))
    weights = {
        "target": [Slot("a", (4, 64)), Slot("ab", (4, 64)), Slot("b", (4, 64))],
        "drafter": [Slot("a", (4, 64))],
    }
    assert assign_formats(recipe, weights) == {
        ("target", "a"): WeightFormat("int4", 32),
        ("target", "ab"): WeightFormat("int2"),
        ("target", "b"): WeightFormat("int8"),
        ("drafter", "a"): WeightFormat("int8"),
    }


def test_vectors_stay_float32():
    weights = {"target": [Slot("norm.weight", (64,), "vector"), Slot("a", (4, 64))]}
    formats = assign_formats(recipe_of(rule("*", ".*", "int4")), weights)
    assert formats["target", "norm.weight"] == WeightFormat("float32")


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([rule("*", "b")], "no rule covers target layers.0.up.weight; add one"),
        (
            [rule("*", ".*"), rule("per_layer_embedder", ".*")],
            "rule 2 .*decides no weight: this checkpoint has no per_layer_embedder",
        ),
        (
            [rule("target", "layers.*"), rule("*", ".*")],
            "rule 1 .*later rules match all of its weights and win",
        ),
        ([rule("*", ".*"), rule("*", r"norm\.weight")], "rule 2 .*norm.weight is a vector"),
        (
            [rule("*", ".*"), rule("*", r"layers\.\d+\.upp\.weight")],
            'rule 2 .*did you mean "layers.0.up.weight"',
        ),
        ([rule("*", ".*"), rule("*", "zzz")], "rule 2 .*no name matches; names look like layers.0.up.weight"),
        ([rule("*", "layers"), rule("*", ".*")], "rule 1 .*no name matches"),
        ([rule("*", ".*", "int4", 64)], r"rule 1 gives .*96\] int4/64, but 96 columns are no multiple of 64"),
        ([rule("*", ".*", "int4", 32)], r"gives head \[9, 64\] int4/32, but the clustered head gathers raw rows"),
    ],
)
def test_rules_that_do_not_fit(rules, message):
    weights = {
        "target": [Slot("layers.0.up.weight", (8, 96)), Slot("norm.weight", (96,), "vector")],
        "embedder": [Slot("embed", (9, 64), "embedding")],
        "drafter": [Slot("head", (9, 64), "rows")],
    }
    with pytest.raises(RecipeError, match=message):
        assign_formats(recipe_of(*rules), weights)


def test_rows_must_fill_whole_bytes():
    with pytest.raises(RecipeError, match="a row of 5 codes does not fill whole bytes"):
        assign_formats(recipe_of(rule("*", ".*", "int4")), {"target": [Slot("odd", (8, 5))]})


def test_gathered_rows_take_8_bits_or_none():
    weights = {"drafter": [Slot("clusters.weight", (8, 64), "rows")]}
    assert assign_formats(recipe_of(rule("*", ".*")), weights)
    with pytest.raises(RecipeError, match="gathers raw rows"):
        assign_formats(recipe_of(rule("*", ".*", "int4")), weights)


def test_many_faults_are_summed_up():
    weights = {"target": [Slot(f"w{i}", (8, 8)) for i in range(40)]}
    with pytest.raises(RecipeError, match="and 33 more") as caught:
        assign_formats(recipe_of(rule("*", "x")), weights)
    assert len(str(caught.value).splitlines()) == 10


@given(st.lists(st.sampled_from(["a", "b", "ab", ".*", "a.*"]), min_size=1, unique=True), st.data())
def test_exactly_the_deciding_rules_are_accepted(patterns, data):
    names = data.draw(st.lists(st.sampled_from(["a", "b", "ab", "c"]), min_size=1, unique=True))
    rules = [WeightRule("*", p, WeightFormat("int8", i), "a test") for i, p in enumerate(patterns)]
    winners = {name: max((i for i, r in enumerate(rules) if r.matches("target", name)), default=None) for name in names}
    fits = None not in winners.values() and set(winners.values()) == set(range(len(rules)))
    weights = {"target": [Slot(name, (4, 0)) for name in names]}
    if fits:
        assert {n: f.block for (_, n), f in assign_formats(recipe_of(*rules), weights).items()} == winners
    else:
        with pytest.raises(RecipeError):
            assign_formats(recipe_of(*rules), weights)


@pytest.mark.parametrize(("name", "most_gb"), [("gemma4-e2b", 3.20), ("gemma4-e4b", 5.10)])
def test_shipped_recipes_fit_their_shapes_and_budgets(name, most_gb):
    slots = SHAPES[name]
    formats = assign_formats(load_recipe(recipe_path(name)), slots)
    assert formats["target", "layers.20.mlp.up_proj.weight"].label == "int4/32"
    assert formats["target", "layers.0.per_layer_projection.weight"].label == "int8"
    assert formats["drafter", "pre_projection.weight"].label == "int8"
    assert formats["drafter", "lm_head.weight"].label == "int4"
    total = sum(stored_bytes(slot, formats[section, slot.name]) for section, found in slots.items() for slot in found)
    assert 0.9 * most_gb < total / 1e9 < most_gb


@pytest.mark.parametrize("name", ["tiny", "default"])
def test_generic_recipes_fit_any_shape(name):
    slots = {section: found for section, found in SHAPES["gemma4-e2b"].items() if section != "per_layer_embedder"}
    formats = assign_formats(load_recipe(recipe_path(name)), slots)
    assert {formats[section, slot.name].label for section, found in slots.items() for slot in found} == {
        "int8",
        "float32",
    }
