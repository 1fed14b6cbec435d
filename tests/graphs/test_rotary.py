"""The rotary embedding from tables: right at every position, and in fp16, where angles are not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from edge_mtp.checkpoint.config import Attention, Rope
from edge_mtp.graphs.attention import ROTARY_STRIDE, Rotary, inverse_frequencies, rotary_tables

POSITIONS = 4099
SLIDING = Attention(head_dim=256, kv_heads=1, rope=Rope(theta=1e4))
FULL = replace(SLIDING, head_dim=512, rope=Rope(theta=1e6, rotary_fraction=0.25))
AT = torch.tensor([0, 1, ROTARY_STRIDE - 1, ROTARY_STRIDE, 900, 2049, POSITIONS - 1], dtype=torch.int32)


def rotary(attention: Attention, dtype: torch.dtype) -> Rotary:
    made = Rotary(attention, POSITIONS)
    tables = rotary_tables(attention.rope, attention.head_dim, POSITIONS)
    made.load_state_dict({name: table.to(dtype) for name, table in tables.items()}, assign=True)
    return made


def exact(attention: Attention) -> tuple[np.ndarray, np.ndarray]:
    angles = AT.double()[:, None] * inverse_frequencies(attention.rope, attention.head_dim).double()
    both = torch.cat([angles, angles], dim=-1)[None, :, None, :]
    return both.cos().numpy(), both.sin().numpy()


@pytest.mark.parametrize("attention", [SLIDING, FULL], ids=["sliding", "full"])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 2e-7), (torch.float16, 1.5e-3)], ids=["fp32", "fp16"])
def test_cosines_and_sines_are_right_to_the_end_of_the_context(attention, dtype, error):
    for found, wanted in zip(rotary(attention, dtype)(AT), exact(attention), strict=True):
        assert found.shape == (1, len(AT), 1, attention.head_dim)
        assert np.abs(found.double().numpy() - wanted).max() < error


def test_angles_in_fp16_would_be_wrong():
    """Why there are tables."""
    frequencies = inverse_frequencies(SLIDING.rope, SLIDING.head_dim).half()
    angles = AT.half()[:, None] * frequencies
    both = torch.cat([angles, angles], dim=-1)[None, :, None, :]
    assert np.abs(both.cos().double().numpy() - exact(SLIDING)[0]).max() > 0.5
