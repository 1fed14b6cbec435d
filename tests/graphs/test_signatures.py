"""Names, shapes and dtypes of all signatures: what LiteRT-LM looks up and what it reads from shapes."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_mtp import names
from edge_mtp.checkpoint.config import LayerKind, read_drafter_config, read_target_config
from edge_mtp.graphs.signatures import build_section
from edge_mtp.graphs.spec import GraphSpec, Lengths, section_names
from edge_mtp.graphs.weights import weight_slots
from tests.emulator import input_shapes, torch_call
from tests.reference import Pair, load_section

LENGTHS = Lengths(context=40, prefill=(4, 16), draft_steps=3)
ROWS = LENGTHS.cache_rows
RING = 32  # the window of 16 and the longest chunk
CONFIGS = Path(__file__).parents[1] / "data" / "configs"


def zeros(inputs: dict[str, tuple[tuple[int, ...], torch.dtype]]) -> dict[str, np.ndarray]:
    return {name: torch.zeros(shape, dtype=dtype).numpy() for name, (shape, dtype) in inputs.items()}


def caches(pair: Pair, layers: range | list[int]) -> dict[str, tuple[int, ...]]:
    """Spelt out: full layers have heads of 64 and every row, sliding ones heads of 32 and a ring."""
    heads, shapes = pair.shape.kv_heads, {}
    for layer in layers:
        width, rows = {"s": (32, RING), "f": (64, ROWS)}[pair.shape.pattern[layer]]
        shapes |= {f"kv_cache_k_{layer}": (1, heads, rows, width), f"kv_cache_v_{layer}": (1, heads, width, rows)}
    return shapes


def test_target_inputs(pair: Pair) -> None:
    section = build_section(pair.spec(names.TARGET, LENGTHS, "dense", "transformers"))
    owning = range(len(pair.shape.pattern) - pair.shape.shared_layers)
    found = input_shapes(section)
    assert list(found) == ["prefill_4", "prefill_16", "decode", "verify"]
    for name, tokens in {"prefill_4": 4, "prefill_16": 16, "decode": 1, "verify": 4}.items():
        expected = {
            "embeddings": (1, tokens, pair.shape.hidden_size),
            "per_layer_embeddings": (1, tokens, len(pair.shape.pattern), pair.shape.ple_width),
            "input_pos": (tokens,),
            "mask": (1, 1, tokens, ROWS),
            "param_tensor": (1, 1, 1, 7),
            **caches(pair, owning),
        }
        if not pair.shape.ple_width:
            del expected["per_layer_embeddings"]
        assert found[name] == expected
    dtypes = {key: dtype for s in section.signatures for key, (_, dtype) in s.inputs.items()}
    assert dtypes.pop("input_pos") == dtypes.pop("param_tensor") == torch.int32
    assert set(dtypes.values()) == {torch.float32}


def test_target_outputs(pair: Pair) -> None:
    section = load_section(pair, names.TARGET, LENGTHS)
    call = torch_call(section)
    kept = caches(pair, range(pair.target_config.decoder.owning_layers))
    for signature in section.signatures:
        outputs = call(signature.name, zeros(signature.inputs))
        tokens = signature.inputs["input_pos"][0][0]
        expected = dict(kept)
        if not signature.name.startswith("prefill_"):
            expected["logits"] = (1, tokens, pair.shape.vocab_size)
            expected["activations"] = (1, tokens, pair.shape.hidden_size)
        assert {name: value.shape for name, value in outputs.items()} == expected
        assert {value.dtype for value in outputs.values()} == {np.dtype(np.float32)}


def test_prefill_does_without_the_shared_layers(e2b: Pair) -> None:
    """NaN in everything behind the last owning layer reaches decode's logits, and no cache of prefill's."""
    section = load_section(e2b, names.TARGET, LENGTHS)
    for layer in range(e2b.target_config.decoder.owning_layers, len(e2b.shape.pattern)):
        section.core.layers[layer].layer_scalar.fill_(np.nan)
    signatures = {signature.name: signature for signature in section.signatures}
    call = torch_call(section)
    prefilled = call("prefill_4", zeros(signatures["prefill_4"].inputs))
    assert all(np.isfinite(value).all() for value in prefilled.values())
    assert np.isnan(call("decode", zeros(signatures["decode"].inputs))["logits"]).all()


def test_drafter_reads_the_donor_caches_under_the_targets_names(pair: Pair) -> None:
    owning = pair.shape.pattern[: len(pair.shape.pattern) - pair.shape.shared_layers]
    donors = sorted(owning.rindex(kind) for kind in "sf")
    for head in ("dense", "clustered"):
        section = load_section(pair, names.DRAFTER, LENGTHS, head=head)
        (signature,) = section.signatures
        assert {key: shape for key, (shape, _) in signature.inputs.items()} == {
            "activations": (1, 1, 2 * pair.shape.hidden_size),
            "input_pos": (1,),
            "mask": (1, 1, 1, ROWS),
            "param_tensor": (1, 1, 1, 7),
            **caches(pair, donors),
        }
        outputs = torch_call(section)(signature.name, zeros(signature.inputs))
        assert {name: value.shape for name, value in outputs.items()} == {
            "logits": (1, 1, pair.shape.vocab_size),
            "projected_activations": (1, 1, pair.shape.hidden_size),
        }


@pytest.mark.parametrize("section", [names.EMBEDDER, names.PER_LAYER_EMBEDDER])
def test_embedders_take_one_token(e2b: Pair, section: str) -> None:
    (signature,) = build_section(e2b.spec(section, LENGTHS, "dense", "transformers")).signatures
    assert signature.inputs == {"token_ids": ((1, 1), torch.int32)}


def test_a_target_without_per_layer_embeddings_has_no_section_of_them(pairs: dict[str, Pair]) -> None:
    assert set(section_names(pairs["e2b-like"].target_config)) == set(names.SECTIONS)
    without = section_names(pairs["no per-layer embeddings"].target_config)
    assert set(without) == set(names.SECTIONS) - {names.PER_LAYER_EMBEDDER}


@pytest.mark.parametrize("prefill", [(1,), (4, 16), (128, 1024)])
@pytest.mark.parametrize("draft_steps", [1, 3, 7])
def test_cache_has_room_behind_the_context(prefill: tuple[int, ...], draft_steps: int) -> None:
    """Verify at the context's last slot, and the shortest prefill's padding behind it, stay in the cache."""
    lengths = Lengths(context=2048, prefill=prefill, draft_steps=draft_steps)
    last_slot = lengths.context - 1
    assert last_slot + lengths.verify <= lengths.cache_rows
    assert last_slot + min(prefill) <= lengths.cache_rows


@pytest.mark.parametrize(
    ("size", "billions", "donors"),
    [
        # decoder without its head, embedding, per-layer table, drafter
        ("E2B", (1.88, 0.40, 2.35, 0.078), {LayerKind.SLIDING: 13, LayerKind.FULL: 14}),
        ("E4B", (3.97, 0.67, 2.82, 0.078), {LayerKind.SLIDING: 22, LayerKind.FULL: 23}),
    ],
)
def test_real_configurations(
    size: str, billions: tuple[float, ...], donors: dict[LayerKind, int], tmp_path: Path
) -> None:
    """The published parameter counts, read off graphs on `meta`."""
    for role, suffix in (("target", "it"), ("drafter", "it-assistant")):
        (tmp_path / role).mkdir()
        text = (CONFIGS / f"gemma-4-{size}-{suffix}.json").read_text()
        (tmp_path / role / "config.json").write_text(text)
    target, drafter = read_target_config(tmp_path / "target"), read_drafter_config(tmp_path / "drafter")
    assert {kind: target.decoder.donor(kind) for kind in LayerKind} == donors
    counts = {}
    for name in section_names(target):
        section = build_section(GraphSpec(name, target, drafter, Lengths(4096, (128,), 3)))
        assert {tensor.device.type for tensor in section.core.state_dict().values()} == {"meta"}
        counts[name] = sum(math.prod(slot.shape) for slot in weight_slots(section))
    head = counts[names.EMBEDDER]
    found = (counts[names.TARGET] - head, head, counts[names.PER_LAYER_EMBEDDER], counts[names.DRAFTER])
    assert [count / 1e9 for count in found] == pytest.approx(billions, abs=0.005, rel=0.0)
