"""Hints that target and drafter come from different training runs: names, quantization, the Q4_0 grid."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_mtp.checkpoint.tensors import open_checkpoint
from edge_mtp.checkpoint.training_run import _on_grid, lies_on_q4_0_grid
from tests.checkpoint.synthetic import DRAFTER_HIDDEN, HIDDEN, bfloat16_bits, off_grid, on_grid


def test_weights_of_different_runs_are_warned_of(check, sides):
    sides.target_up = on_grid(128, HIDDEN, 5)
    (warning,) = check(sides).warnings
    assert "the target's weights lie on the Q4_0 grid of a QAT run, the drafter's do not" in warning
    sides.drafter_up = on_grid(64, DRAFTER_HIDDEN, 6)
    assert check(sides).warnings == ()


@pytest.mark.parametrize(
    ("target", "drafter", "spoken"),
    [
        ("gemma-4-E2B-it", "gemma-4-E2B-it-assistant", None),
        ("gemma-4-E2B-it-qat-q4_0-unquantized", "gemma-4-E2B-it-qat-q4_0-unquantized-assistant", None),
        ("target", "gemma-4-E2B-it-qat-q4_0-assistant", None),
        (
            "gemma-4-E2B-it",
            "gemma-4-E2B-it-qat-q4_0-assistant",
            "target's name says no QAT, the drafter's qat q4_0",
        ),
        ("gemma-4-E2B-it-qat-mobile", "gemma-4-E2B-it-qat-q4_0", "says qat mobile, the drafter's qat q4_0"),
    ],
)
def test_names_of_different_runs_are_warned_of(check, sides, target, drafter, spoken):
    sides.target_name, sides.drafter_name = target, drafter
    warnings = check(sides).warnings
    assert [spoken in warning for warning in warnings] == ([] if spoken is None else [True])


def test_names_of_hub_downloads_and_config_count(check, sides):
    commit = "0123456789" * 4
    sides.target_name = f"models--google--gemma-4-E2B-it-qat-q4_0/snapshots/{commit}"
    sides.drafter |= {"_name_or_path": "google/gemma-4-E2B-it-assistant"}
    (warning,) = check(sides).warnings
    assert "the target's name says qat q4_0, the drafter's no QAT" in warning


def test_names_that_agree_on_qat_go_before_the_grid(check, sides):
    sides.target_name, sides.drafter_name = "gemma-4-E2B-it-qat-q4_0", "gemma-4-E2B-it-qat-q4_0-assistant"
    sides.target_up = on_grid(128, HIDDEN, 5)
    assert check(sides).warnings == ()


def test_quantized_on_one_side_only(check, sides):
    sides.target |= {"quantization_config": {"quant_method": "torchao"}}
    (warning,) = check(sides).warnings
    assert "quantization_config is torchao in the target, none in the drafter" in warning


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("dtype", ["BF16", "F32"])
def test_q4_0_grid_is_told_from_ordinary_weights(write_single, scale, dtype):
    def stored(values: np.ndarray) -> tuple[str, np.ndarray]:
        values = (values * np.float32(scale)).astype(np.float32)
        return dtype, bfloat16_bits(values) if dtype == "BF16" else values

    checkpoint = open_checkpoint(
        write_single(
            {
                "grid": stored(on_grid(64, 256, 0)),
                "ordinary": stored(off_grid(64, 256, 0)),
                "zero": stored(np.zeros((4, 64))),
                "narrow": stored(on_grid(64, 256, 0)[:, :40]),
                "vector": stored(on_grid(1, 256, 0)[0]),
            }
        )
    )
    verdicts = {name: lies_on_q4_0_grid(checkpoint, name) for name in checkpoint.tensors}
    assert verdicts == {"grid": True, "ordinary": False, "zero": False, "narrow": False, "vector": False}


def test_other_grids_are_not_q4_0(write_single):
    """Codes of 8 bits, and 4-bit codes with both ends used (-8..8): negative controls."""
    random = np.random.default_rng(0)
    eight_bits = random.integers(-127, 128, (16, 64)).astype(np.float32) * np.float32(0.01)
    both_ends = random.integers(-7, 8, (16, 64)).astype(np.float32)
    both_ends[:, ::32], both_ends[:, 1::32] = -8, 8
    blocks_of_64 = on_grid(16, 64, 1) + 0.3 * on_grid(16, 64, 2)
    checkpoint = open_checkpoint(
        write_single({"a": ("F32", eight_bits), "b": ("F32", both_ends), "c": ("F32", blocks_of_64.astype(np.float32))})
    )
    assert not any(lies_on_q4_0_grid(checkpoint, name) for name in checkpoint.tensors)


def test_nan_weights_lie_on_no_grid(write_single):
    weights = np.full((8, 32), np.nan, np.float32)
    assert not lies_on_q4_0_grid(open_checkpoint(write_single({"weight": ("F32", weights)})), "weight")


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_any_grid_is_recognised(seed):
    values = on_grid(8, 64, seed).reshape(-1, 32)
    rounded = (values.view(np.uint32) + 0x8000) & np.uint32(0xFFFF0000)
    blocks = rounded.view(np.float32)
    assert _on_grid(blocks[np.any(blocks != 0, axis=1)]).all()
