"""Names the LiteRT-LM runtime looks up by exact spelling: signatures, tensors, sections.

Source: the runtime's own lookups (runtime/executor/llm_litert_mtp_drafter.cc and its neighbours
in https://github.com/google-ai-edge/LiteRT-LM), checked by running 0.18.1.
"""

from typing import Final

# Signatures of the target.
DECODE: Final = "decode"
VERIFY: Final = "verify"
PREFILL_PREFIX: Final = "prefill_"

# Signatures of the other sections; the runtime takes the first one whatever its name.
EMBED: Final = "embed"
DRAFT: Final = "draft"

# Tensors.
EMBEDDINGS: Final = "embeddings"
PER_LAYER_EMBEDDINGS: Final = "per_layer_embeddings"
INPUT_POS: Final = "input_pos"
MASK: Final = "mask"
PARAM_TENSOR: Final = "param_tensor"
TOKEN_IDS: Final = "token_ids"
LOGITS: Final = "logits"
ACTIVATIONS: Final = "activations"
PROJECTED_ACTIVATIONS: Final = "projected_activations"
KV_KEY_PREFIX: Final = "kv_cache_k_"
KV_VALUE_PREFIX: Final = "kv_cache_v_"

# Sections, as the recipe and the manifest call them, and as the bundle's header spells them.
TARGET: Final = "target"
EMBEDDER: Final = "embedder"
PER_LAYER_EMBEDDER: Final = "per_layer_embedder"
DRAFTER: Final = "drafter"
SECTIONS: Final = (EMBEDDER, PER_LAYER_EMBEDDER, TARGET, DRAFTER)
MODEL_TYPES: Final = {
    EMBEDDER: "tf_lite_embedder",
    PER_LAYER_EMBEDDER: "tf_lite_per_layer_embedder",
    TARGET: "tf_lite_prefill_decode",
    DRAFTER: "tf_lite_mtp_drafter",
}


def prefill(length: int) -> str:
    """Name of the prefill signature that takes `length` tokens at once."""
    return f"{PREFILL_PREFIX}{length}"


def kv_key(layer: int) -> str:
    """Name of layer `layer`'s key cache."""
    return f"{KV_KEY_PREFIX}{layer}"


def kv_value(layer: int) -> str:
    """Name of layer `layer`'s value cache."""
    return f"{KV_VALUE_PREFIX}{layer}"
