import pytest

from edge_mtp import names
from edge_mtp.bundle.summary import group_weights, packed_bytes
from edge_mtp.bundle.tflite import summarize
from edge_mtp.errors import BundleError
from tests.bundle import models
from tests.bundle.models import SignatureSpec, TensorSpec


def summary_of(*signatures):
    return summarize(memoryview(models.build_tflite(signatures)))


def test_signatures_have_the_names_shapes_and_types_of_the_file():
    decode = summary_of(*models.target_signatures()).signature(names.DECODE)
    assert str(decode.input(names.EMBEDDINGS)) == "embeddings [1,1,8] float32"
    assert str(decode.input(names.INPUT_POS)) == "input_pos [1] int32"
    assert decode.output(names.LOGITS).shape == (1, 1, models.VOCAB)
    assert decode.input("absent") is None


def test_packed_types_are_told_as_stored():
    weights = {weight.name: weight for weight in summary_of(*models.target_signatures()).weights}
    assert weights["layers.0.mlp.up_proj.weight"].dtype == "INT4"
    assert weights["layers.0.mlp.up_proj.weight"].data_bytes == 16 * 8 // 2
    assert weights["layers.1.mlp.up_proj.weight"].dtype == "INT2"
    assert weights["layers.1.mlp.up_proj.weight"].data_bytes == 16 * 8 // 4


def test_weights_shared_by_signatures_count_once():
    model = summary_of(*models.target_signatures())
    assert [weight.name for weight in model.weights].count("layers.0.mlp.up_proj.weight") == 1
    assert model.parameters == 16 * 8 * 2 + 8


def test_block_scales_count_with_their_weight():
    (head,) = summary_of(models.drafter_signature()).weights
    assert (head.stored_as, head.block) == ("int4/32", 32)
    assert head.scale_bytes == 2 * models.VOCAB
    (group,) = group_weights([head])
    assert group.bits_per_weight == 4 + 16 / 32


def test_groups_collapse_layers_and_drop_the_signature_in_front():
    weights = [TensorSpec(f"decode_layers.{i}.q_proj", (4, 4), "INT8", (1.0,) * 4) for i in range(3)]
    model = summary_of(SignatureSpec("decode", (TensorSpec("a", (1,)),), (TensorSpec("b", (1,)),), tuple(weights)))
    (group,) = model.groups
    assert (group.pattern, group.tensors, group.elements) == ("layers.*.q_proj", 3, 48)


def test_indices_and_scalars_are_no_parameters():
    constants = (TensorSpec("shape", (3,), "INT32"), TensorSpec("epsilon", ()), TensorSpec("norm", (8,)))
    model = summary_of(SignatureSpec("x", (TensorSpec("a", (1,)),), (TensorSpec("b", (1,)),), constants))
    assert model.parameters == 8
    assert model.bits_per_weight == 32


def test_ops_composites_and_customs_are_told_apart():
    signature = SignatureSpec(
        "x",
        (TensorSpec("a", (1,)),),
        (TensorSpec("b", (1,)),),
        ops=("FULLY_CONNECTED", "TOPK_V2"),
        composites=("odml.runtime_bmm",),
        customs=("Secret",),
    )
    model = summary_of(signature)
    assert model.ops == {"FULLY_CONNECTED": 1, "TOPK_V2": 1}
    assert model.composites == {"odml.runtime_bmm": 1}
    assert model.customs == {"Secret": 1}


def test_zero_scales_are_counted():
    weight = TensorSpec("w", (2, 4), "INT8", (0.0, 1.0))
    (found,) = summary_of(SignatureSpec("x", (TensorSpec("a", (1,)),), (TensorSpec("b", (1,)),), (weight,))).weights
    assert found.bad_scales == 1


@pytest.mark.parametrize(
    ("shape", "dtype", "size"), [((3,), "INT4", 2), ((5,), "INT2", 2), ((2, 2), "FLOAT32", 16), ((0,), "INT8", 0)]
)
def test_packed_bytes_round_up(shape, dtype, size):
    assert packed_bytes(shape, dtype) == size


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\0\0\0\0TFL3", b"\xff\xff\xff\x7fTFL3" + b"\0" * 64, b"x" * 64])
def test_garbage_is_refused_by_name(data):
    with pytest.raises(BundleError, match="the test model is damaged"):
        summarize(memoryview(data), "the test model")


def test_weight_behind_the_end_is_refused():
    data = models.build_tflite(models.target_signatures())
    with pytest.raises(BundleError, match="a weight ends at byte"):
        summarize(memoryview(data[:-16]))
