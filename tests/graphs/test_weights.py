"""Which weights a section needs, where they come from, and the tables that are computed for it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from edge_mtp import names
from edge_mtp.checkpoint.config import LayerKind
from edge_mtp.checkpoint.tensors import Checkpoint, open_checkpoint
from edge_mtp.errors import CheckpointError
from edge_mtp.graphs.attention import ROTARY_STRIDE
from edge_mtp.graphs.signatures import Section, build_section
from edge_mtp.graphs.spec import Lengths, checkpoint_of, section_names
from edge_mtp.graphs.weights import TOKEN_ORDERING, load_float_weights, made_tables, token_order, weight_slots
from tests.random_pair import SHAPES
from tests.reference import Pair, load_section

LENGTHS = Lengths(context=64, prefill=(16,), draft_steps=3)


def sections(pair: Pair, head: str = "clustered") -> dict[str, Section]:
    return {
        name: build_section(pair.spec(name, LENGTHS, head, "transformers"))
        for name in section_names(pair.target_config)
    }


def test_slots_are_the_checkpoint(pair: Pair) -> None:
    """All slots have the stored shapes, and together they read every tensor that transformers reads."""
    read: dict[str, set[str]] = {names.TARGET: set(), names.DRAFTER: {TOKEN_ORDERING}}
    for name, section in sections(pair).items():
        checkpoint = pair.checkpoints[checkpoint_of(name)]
        for slot in weight_slots(section):
            stored = checkpoint.stored_name(slot.name)
            assert checkpoint.info(stored).shape == slot.shape, slot
            read[checkpoint_of(name)].add(stored)
    assert read[names.DRAFTER] == set(pair.drafter.tensors)
    shared_keys = [
        f".layers.{layer}.self_attn.k_proj.weight"
        for layer in range(pair.target_config.decoder.owning_layers, len(pair.shape.pattern))
    ]
    unread = set(pair.target.tensors) - read[names.TARGET]
    assert all(name.endswith((*shared_keys, "vision_tower.patch_embedder.input_proj.weight")) for name in unread)


def test_slot_names_are_unique_in_a_section(pair: Pair) -> None:
    for section in sections(pair).values():
        slots = weight_slots(section)
        assert len({slot.name for slot in slots}) == len({slot.parameter for slot in slots}) == len(slots)


def test_kinds_follow_what_reads_them(e2b: Pair) -> None:
    kinds = {slot.name: slot.kind for section in sections(e2b).values() for slot in weight_slots(section)}
    assert kinds["embed_tokens.weight"] == kinds["embed_tokens_per_layer.weight"] == "embedding"
    assert kinds["layers.0.self_attn.q_proj.weight"] == kinds["per_layer_model_projection.weight"] == "linear"
    assert kinds["masked_embedding.centroids.weight"] == kinds["pre_projection.weight"] == "linear"
    assert kinds["layers.0.layer_scalar"] == kinds["norm.weight"] == "vector"
    assert kinds["lm_head.weight"] == "rows"
    dense = {slot.name: slot.kind for slot in weight_slots(sections(e2b, "dense")[names.DRAFTER])}
    assert dense["lm_head.weight"] == "linear"
    assert "masked_embedding.centroids.weight" not in dense


@pytest.mark.parametrize("section", names.SECTIONS)
def test_loading_leaves_no_parameter_on_meta(e2b: Pair, section: str) -> None:
    state = load_section(e2b, section, LENGTHS, head="clustered").core.state_dict()
    assert {str(tensor.device) for tensor in state.values()} == {"cpu"}
    assert all(torch.isfinite(tensor).all() for tensor in state.values())


def without(checkpoint: Checkpoint, ending: str) -> Checkpoint:
    kept = {name: info for name, info in checkpoint.tensors.items() if not name.endswith(ending)}
    assert len(kept) < len(checkpoint.tensors)
    return replace(checkpoint, tensors=kept)


@pytest.mark.parametrize("missing", ["layers.1.mlp.up_proj.weight", "layers.0.layer_scalar", "embed_tokens.weight"])
def test_a_missing_tensor_is_named(e2b: Pair, missing: str) -> None:
    target = without(e2b.target, missing)
    with pytest.raises(CheckpointError, match=missing.replace("embed_tokens", "(embed_tokens|lm_head)")):
        load_float_weights(sections(e2b)[names.TARGET], target, e2b.drafter)


def test_rotary_tables_are_transformers(pair: Pair) -> None:
    parts = sections(pair)
    models = {names.TARGET: pair.oracle.target.get_decoder(), names.DRAFTER: pair.oracle.drafter.model}
    for section, model in models.items():
        tables = made_tables(parts[section], pair.drafter)
        for kind in LayerKind:
            frequencies = getattr(model.rotary_emb, f"{kind}_inv_freq").double().numpy()
            for name, stride in (("fine", 1), ("coarse", ROTARY_STRIDE)):
                table = tables[f"rotary.{kind}.{name}"]
                angles = stride * np.arange(len(table))[:, None] * frequencies
                expected = np.concatenate([np.cos(angles), np.sin(angles)], axis=-1)
                np.testing.assert_allclose(table, expected, rtol=0, atol=1e-7)


def test_slots_table_undoes_the_token_order(pair: Pair) -> None:
    slots = made_tables(sections(pair)[names.DRAFTER], pair.drafter)["head.slots"]
    order = token_order(pair.drafter, pair.shape.vocab_size)
    assert slots.dtype == np.int32
    assert np.array_equal(order[slots], np.arange(pair.shape.vocab_size))
    assert not np.array_equal(order, np.arange(pair.shape.vocab_size)), "a trivial order would prove nothing"
    assert "head.slots" not in made_tables(sections(pair, "dense")[names.DRAFTER], pair.drafter)


@pytest.mark.parametrize("damage", ["zeros", "one twice"])
def test_a_token_order_that_is_no_permutation_is_refused(e2b: Pair, tmp_path: Path, damage: str) -> None:
    tensors = load_file(e2b.drafter.directory / "model.safetensors")
    order = tensors[TOKEN_ORDERING]
    order[0] = order[1]
    if damage == "zeros":  # what transformers initializes an untrained drafter with
        order.zero_()
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="not a permutation"):
        token_order(open_checkpoint(tmp_path), SHAPES["e2b-like"].vocab_size)
