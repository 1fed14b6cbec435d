"""Attention as the GPU delegate wants it, operator by operator: a cache is written, read, masked and read again."""

from collections.abc import Mapping

from edge_mtp import names
from tests.bundle.flatbuffer import OperatorSpec, TensorSpec

PARAM = TensorSpec(names.PARAM_TENSOR, (1, 1, 1, 7), "INT32")
CACHE_UPDATE, RUNTIME_BMM = "odml.cache_update", "odml.runtime_bmm"
OVER_KEYS: Mapping[str, object] = {"is_global": True, "is_src": False, "rhs_cache_update": True}
OVER_VALUES: Mapping[str, object] = {**OVER_KEYS, "is_src": True}


def cache_pair(layer: int, rows: int, head: int, dtype: str = "FLOAT32") -> tuple[TensorSpec, TensorSpec]:
    """K and V of one KV head."""
    return (
        TensorSpec(names.kv_key(layer), (1, 1, rows, head), dtype),
        TensorSpec(names.kv_value(layer), (1, 1, head, rows), dtype),
    )


def write(layer: int, tokens: int, rows: int, head: int) -> OperatorSpec:
    """The rows of `tokens` tokens into the caches of `layer`."""
    keys, values = cache_pair(layer, rows, head)
    row, column = (TensorSpec(f"{name}_{layer}", (4,), "INT32") for name in ("row", "column"))
    fresh = (TensorSpec(f"{name}_{layer}", (1, 1, tokens, head)) for name in ("key", "value"))
    sizes = {"kv_cache_batch_size": 1, "cache_size": rows, "head_size": head, "is_ring_buffer": False}
    return OperatorSpec(CACHE_UPDATE, (*fresh, PARAM, keys, values, row, column), (keys, values), sizes)


def attend(layer: int, tokens: int, rows: int, head: int) -> tuple[OperatorSpec, ...]:
    """Queries over the caches of `layer`: over keys, select, softmax, over values."""
    keys, values = cache_pair(layer, rows, head)
    wide, narrow = (1, 1, tokens, rows), (1, 1, tokens, head)
    query, mixed = TensorSpec(f"query_{layer}", narrow), TensorSpec(f"mixed_{layer}", narrow)
    visible, floor = TensorSpec(f"visible_{layer}", wide, "BOOL"), TensorSpec(f"floor_{layer}", wide)
    logits, seen, weights = (TensorSpec(f"{name}_{layer}", wide) for name in ("logits", "seen", "weights"))
    return (
        OperatorSpec(RUNTIME_BMM, (query, keys, PARAM), (logits,), OVER_KEYS),
        OperatorSpec("SELECT_V2", (visible, logits, floor), (seen,)),
        OperatorSpec("SOFTMAX", (seen,), (weights,)),
        OperatorSpec(RUNTIME_BMM, (weights, values, PARAM), (mixed,), OVER_VALUES),
    )
