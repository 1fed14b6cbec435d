"""Lowered graphs as LiteRT's WebGPU delegate sees them: nothing it refuses, and caches in its own operators only."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import edge_mtp.graphs.attention
import edge_mtp.graphs.layer
from edge_mtp import names
from edge_mtp.convert.lower import lower_to_file
from edge_mtp.convert.worker import WEIGHT_PREFIX
from edge_mtp.graphs.composites import CACHE_UPDATE, RUNTIME_BMM
from tests.bundle.flatbuffer import SignatureSpec, TensorSpec, build_tflite
from tests.convert.lowered_pair import LENGTHS, PREFILL, VARIANTS, LoweredPair, spec_of
from tests.convert.webgpu import Composite, composites, refusals, unmarked_users
from tests.reference import Pair

EMBEDDERS = (names.EMBEDDER, names.PER_LAYER_EMBEDDER)


# What it refuses.


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_graph_is_taken_whole(lowered_pair: LoweredPair, variant: str) -> None:
    section, embedder = lowered_pair.variants[variant], variant in EMBEDDERS
    for path in (*section.weightless.values(), section.spliced):
        assert refusals(path.read_bytes(), weights=WEIGHT_PREFIX, embedder=embedder) == []


@pytest.mark.parametrize("variant", EMBEDDERS)
def test_an_embedder_would_not_be_taken(lowered_pair: LoweredPair, variant: str) -> None:
    data = lowered_pair.variants[variant].spliced.read_bytes()
    assert refusals(data, weights=WEIGHT_PREFIX) == ["EMBEDDING_LOOKUP"]


def test_a_scalar_multiplied_in_plain_torch_would_not_be_taken(
    lowered_pair: LoweredPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `ops.scale` is there for."""
    monkeypatch.setattr(edge_mtp.graphs.layer, "scale", lambda x, factor: x * factor)
    lower_to_file(spec_of(lowered_pair.pair, names.DRAFTER), names.DRAFT, tmp_path / "draft")
    assert refusals((tmp_path / "draft").read_bytes(), weights=WEIGHT_PREFIX) == [
        f"RESHAPE of constant draft_{WEIGHT_PREFIX}layers.{layer}.layer_scalar" for layer in range(4)
    ]


class Spoilt(torch.nn.Module):
    """Nothing that the delegate refuses, or what `how` says."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.weight, self.row = (torch.nn.Parameter(torch.zeros(rows, 4)) for rows in (3, 1))

    def forward(self, x: torch.Tensor, row: torch.Tensor) -> dict[str, torch.Tensor]:
        """x [3, 4] float32, row [1] int32."""
        changed = {
            "sound": lambda: torch.nn.functional.linear(x, self.weight),
            "reshape": lambda: torch.cat([self.weight.reshape(4, 3), x.reshape(4, 3)]),
            "transpose": lambda: x.reshape(4, 3) + self.weight.T,
            "broadcast": lambda: torch.cat([self.row.expand(3, 4), x]),
            "scalar": lambda: x - x.amin(),
            "lookup": lambda: torch.nn.functional.embedding(row, self.weight),
        }
        return {"out": changed[self.how]()}


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ("sound", []),
        ("reshape", ["RESHAPE of constant run_weights_weight"]),
        ("transpose", ["TRANSPOSE of constant run_weights_weight"]),
        ("broadcast", ["BROADCAST_TO of constant run_weights_row"]),
        ("scalar", ["REDUCE_MIN gives a scalar"]),
        ("lookup", ["EMBEDDING_LOOKUP"]),
    ],
)
def test_what_would_be_refused_is_found(lower, how: str, found: list[str]) -> None:
    samples = {"x": torch.zeros(3, 4), "row": torch.zeros(1, dtype=torch.int32)}
    assert refusals(lower({"run": (Spoilt(how), samples)}), weights="weights_") == found


def test_an_operator_that_it_lacks_is_found() -> None:
    """Built by hand: torch's own scatters become STABLEHLO_SCATTER, which `test_every_op_has_a_kernel` refuses."""
    x = TensorSpec("x", (3, 4))
    for ops, found in (("FULLY_CONNECTED",), []), (("FULLY_CONNECTED", "SCATTER_ND"), ["SCATTER_ND"]):
        assert refusals(build_tflite([SignatureSpec("run", (x,), (x,), ops=ops)]), weights=WEIGHT_PREFIX) == found


# Its own operators.

Marked = tuple[str, tuple[str, ...], Mapping[str, Any]]
"""A composite's name, its `param_tensor` and caches, and its attributes."""


COMPUTED = "computed"


def marked(composite: Composite) -> Marked:
    """Name, the operands from the param on or from the cache on, attributes; a param that was computed is COMPUTED."""
    places = {CACHE_UPDATE: slice(2, 5), RUNTIME_BMM: slice(1, 3)}
    operands = [one if names.PARAM_TENSOR in one or "kv_cache" in one else COMPUTED for one in composite.operands]
    return composite.name, tuple(operands[places[composite.name]]), composite.attributes


def param_of(signature: str, kind: str) -> str:
    """Sliding layers have rings, with a param of their own."""
    return f"{signature}_{names.PARAM_TENSOR}" if kind == "f" else COMPUTED


def expected_update(pair: Pair, signature: str, layer: int) -> Marked:
    kind = pair.shape.pattern[layer]
    keys, values = (f"{signature}_{name}" for name in (names.kv_key(layer), names.kv_value(layer)))
    attributes = {
        "kv_cache_batch_size": pair.shape.kv_heads,
        "cache_size": LENGTHS.rows_of(pair.target_config.decoder, layer),
        "head_size": {"s": 32, "f": 64}[kind],
        "is_ring_buffer": kind == "s",
    }
    return CACHE_UPDATE, (param_of(signature, kind), keys, values), attributes


def expected_matmuls(signature: str, kind: str, cache: int, written: str = "") -> list[Marked]:
    """Of a layer of `kind` that reads the caches of layer `cache`, as they were `written` in the same call."""
    shared = {"is_global": kind == "f", "rhs_cache_update": True}
    param = param_of(signature, kind)
    keys, values = (f"{signature}_{name(cache)}{written}" for name in (names.kv_key, names.kv_value))
    return [
        (RUNTIME_BMM, (keys, param), {**shared, "is_src": False}),
        (RUNTIME_BMM, (values, param), {**shared, "is_src": True}),
    ]


def expected_target(pair: Pair, signature: str) -> list[Marked]:
    """Every layer up to the last that is needed: writes its cache if it owns one, then reads it or its donor's."""
    pattern = pair.shape.pattern
    owning = pattern[: len(pattern) - pair.shape.shared_layers]
    found: list[Marked] = []
    for layer, kind in enumerate(pattern):
        if layer < len(owning):
            found.append(expected_update(pair, signature, layer))
        if signature == names.prefill(PREFILL) and layer == len(owning) - 1:
            break
        cache = layer if layer < len(owning) else owning.rindex(kind)
        found += expected_matmuls(signature, kind, cache, "_output")
    return found


def test_the_targets_caches_are_behind_marks(lowered_pair: LoweredPair) -> None:
    section = lowered_pair.variants[names.TARGET]
    expected = {signature: expected_target(lowered_pair.pair, signature) for signature in section.weightless}
    for signature, path in section.weightless.items():
        assert [marked(one) for one in composites(path.read_bytes())] == expected[signature]
    spliced = [marked(one) for one in composites(section.spliced.read_bytes())]
    assert spliced == [one for each in expected.values() for one in each]
    assert spliced != [one for each in reversed(expected.values()) for one in each]


@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if variant.startswith(names.DRAFTER)])
def test_the_drafter_reads_the_donors_behind_marks(lowered_pair: LoweredPair, variant: str) -> None:
    shape = lowered_pair.pair.shape
    owning = shape.pattern[: len(shape.pattern) - shape.shared_layers]
    expected = [
        one for kind in shape.drafter_pattern for one in expected_matmuls(names.DRAFT, kind, owning.rindex(kind))
    ]
    assert [marked(one) for one in composites(lowered_pair.variants[variant].spliced.read_bytes())] == expected


CACHES = (f"_{names.KV_KEY_PREFIX}", f"_{names.KV_VALUE_PREFIX}")


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_other_operator_touches_a_cache(lowered_pair: LoweredPair, variant: str) -> None:
    """The GPU binds caches to its own operators only."""
    for path in lowered_pair.variants[variant].weightless.values():
        assert unmarked_users(path.read_bytes(), CACHES) == []


def test_an_unmarked_cache_is_found(lowered_pair: LoweredPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def plain(left, cache, param, name, *, is_global, is_values):
        return torch.ops.tfl.batch_matmul(left, cache, adj_y=True)

    monkeypatch.setattr(edge_mtp.graphs.attention, "runtime_bmm", plain)
    lower_to_file(spec_of(lowered_pair.pair, names.DRAFTER), names.DRAFT, tmp_path / "draft")
    data = (tmp_path / "draft").read_bytes()
    assert composites(data) == []
    assert len(unmarked_users(data, CACHES)) == 2 * len(lowered_pair.pair.shape.drafter_pattern)


def test_the_same_spec_gives_the_same_bytes(lowered_pair: LoweredPair, tmp_path: Path) -> None:
    """Whatever ids the marks have. Prefill has both kinds of mark, and is the shortest of the target's graphs."""
    before = lowered_pair.variants[names.TARGET].weightless
    signature = names.prefill(PREFILL)
    lower_to_file(spec_of(lowered_pair.pair, names.TARGET), signature, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == before[signature].read_bytes()
    assert (tmp_path / "again").read_bytes() != before[names.VERIFY].read_bytes()
