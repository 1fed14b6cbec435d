"""Marked pieces of a graph that LiteRT's GPU delegate replaces as a whole, with a plain form for everybody else.

With a `param_tensor` input the GPU runtime keeps one buffer for a KV cache, binds it as an output only, and stores it
in a packed layout of its own. `odml.cache_update` writes that layout, `odml.runtime_bmm` reads it up to the row that
`param_tensor` says; anything else would read a cache that is not bound. On the CPU the marked pieces run as they are
written here. Found by running LiteRT-LM 0.18.1; litert-torch's own exporter marks its graphs with the same names.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import litert_torch.generative.custom_ops.dynamic_update_slice
import torch
from litert_torch.backend.composite import mark_tensor
from litert_torch.backend.experimental import torch_tfl
from torch import Tensor

REGISTERS_OPS: Final = (litert_torch.generative.custom_ops.dynamic_update_slice, torch_tfl)
"""Imported for the torch operators they register: `litert_torch::dynamic_update_slice` and `tfl::*`."""

CACHE_UPDATE: Final = "odml.cache_update"
RUNTIME_BMM: Final = "odml.runtime_bmm"

Attributes = Mapping[str, bool | int]


def ring_update(
    key: Tensor, value: Tensor, param: Tensor, keys: Tensor, values: Tensor, slot: Tensor, name: str
) -> tuple[Tensor, Tensor]:
    """Writes T <= S new rows from row `slot` on, those behind the last from row 0 on; returns both caches.

    Shapes as of `cache_update`; param is that of a ring, see `attention.ring_param`.
    """
    tokens, rows = key.shape[2], keys.shape[2]
    if tokens == 1:
        return cache_update(key, value, param, keys, values, slot, name, ring=True)
    behind = torch.remainder(torch.arange(rows, dtype=torch.int32, device=slot.device) - slot, rows)  # [S], 0 at slot
    source = torch.clamp(behind, max=tokens)  # the new token of each row; `tokens` stands for none
    kept = torch.clamp(behind - (tokens - 1), min=0, max=1).to(key.dtype)  # 1 where a row stays as it is
    given = (key, value, param, keys, values, source, kept)
    key, value, param, keys, values, source, kept = _mark(CACHE_UPDATE, name, given, is_input=True)
    unused = (param.sum() * 0).to(key.dtype)
    none = torch.zeros_like(key[:, :, :1])
    new_keys = torch.ops.tfl.gather(torch.cat([key + unused, none], dim=2), source, 2)
    new_values = torch.ops.tfl.gather(torch.cat([value, none], dim=2), source, 2).transpose(-2, -1)
    written = (keys * kept[:, None] + new_keys, values * kept + new_values)
    keys, values = _mark(CACHE_UPDATE, name, written, is_input=False, attributes=_cache_attributes(keys, ring=True))
    return keys, values


def _cache_attributes(keys: Tensor, *, ring: bool) -> Attributes:
    """What `odml.cache_update` is told of keys [1, kv, S, D] and their values."""
    return {
        "kv_cache_batch_size": keys.shape[1],
        "cache_size": keys.shape[2],
        "head_size": keys.shape[3],
        "is_ring_buffer": ring,
    }


def cache_update(
    key: Tensor,
    value: Tensor,
    param: Tensor,
    keys: Tensor,
    values: Tensor,
    slot: Tensor,
    name: str,
    *,
    ring: bool = False,
) -> tuple[Tensor, Tensor]:
    """Writes T new rows from row `slot` on; returns both caches.

    key, value [1, kv, T, D], param [1, 1, 1, 7] int32, keys [1, kv, S, D], values [1, kv, D, S], slot [1] int32;
    `name` sets this piece apart from the graph's others.
    """
    zero = torch.zeros_like(slot)
    row, column = torch.cat([zero, zero, slot, zero]), torch.cat([zero, zero, zero, slot])
    attributes = _cache_attributes(keys, ring=ring)
    given = (key, value, param, keys, values, row, column)
    key, value, param, keys, values, row, column = _mark(CACHE_UPDATE, name, given, is_input=True)
    unused = ((param.sum() + row.sum() + column.sum()) * 0).to(
        key.dtype
    )  # an input that nothing reads would be dropped
    write = torch.ops.litert_torch.dynamic_update_slice
    written = (
        write(keys, key + unused, list(row)),
        write(values, value.transpose(-2, -1) + unused, list(column)),
    )
    keys, values = _mark(CACHE_UPDATE, name, written, is_input=False, attributes=attributes)
    return keys, values


def runtime_bmm(left: Tensor, cache: Tensor, param: Tensor, name: str, *, is_global: bool, is_values: bool) -> Tensor:
    """left [1, kv, n, k] times cache [1, kv, m, k] transposed -> [1, kv, n, m], as the cache lies.

    Keys are [.., S, D] (m = S), values [.., D, S] (k = S).
    """
    attributes = {"is_global": is_global, "is_src": is_values, "rhs_cache_update": True}
    left, cache, param = _mark(RUNTIME_BMM, name, (left, cache, param), is_input=True)
    product = torch.ops.tfl.batch_matmul(left, cache, adj_y=True) + (param.sum() * 0).to(left.dtype)
    (product,) = _mark(RUNTIME_BMM, name, (product,), is_input=False, attributes=attributes)
    return product


def _mark(
    composite: str, name: str, tensors: Sequence[Tensor], *, is_input: bool, attributes: Attributes | None = None
) -> tuple[Tensor, ...]:
    """The ends of a marked piece; its id is `name`, which pairs inputs with outputs."""
    spelt = None if attributes is None else tuple(attributes.items())
    return tuple(
        mark_tensor.mark_tensor_op(tensor, name=composite, pos=place, id=name, is_input=is_input, attr=spelt)
        for place, tensor in enumerate(tensors)
    )
