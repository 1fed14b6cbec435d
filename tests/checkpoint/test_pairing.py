"""A pair that fits passes; every way in which it may not is named, all at once."""

import json
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_mtp.checkpoint.config import read_drafter_config, read_target_config
from edge_mtp.errors import CheckpointError, PairError
from tests.checkpoint.synthetic import HIDDEN, drafter_config, target_config

CONFIGS = Path(__file__).parents[1] / "data" / "configs"


def tokenizer(tokens: list[str]) -> dict[str, Any]:
    return {
        "model": {"vocab": {t: i for i, t in enumerate(tokens)}},
        "added_tokens": [{"id": 9, "content": "<eos>"}],
    }


def test_a_pair_that_fits(check, sides):
    pair = check(sides)
    assert pair.target.decoder.hidden_size == pair.drafter.backbone_hidden_size == HIDDEN
    assert pair.warnings == ()


@pytest.mark.parametrize("size", ["E2B", "E4B"])
def test_the_real_configurations_fit(tmp_path, check, sides, size):
    sides.target = json.loads((CONFIGS / f"gemma-4-{size}-it.json").read_text())
    sides.drafter = json.loads((CONFIGS / f"gemma-4-{size}-it-assistant.json").read_text())
    sides.masked = {
        "centroids.weight": np.zeros((2048, 256), np.float32),
        "token_ordering": np.arange(262144)[::-1].copy(),
    }
    assert check(sides).warnings == ()


def test_the_drafter_of_the_other_size_does_not_fit(check, sides):
    sides.target = json.loads((CONFIGS / "gemma-4-E2B-it.json").read_text())
    sides.drafter = json.loads((CONFIGS / "gemma-4-E4B-it-assistant.json").read_text())
    with pytest.raises(PairError) as caught:
        check(sides)
    message = str(caught.value)
    assert "hidden size: the drafter was made for 2560, the target has 1536" in message
    assert "sliding_attention KV heads: the drafter was made for 2, the target's donor layer 13 has 1" in message
    assert "full_attention KV heads: the drafter was made for 2, the target's donor layer 14 has 1" in message
    assert message.endswith("take the drafter published with this target")


def change(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Sets `key`, which may be a path with dots, in a configuration."""

    def apply(config: dict[str, Any]) -> None:
        *path, last = key.split(".")
        for step in path:
            config = config[step]
        config[last] = value

    return apply


CLASHES = [
    (change("backbone_hidden_size", 96), "hidden size: the drafter was made for 96, the target has 64"),
    (change("text_config.vocab_size", 512), "vocabulary: the drafter was made for 512, the target has 256"),
    (
        change("text_config.sliding_window", 16),
        "sliding window: the drafter was made for 16, the target has 8",
    ),
    (
        change("text_config.rms_norm_eps", 1e-5),
        "norm epsilon: the drafter was made for 1e-05, the target has 1e-06",
    ),
    (change("text_config.head_dim", 8), "sliding_attention head_dim: the drafter was made for 8"),
    (change("text_config.global_head_dim", 64), "full_attention head_dim: the drafter was made for 64"),
    (change("text_config.num_key_value_heads", 2), "full_attention KV heads: the drafter was made for 2"),
    (
        change("text_config.rope_parameters.full_attention.rope_theta", 5e5),
        "full_attention RoPE theta: the drafter was made for 500000.0, the target's",
    ),
    (
        change("text_config.rope_parameters.full_attention.partial_rotary_factor", 0.5),
        "full_attention rotating share of RoPE: the drafter was made for 0.5",
    ),
    (change("text_config.hidden_size_per_layer_input", 8), "hidden_size_per_layer_input: 8 in the drafter"),
    (change("num_centroids", 24), "num_centroids: 24 do not divide the vocabulary of 256"),
    (change("centroid_intermediate_top_k", 17), "centroid_intermediate_top_k: 17, expected 1 to 16"),
    (
        change("num_centroids", 32),
        "masked_embedding.centroids.weight: [16, 32], config.json asks for [32, 32]",
    ),
]


@pytest.mark.parametrize(("apply", "message"), CLASHES, ids=[message.split(":")[0] for _, message in CLASHES])
def test_every_clash_is_named(check, sides, apply, message):
    sides.drafter = deepcopy(sides.drafter)
    apply(sides.drafter)
    with pytest.raises(PairError, match=re.escape(message)):
        check(sides)


def test_all_clashes_come_at_once(check, sides):
    sides.drafter = deepcopy(sides.drafter)
    for apply, _ in CLASHES[:4]:
        apply(sides.drafter)
    with pytest.raises(PairError) as caught:
        check(sides)
    assert all(message in str(caught.value) for _, message in CLASHES[:4])


def test_a_drafter_with_own_caches(check, sides):
    sides.drafter["text_config"] |= {"num_kv_shared_layers": 1}
    with pytest.raises(PairError, match=r"1 of the drafter's 2 layers own a K/V cache, all must read the target's"):
        check(sides)


def test_a_target_without_a_donor_of_the_kind(check, sides):
    sides.target["text_config"] |= {
        "num_kv_shared_layers": 1,
        "layer_types": ["sliding_attention"] * 3 + ["full_attention"],
    }
    with pytest.raises(PairError, match="full_attention: the drafter reads such a layer's K/V cache"):
        check(sides)


def test_clustered_head_without_its_tensors(check, sides):
    sides.masked = {}
    with pytest.raises(PairError, match=r"centroids.weight: not there.*\n.*token_ordering: not there"):
        check(sides)


def test_token_ordering_that_repeats_a_token(check, sides):
    sides.masked["token_ordering"][5] = sides.masked["token_ordering"][6]
    with pytest.raises(PairError, match="does not hold each of the 256 token ids once"):
        check(sides)


def test_a_dense_drafter_needs_no_clusters(check, sides):
    sides.drafter |= {"use_ordered_embeddings": False}
    sides.masked = {}
    assert not check(sides).drafter.ordered_embeddings


def write_tokenizers(tmp_path: Path, target: dict[str, Any], drafter: dict[str, Any]) -> None:
    for name, content in (("target", target), ("drafter", drafter)):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "tokenizer.json").write_text(json.dumps(content))


def test_tokenizers_may_differ_in_all_but_the_ids(check, sides, tmp_path):
    write_tokenizers(tmp_path, tokenizer(["a", "b"]), tokenizer(["a", "b"]) | {"truncation": None})
    assert check(sides).warnings == ()


@pytest.mark.parametrize(
    ("target", "drafter", "message"),
    [
        (
            tokenizer(["a", "b"]),
            tokenizer(["b", "a"]),
            'tokenizer: 2 tokens differ, the first "b" is id 0 for the drafter',
        ),
        (
            tokenizer(["a", "b"]),
            tokenizer(["a"]),
            '1 tokens differ, the first "b" is id none for the drafter, 1 for',
        ),
        ({"model": {"vocab": [["a", -1.0]]}}, {"model": {"vocab": [["b", -1.0]]}}, "2 tokens differ"),
    ],
)
def test_tokenizers_that_differ(check, sides, tmp_path, target, drafter, message):
    write_tokenizers(tmp_path, target, drafter)
    with pytest.raises(PairError, match=message):
        check(sides)


def test_a_tokenizer_without_vocabulary(check, sides, tmp_path):
    write_tokenizers(tmp_path, tokenizer(["a"]), {"model": {}})
    with pytest.raises(CheckpointError, match=r"tokenizer\.json has no readable vocabulary"):
        check(sides)


@pytest.mark.parametrize(
    ("model_type", "text", "found"),
    [
        ("gemma4", {"enable_moe_block": True}, "mixture-of-experts"),
        ("gemma4", {"attention_k_eq_v": True}, "keys reused as values"),
        ("gemma4_unified", {}, "model_type 'gemma4_unified'"),
        ("llama", {}, "model_type 'llama'"),
        ("gemma3", {}, "model_type 'gemma3'"),
    ],
)
def test_other_architectures_get_what_is_supported(tmp_path, model_type, text, found):
    config = target_config()
    config["model_type"] = model_type
    config["text_config"] |= text
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=rf"{found}.*exports the text part of Gemma 4 E2B and E4B"):
        read_target_config(tmp_path)


def test_swapped_directories_are_told(tmp_path):
    for name, config in (("target", target_config()), ("drafter", drafter_config())):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="give the target first, the drafter second"):
        read_target_config(tmp_path / "drafter")
    with pytest.raises(CheckpointError, match="give the target first, the drafter second"):
        read_drafter_config(tmp_path / "target")
