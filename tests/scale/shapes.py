"""Which tensors a Gemma 4 checkpoint holds, under the hub's names, and how large their values are."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from edge_mtp.checkpoint.config import DecoderConfig, DrafterConfig, TargetConfig

Role = Literal["matrix", "norm", "signed_norm", "scalar", "order"]

EMBEDDING_DEVIATION = 0.03
PER_LAYER_EMBEDDING_DEVIATION = 0.05
FINAL_NORM = 3.0
# What a layer adds to the residual stream is small beside a token's embedding, as in trained models: random
# layers of full size amplify rounding until no two kernels agree on the next token.
ADDED_NORM = 0.05


@dataclass(frozen=True)
class TensorSpec:
    """One stored tensor.

    `scale` is a matrix's standard deviation, a norm's or a scalar's centre (a "signed_norm" has random
    signs), and without meaning for an "order", the int64 permutation of the clustered head. All others are
    stored as bf16.
    """

    name: str
    shape: tuple[int, ...]
    role: Role
    scale: float = 1.0

    @property
    def dtype(self) -> str:
        """The dtype's name in a safetensors header."""
        return "I64" if self.role == "order" else "BF16"

    @property
    def elements(self) -> int:
        """Number of values."""
        product = 1
        for length in self.shape:
            product *= length
        return product

    @property
    def bytes(self) -> int:
        """Stored size."""
        return self.elements * (8 if self.role == "order" else 2)


def target_tensors(config: TargetConfig) -> list[TensorSpec]:
    """The text part of a target, in the order transformers registers it.

    With positive weights in the last norm every token would be followed by itself, since the head is tied to
    the embedding; signs make the next token another one.
    """
    decoder, prefix = config.decoder, "model.language_model."
    specs = [_embedding(f"{prefix}embed_tokens", decoder.vocab_size, decoder.hidden_size)]
    for layer in range(decoder.layers):
        specs += _layer(decoder, layer, f"{prefix}layers.{layer}.", stores_keys=True)
    specs.append(TensorSpec(f"{prefix}norm.weight", (decoder.hidden_size,), "signed_norm", FINAL_NORM))
    if decoder.ple_width:
        specs += _per_layer_inputs(decoder, prefix)
    return specs


def drafter_tensors(config: DrafterConfig) -> list[TensorSpec]:
    """A drafter with tied head; the clustered head's tensors where the configuration asks for them."""
    decoder = config.decoder
    specs = [_embedding("model.embed_tokens", decoder.vocab_size, decoder.hidden_size)]
    for layer in range(decoder.layers):
        specs += _layer(decoder, layer, f"model.layers.{layer}.", stores_keys=False)
    specs.append(TensorSpec("model.norm.weight", (decoder.hidden_size,), "norm", FINAL_NORM))
    specs.append(_linear("pre_projection", 2 * config.backbone_hidden_size, decoder.hidden_size))
    specs.append(_linear("post_projection", decoder.hidden_size, config.backbone_hidden_size))
    if config.ordered_embeddings:
        specs.append(_linear("masked_embedding.centroids", decoder.hidden_size, config.centroids))
        specs.append(TensorSpec("masked_embedding.token_ordering", (decoder.vocab_size,), "order"))
    return specs


def _layer(decoder: DecoderConfig, layer: int, prefix: str, *, stores_keys: bool) -> Iterator[TensorSpec]:
    hidden, width = decoder.hidden_size, decoder.mlp_width(layer)
    yield from _attention(decoder, layer, f"{prefix}self_attn.", stores_keys=stores_keys)
    yield _linear(f"{prefix}mlp.gate_proj", hidden, width)
    yield _linear(f"{prefix}mlp.up_proj", hidden, width)
    yield _linear(f"{prefix}mlp.down_proj", width, hidden)
    for norm in ("input_layernorm", "pre_feedforward_layernorm"):
        yield TensorSpec(f"{prefix}{norm}.weight", (hidden,), "norm")
    for norm in ("post_attention_layernorm", "post_feedforward_layernorm"):
        yield TensorSpec(f"{prefix}{norm}.weight", (hidden,), "norm", ADDED_NORM)
    if decoder.ple_width:
        yield _linear(f"{prefix}per_layer_input_gate", hidden, decoder.ple_width)
        yield _linear(f"{prefix}per_layer_projection", decoder.ple_width, hidden)
        yield TensorSpec(f"{prefix}post_per_layer_input_norm.weight", (hidden,), "norm", ADDED_NORM)
    yield TensorSpec(f"{prefix}layer_scalar", (1,), "scalar")


def _attention(decoder: DecoderConfig, layer: int, prefix: str, *, stores_keys: bool) -> Iterator[TensorSpec]:
    """A target stores K and V of shared layers too, as the hub's files do, though nothing reads them.

    Gemma 4 scales attention by 1, so the small weights of trained k_norms keep its logits in range.
    """
    shape = decoder.shape_of(layer)
    queries, keys = decoder.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    yield _linear(f"{prefix}q_proj", decoder.hidden_size, queries)
    yield TensorSpec(f"{prefix}q_norm.weight", (shape.head_dim,), "norm")
    if stores_keys:
        yield _linear(f"{prefix}k_proj", decoder.hidden_size, keys)
        yield _linear(f"{prefix}v_proj", decoder.hidden_size, keys)
        yield TensorSpec(f"{prefix}k_norm.weight", (shape.head_dim,), "norm", 2.0 * shape.head_dim**-0.5)
    yield _linear(f"{prefix}o_proj", queries, decoder.hidden_size)


def _per_layer_inputs(decoder: DecoderConfig, prefix: str) -> list[TensorSpec]:
    width = decoder.layers * decoder.ple_width
    table = (decoder.ple_vocab_size, width)
    return [
        TensorSpec(f"{prefix}embed_tokens_per_layer.weight", table, "matrix", PER_LAYER_EMBEDDING_DEVIATION),
        _linear(f"{prefix}per_layer_model_projection", decoder.hidden_size, width),
        TensorSpec(f"{prefix}per_layer_projection_norm.weight", (decoder.ple_width,), "norm"),
    ]


def _embedding(name: str, rows: int, columns: int) -> TensorSpec:
    return TensorSpec(f"{name}.weight", (rows, columns), "matrix", EMBEDDING_DEVIATION)


def _linear(name: str, inputs: int, outputs: int) -> TensorSpec:
    return TensorSpec(f"{name}.weight", (outputs, inputs), "matrix", inputs**-0.5)
