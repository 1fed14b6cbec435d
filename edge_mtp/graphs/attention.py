"""Attention over a cache that the runtime owns, and the rotary embedding it needs.

Written after transformers' `modeling_gemma4.py` (Gemma 4: scale 1, RMS-normed queries, keys and values,
"proportional" rotation on full layers) in the tensor layout that LiteRT-LM wants.
"""

import torch
from torch import Tensor, nn

from edge_mtp.checkpoint.config import Attention, DecoderConfig, Rope
from edge_mtp.graphs.ops import rms_norm, rotate

HIDDEN_LOGIT = -1e9
"""Added to the logit of a cache row outside the sliding window, in float32."""


class RMSNorm(nn.Module):
    """Root-mean-square norm over the last axis, with a weight unless `scaled` is false."""

    def __init__(self, width: int, epsilon: float, *, scaled: bool = True) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.empty(width)) if scaled else None

    def forward(self, x: Tensor) -> Tensor:
        """x [..., width] float32 -> [..., width] float32."""
        normed: Tensor = rms_norm(x, self.epsilon)
        return normed if self.weight is None else normed * self.weight


def inverse_frequencies(rope: Rope, head_dim: int) -> Tensor:
    """[head_dim / 2] float32: θ^(-2i/head_dim) for the share that rotates, then zeros.

    Source: transformers' `modeling_rope_utils.py`, "default" and "proportional".
    """
    rotated = int(rope.rotary_fraction * head_dim // 2)
    exponents = torch.arange(0, 2 * rotated, 2, dtype=torch.int64).float() / head_dim
    return torch.cat([1.0 / rope.theta**exponents, torch.zeros(head_dim // 2 - rotated)])


class Rotary(nn.Module):
    """Rotary embedding of one layer kind; its frequencies are a buffer, so that tracing sees an input."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.inverse_frequencies = nn.Buffer(torch.empty(attention.head_dim // 2))

    def forward(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """position [T] float32 -> cos, sin [1, T, 1, head_dim] float32."""
        angles = position[:, None] * self.inverse_frequencies[None, :]
        angles = torch.cat([angles, angles], dim=-1)[None, :, None, :]
        return angles.cos(), angles.sin()


def window_mask(mask: Tensor, position: Tensor, reach: int) -> Tensor:
    """mask [1, 1, T, S] float32 additive, plus what a sliding layer may not see.

    Cache row k stays visible to position p where p - k <= `reach`: the target's window of W tokens
    includes the token itself (reach W - 1), the drafter's reach is W (see `drafter.py`).
    """
    rows = torch.arange(mask.shape[-1], dtype=torch.float32, device=mask.device)  # [S]
    distance = position[:, None] - rows[None, :]  # [T, S]
    outside = torch.where(distance > float(reach), HIDDEN_LOGIT, 0.0)
    return mask + outside[None, None]


def attend(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """Grouped-query attention with scale 1 over a whole cache.

    query [1, T, heads, D], keys [1, kv, S, D], values [1, kv, D, S], mask [1, 1, T, S], all float32
    -> [1, T, heads * D] float32. Query heads that share a KV head are folded into rows, so that each
    cache enters one batched matmul as it lies.
    """
    _, tokens, heads, head_dim = query.shape
    kv_heads, rows = keys.shape[1], keys.shape[2]
    folded = query.transpose(1, 2).reshape(1, kv_heads, heads // kv_heads * tokens, head_dim)
    logits = torch.ops.tfl.batch_matmul(folded, keys, adj_y=True)  # [1, kv, group * T, S]
    weights = torch.softmax(logits.reshape(1, heads, tokens, rows) + mask, dim=-1)
    weights = weights.reshape(1, kv_heads, heads // kv_heads * tokens, rows)
    mixed = torch.ops.tfl.batch_matmul(weights, values, adj_y=True)  # [1, kv, group * T, D]
    return mixed.reshape(1, heads, tokens, head_dim).transpose(1, 2).reshape(1, tokens, heads * head_dim)


class QueryAttention(nn.Module):
    """Attention that projects queries only and reads a donor's cache (shared layers, drafter layers)."""

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()
        shape = config.shape_of(layer)
        self.heads, self.head_dim = config.heads, shape.head_dim
        width = config.heads * shape.head_dim
        self.q_proj = nn.Linear(config.hidden_size, width, bias=False)
        self.q_norm = RMSNorm(shape.head_dim, config.norm_epsilon)
        self.o_proj = nn.Linear(width, config.hidden_size, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """x [1, T, hidden], cos/sin [1, T, 1, D], mask [1, 1, T, S], caches as in `attend` -> [1, T, hidden]."""
        query = self.q_proj(x).reshape(1, x.shape[1], self.heads, self.head_dim)
        return self.o_proj(attend(rotate(self.q_norm(query), cos, sin), keys, values, mask))


class OwningAttention(QueryAttention):
    """Attention that also writes its own keys and values into its cache."""

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__(config, layer)
        shape = config.shape_of(layer)
        self.kv_heads = shape.kv_heads
        self.k_proj = nn.Linear(config.hidden_size, shape.kv_heads * shape.head_dim, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, shape.kv_heads * shape.head_dim, bias=False)
        self.k_norm = RMSNorm(shape.head_dim, config.norm_epsilon)
        self.v_norm = RMSNorm(shape.head_dim, config.norm_epsilon, scaled=False)

    def update(
        self, x: Tensor, cos: Tensor, sin: Tensor, slot: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Writes the T tokens of x [1, T, hidden] from cache row `slot` (scalar int32) on; returns both caches."""
        shape = (1, x.shape[1], self.kv_heads, self.head_dim)
        key = rotate(self.k_norm(self.k_proj(x).reshape(shape)), cos, sin).transpose(1, 2)  # [1, kv, T, D]
        value = self.v_norm(self.v_proj(x).reshape(shape)).permute(0, 2, 3, 1)  # [1, kv, D, T]
        zero = torch.zeros((), dtype=slot.dtype, device=slot.device)
        write = torch.ops.litert_torch.dynamic_update_slice
        return write(keys, key, [zero, zero, slot, zero]), write(values, value, [zero, zero, zero, slot])
