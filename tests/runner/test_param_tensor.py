"""`param_tensor` as the runner fills it. On the CPU no graph reads it, so nothing else would tell."""

from types import SimpleNamespace

import numpy as np
import pytest

from edge_mtp import names
from edge_mtp.runner.calls import Call, fill_param
from edge_mtp.runner.litert import open_pair
from tests.emulator import param_tensor


@pytest.mark.parametrize(("position", "real"), [(9, 5), (0, 1)])
def test_it_is_the_emulators(position, real):
    call = SimpleNamespace(inputs={names.PARAM_TENSOR: np.zeros((1, 1, 1, 7), np.int32)})
    fill_param(call, 3, 2)
    fill_param(call, position, real)
    assert np.array_equal(call.inputs[names.PARAM_TENSOR], param_tensor(position, real))
    assert not np.array_equal(call.inputs[names.PARAM_TENSOR], param_tensor(position, real + 1))


def test_a_call_may_do_without():
    call = SimpleNamespace(inputs={names.INPUT_POS: np.ones(1, np.int32)})
    fill_param(call, 9, 5)
    assert call.inputs == {names.INPUT_POS: np.ones(1, np.int32)}


def test_every_call_has_the_rows_of_its_own_tokens(int8):
    """Two chunks of a prompt, the second not full, a decoded token, a draft step, a block that is not full."""

    def held(call: Call) -> list[int]:
        return call.inputs[names.PARAM_TENSOR].ravel().tolist()

    with open_pair(int8, threads=1) as pair:
        shortest = pair.target._prefills[-1]
        pair.target.prefill(list(range(3, 3 + 32 + 7)))
        assert held(shortest) == [32, 39, 39, 0, 0, 0, 0]
        hidden = pair.target.decode(11).hidden[0].copy()
        assert held(pair.target._decode) == [39, 40, 40, 0, 0, 0, 0]
        pair.drafter.draft(12, hidden, pair.target.position)
        assert held(pair.drafter._call) == [39, 40, 40, 0, 0, 0, 0]
        pair.target.verify([12, 13])
        assert held(pair.target._verify) == [40, 42, 42, 0, 0, 0, 0]
