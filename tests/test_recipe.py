"""Recipes read from TOML, their refusals, and the shipped ones."""

import hashlib
from pathlib import Path

import pytest

from edge_mtp.errors import RecipeError
from edge_mtp.recipe import (
    Recipe,
    WeightFormat,
    WeightRule,
    default_recipe,
    load_recipe,
    recipe_path,
)

SHIPPED = ("gemma4-e2b", "gemma4-e4b", "tiny", "default")
VALID = """
name = "mine"
[lengths]
context_tokens = 512
prefill = [16, 128]
draft_steps = 3
[drafter]
head = "dense"
position = "transformers"
[runtime]
activation = "fp32"
[[weights]]
section = "*"
tensor = '.*'
dtype = "int8"
reason = "all"
[[weights]]
section = "target"
tensor = 'layers\\.\\d+\\.mlp\\..*'
dtype = "int4"
block = 32
reason = "most of the bytes"
"""


@pytest.fixture
def load(tmp_path):
    def load_text(text: str) -> Recipe:
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return load_recipe(path)

    return load_text


def test_every_key_is_read(load, tmp_path):
    recipe = load(VALID)
    assert (recipe.name, recipe.context_tokens, recipe.prefill_lengths, recipe.draft_steps) == (
        "mine",
        512,
        (16, 128),
        3,
    )
    assert (recipe.drafter_head, recipe.drafter_position, recipe.activation) == (
        "dense",
        "transformers",
        "fp32",
    )
    assert recipe.rules[0] == WeightRule("*", ".*", WeightFormat("int8"), "all")
    assert recipe.rules[1].format == WeightFormat("int4", 32)
    assert recipe.sha256 == hashlib.sha256((tmp_path / "mine.toml").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("form", "bits", "label"),
    [
        (WeightFormat("float32"), 32, "float32"),
        (WeightFormat("int8"), 8, "int8"),
        (WeightFormat("int4", 32), 4, "int4/32"),
        (WeightFormat("int2"), 2, "int2"),
    ],
)
def test_bits_and_label(form, bits, label):
    assert (form.bits, form.label) == (bits, label)


@pytest.mark.parametrize(
    ("found", "replacement", "message"),
    [
        ("draft_steps", "draft_step", r'unknown key \[lengths\] draft_step; did you mean "draft_steps"\?'),
        ('name = "mine"', 'nmae = "mine"', r'unknown key nmae; did you mean "name"\?'),
        ('name = "mine"', "draft_steps = 3", r'"draft_steps", which belongs in \[lengths\]\?'),
        (
            "[lengths]",
            "[lengths]\nname = 1",
            r"unknown key \[lengths\] name.*belongs at the top of the file\?",
        ),
        ("[runtime]", "[runtime]\nzzz = 1", r"unknown key \[runtime\] zzz; known in \[runtime\]: activation"),
        ("block = 32", "blok = 32", r'unknown key \[\[weights\]\] rule 2 blok; did you mean "block"\?'),
        ('name = "mine"', "", "name is missing; needed: a string"),
        ('name = "mine"', 'name = " "', "name is ' '; needed: a string that is not empty"),
        ('[runtime]\nactivation = "fp32"', "", r"runtime is missing; needed: a table \[runtime\]"),
        (
            "context_tokens = 512",
            "context_tokens = true",
            r"\[lengths\] context_tokens is True; needed: an integer",
        ),
        (
            "draft_steps = 3",
            "draft_steps = 0",
            r"\[lengths\] draft_steps is 0; needed: an integer of 1 or more",
        ),
        ("[16, 128]", "[128, 16]", r"\[lengths\] prefill is \[128, 16\]; needed: .* ascending"),
        ("[16, 128]", "[16, 16]", "needed: a list of different integers"),
        ("[16, 128]", "[16, 1024]", r"from 1 to context_tokens \(512\)"),
        ("[16, 128]", "[]", r"prefill is \[\]"),
        ("[16, 128]", "16", "prefill is 16; needed: a list"),
        (
            '"dense"',
            '"clusterd"',
            r'\[drafter\] head is .clusterd.; needed: one of dense, clustered; did you mean "clust',
        ),
        ('"transformers"', '"hf"', r"\[drafter\] position is .hf.; needed: one of transformers, runtime$"),
        ('"fp32"', '"fp8"', r"\[runtime\] activation is .fp8.; needed: one of fp32, fp16"),
        ('"int4"', '"int5"', r"rule 2 dtype is .int5.; needed: one of float32, int8, int4, int2"),
        ("block = 32", "block = 48", r"rule 2 block is 48; needed: one of 0, 32, 64, 128"),
        ('dtype = "int4"', 'dtype = "int8"', r"rule 2 block is 32; needed: 0 with int8"),
        ('"target"', '"tragets"', r'rule 2 section is .tragets.; .*did you mean "target"\?'),
        ("'.*'", "'layers.('", r"rule 1 tensor is .layers\.\(.; needed: a regular expression"),
        ('reason = "all"', "", r"rule 1 reason is missing; needed: a string"),
        (
            "section = \"target\"\ntensor = 'layers\\.\\d+\\.mlp\\..*'",
            "section = '*'\ntensor = '.*'",
            "rule 2 repeats rule 1",
        ),
        ("[runtime]", "[runtime", "is not valid TOML"),
    ],
)
def test_refusals_name_file_and_key(load, found, replacement, message):
    assert VALID.count(found) >= 1
    with pytest.raises(RecipeError, match=message) as caught:
        load(VALID.replace(found, replacement, 1))
    assert "mine.toml" in str(caught.value)


def test_rules_are_needed(load):
    with pytest.raises(RecipeError, match=r"weights is missing; needed: one \[\[weights\]\] table or more"):
        load(VALID[: VALID.index("[[weights]]")])


def test_unreadable_files(tmp_path):
    with pytest.raises(RecipeError, match=r"absent\.toml: cannot be read \(No such file"):
        load_recipe(tmp_path / "absent.toml")
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    with pytest.raises(RecipeError, match=r"latin\.toml: is not UTF-8"):
        load_recipe(tmp_path / "latin.toml")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipes_load_under_their_names(name):
    recipe = load_recipe(recipe_path(name))
    assert recipe.name == name
    assert recipe.draft_steps == 3


@pytest.mark.parametrize(
    ("hidden_size", "layers", "name"),
    [(1536, 35, "gemma4-e2b"), (2560, 42, "gemma4-e4b"), (128, 10, "tiny"), (2048, 35, "default")],
)
def test_default_recipe_goes_by_shape(hidden_size, layers, name):
    assert default_recipe(hidden_size, layers) == recipe_path(name)
    assert default_recipe(hidden_size, layers).is_file()


def test_unknown_recipe_name():
    with pytest.raises(RecipeError, match=r'no recipe is called "gemma4-e2".*did you mean "gemma4-e2b"'):
        recipe_path("gemma4-e2")


def test_recipes_of_an_installed_package_come_first(tmp_path, monkeypatch):
    package = tmp_path / "site" / "edge_mtp"
    (package / "recipes").mkdir(parents=True)
    (package / "recipes" / "tiny.toml").write_text(VALID)
    (tmp_path / "site" / "export").mkdir()
    monkeypatch.setattr("edge_mtp.recipe.__file__", str(package / "recipe.py"))
    assert recipe_path("tiny") == package / "recipes" / "tiny.toml"


def test_every_shipped_recipe_is_tested():
    assert {path.stem for path in Path(recipe_path("tiny")).parent.glob("*.toml")} == set(SHIPPED)
