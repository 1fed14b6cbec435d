"""Decides whether a target and a drafter belong together; every clash is named at once.

The drafter reads the target's hidden states and two of its K/V caches, so whatever shaped those must be
the same in both. The tokenizer must be, because a draft is a token id.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge_mtp.checkpoint.config import DrafterConfig, LayerKind, TargetConfig, read_json
from edge_mtp.checkpoint.tensors import Checkpoint, open_checkpoint
from edge_mtp.checkpoint.training_run import warn_of_other_run
from edge_mtp.errors import CheckpointError, PairError

TOKENIZER_FILE: Final = "tokenizer.json"


@dataclass(frozen=True)
class Pair:
    """A target and a drafter that fit; `warnings` are sentences on what may still be wrong with them."""

    target: TargetConfig
    drafter: DrafterConfig
    warnings: tuple[str, ...] = ()


def check_pair(target: TargetConfig, drafter: DrafterConfig, target_dir: Path, drafter_dir: Path) -> Pair:
    """The pair, if it is one: PairError lists every clash, CheckpointError names a directory's own fault."""
    target_weights, drafter_weights = open_checkpoint(target_dir), open_checkpoint(drafter_dir)
    clashes = [
        *_size_clashes(target, drafter),
        *_attention_clashes(target, drafter),
        *_layout_clashes(drafter),
        *_ordering_clashes(drafter, drafter_weights),
        *_tokenizer_clashes(target_dir, drafter_dir),
    ]
    if clashes:
        raise PairError(
            f"the drafter in {drafter_dir} does not fit the target in {target_dir}:\n  "
            + "\n  ".join(clashes)
            + "\ntake the drafter published with this target"
        )
    return Pair(target, drafter, warn_of_other_run(target_weights, drafter_weights))


def _size_clashes(target: TargetConfig, drafter: DrafterConfig) -> Iterator[str]:
    """Widths and constants that both sides state."""
    compared = (
        ("hidden size", drafter.backbone_hidden_size, target.decoder.hidden_size),
        ("vocabulary", drafter.decoder.vocab_size, target.decoder.vocab_size),
        ("sliding window", drafter.decoder.sliding_window, target.decoder.sliding_window),
        ("norm epsilon", drafter.decoder.norm_epsilon, target.decoder.norm_epsilon),
    )
    for what, wanted, has in compared:
        if wanted != has:
            yield f"{what}: the drafter was made for {wanted}, the target has {has}"


def _attention_clashes(target: TargetConfig, drafter: DrafterConfig) -> Iterator[str]:
    """For each kind of layer the drafter has: the donor cache's shape and rotation."""
    for kind, wanted in drafter.decoder.attention.items():
        donor = _donor(target, kind)
        if donor is None:
            yield f"{kind}: the drafter reads such a layer's K/V cache, the target has none of its own"
            continue
        has = target.decoder.shape_of(donor)
        compared = (
            ("head_dim", wanted.head_dim, has.head_dim),
            ("KV heads", wanted.kv_heads, has.kv_heads),
            ("RoPE theta", wanted.rope.theta, has.rope.theta),
            ("rotating share of RoPE", wanted.rope.rotary_fraction, has.rope.rotary_fraction),
        )
        for what, drafter_value, target_value in compared:
            if drafter_value != target_value:
                yield (
                    f"{kind} {what}: the drafter was made for {drafter_value}, "
                    f"the target's donor layer {donor} has {target_value}"
                )


def _donor(target: TargetConfig, kind: LayerKind) -> int | None:
    """The target layer whose cache a drafter layer of `kind` reads; None where there is none."""
    owning = target.decoder.layer_kinds[: target.decoder.owning_layers]
    return target.decoder.donor(kind) if kind in owning else None


def _layout_clashes(drafter: DrafterConfig) -> Iterator[str]:
    """What the drafter's own configuration may not say."""
    decoder = drafter.decoder
    if decoder.owning_layers:
        yield (
            f"num_kv_shared_layers: {decoder.owning_layers} of the drafter's {decoder.layers} layers "
            "own a K/V cache, all must read the target's"
        )
    if decoder.ple_width:
        yield f"hidden_size_per_layer_input: {decoder.ple_width} in the drafter, expected 0"
    if not drafter.ordered_embeddings:
        return
    if drafter.centroids < 1 or decoder.vocab_size % drafter.centroids:
        yield f"num_centroids: {drafter.centroids} do not divide the vocabulary of {decoder.vocab_size}"
    if not 1 <= drafter.centroid_top_k <= drafter.centroids:
        yield f"centroid_intermediate_top_k: {drafter.centroid_top_k}, expected 1 to {drafter.centroids}"


def _ordering_clashes(drafter: DrafterConfig, weights: Checkpoint) -> Iterator[str]:
    """The clustered head's tensors: centroids [centroids, hidden], token_ordering [vocab], ids once."""
    if not drafter.ordered_embeddings:
        return
    vocab_size = drafter.decoder.vocab_size
    expected = {
        "masked_embedding.centroids.weight": (drafter.centroids, drafter.decoder.hidden_size),
        "masked_embedding.token_ordering": (vocab_size,),
    }
    misshapen = False
    for weight, shape in expected.items():
        found = _shape_of(weights, weight)
        if found != shape:
            misshapen = True
            yield f"{weight}: {list(found) if found else 'not there'}, config.json asks for {list(shape)}"
    if not misshapen:
        ordering = weights.read_raw(weights.stored_name("masked_embedding.token_ordering"))
        if not np.array_equal(np.sort(ordering), np.arange(vocab_size)):
            yield f"masked_embedding.token_ordering: does not hold each of the {vocab_size} token ids once"


def _shape_of(weights: Checkpoint, weight: str) -> tuple[int, ...] | None:
    try:
        return weights.info(weights.stored_name(weight)).shape
    except CheckpointError:
        return None


def _tokenizer_clashes(target_dir: Path, drafter_dir: Path) -> Iterator[str]:
    """Tokens that the two tokenizer.json give different ids; nothing where a directory has none."""
    paths = target_dir / TOKENIZER_FILE, drafter_dir / TOKENIZER_FILE
    if not all(path.is_file() for path in paths) or paths[0].read_bytes() == paths[1].read_bytes():
        return
    target, drafter = (_token_ids(path) for path in paths)
    different = [token for token, number in drafter.items() if target.get(token) != number]
    different += [token for token in target if token not in drafter]
    if different:
        token = different[0]
        yield (
            f"tokenizer: {len(different)} tokens differ, the first {json.dumps(token)} is id "
            f"{drafter.get(token, 'none')} for the drafter, {target.get(token, 'none')} for the target"
        )


def _token_ids(path: Path) -> dict[str, int]:
    """Token -> id of a tokenizer.json: its vocabulary (a mapping; unigram: a list) and the added tokens."""
    tokenizer = read_json(path)
    try:
        vocab: Any = tokenizer["model"]["vocab"]
        pairs = vocab.items() if isinstance(vocab, dict) else ((entry[0], i) for i, entry in enumerate(vocab))
        added = ((token["content"], token["id"]) for token in tokenizer.get("added_tokens") or [])
        return {str(token): int(number) for token, number in (*pairs, *added)}
    except (KeyError, TypeError, IndexError, ValueError):
        raise CheckpointError(f"{path} has no readable vocabulary; download it again") from None
