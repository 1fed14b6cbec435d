"""Attention over a cache that the runtime owns, and the rotary embedding it needs.

Written after transformers' `modeling_gemma4.py` (Gemma 4: scale 1, RMS-normed queries, keys and values,
"proportional" rotation on full layers) in the tensor layout that LiteRT-LM wants.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edge_mtp.checkpoint.config import Attention, DecoderConfig, LayerKind, Rope
from edge_mtp.graphs.composites import cache_update, runtime_bmm
from edge_mtp.graphs.ops import rms_norm, rotate

HIDDEN_LOGIT = -1e4
"""The logit of a cache row that a token does not see; fp16 can hold it."""

VISIBLE = -0.5
"""A float mask is 0 where a token sees a row, and far below this where it does not."""

FEW_TOKENS = 16
"""Up to so many tokens a call the mask is spread over all heads once, see `spread_mask`."""


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
    """mask [1, 1, T, S] float32 additive, plus what a sliding layer may not see; position [T] float32.

    Cache row k stays visible to position p where p - k <= `reach`: the target's window of W tokens
    includes the token itself (reach W - 1), the drafter's reach is W (see `drafter.py`).
    """
    rows = torch.arange(mask.shape[-1], dtype=torch.float32, device=mask.device)  # [S]
    distance = position[:, None] - rows[None, :]  # [T, S]
    outside = torch.where(distance > float(reach), HIDDEN_LOGIT, 0.0)
    return mask + outside[None, None]


def spread_mask(mask: Tensor, heads: int) -> Tensor:
    """mask [1, 1, T, S] -> [1, heads, T, S] where T is small, else [1, 1, T, S]; 0 or HIDDEN_LOGIT.

    LiteRT's CPU kernel for SELECT_V2 is slow where shapes differ, a seventh of a decode of E2B. Spread over the heads
    the mask of a prefill would be as large as its logits, so there it is left as it is.
    """
    seen = torch.clamp(mask, min=HIDDEN_LOGIT)
    # Copies, since the converter would take back a broadcast.
    return torch.cat([seen] * heads, dim=1) if mask.shape[2] <= FEW_TOKENS else seen


def attend(query: Tensor, keys: Tensor, values: Tensor, view: "View", name: str) -> Tensor:
    """Grouped-query attention with scale 1 over a whole cache.

    query [1, T, heads, D], keys [1, kv, S, D], values [1, kv, D, S] float32 -> [1, T, heads * D] float32. Query heads
    that share a KV head are folded into rows, so that each cache enters one batched matmul as it lies. `name` sets the
    matmuls' marks apart from other layers'.

    The mask takes the place of hidden rows' logits and is not added to them: the GPU's matmul leaves the rows behind
    those in use undefined, and NaN + mask is NaN.
    """
    _, tokens, heads, head_dim = query.shape
    kv_heads, rows = keys.shape[1], keys.shape[2]
    folded = query.transpose(1, 2).reshape(1, kv_heads, heads // kv_heads * tokens, head_dim)
    logits = runtime_bmm(folded, keys, view.param, f"{name}.keys", is_global=view.is_global, is_values=False)
    hidden = view.mask if view.mask.shape[1] == heads else HIDDEN_LOGIT  # the GPU broadcasts scalars only
    seen = torch.where(view.visible, logits.reshape(1, heads, tokens, rows), hidden)
    weights = torch.softmax(seen, dim=-1).reshape(1, kv_heads, heads // kv_heads * tokens, rows)
    mixed = runtime_bmm(weights, values, view.param, f"{name}.values", is_global=view.is_global, is_values=True)
    return mixed.reshape(1, heads, tokens, head_dim).transpose(1, 2).reshape(1, tokens, heads * head_dim)


@dataclass(frozen=True)
class View:
    """What all layers of a kind share in one call.

    cos, sin [1, T, 1, D]; mask [1, heads or 1, T, S] float32 as of `spread_mask`, visible the same as bool; slot [1]
    int32, the first token's cache row; param [1, 1, 1, 7] int32 for the runtime's own operators.
    """

    cos: Tensor
    sin: Tensor
    mask: Tensor
    visible: Tensor
    slot: Tensor
    param: Tensor
    is_global: bool


def make_view(
    rotation: tuple[Tensor, Tensor], mask: Tensor, input_pos: Tensor, param: Tensor, kind: LayerKind, heads: int
) -> View:
    """The view of layers of `kind`: rotation (cos, sin), mask [1, 1, T, S] additive, input_pos [T] int32."""
    spread = spread_mask(mask, heads)
    return View(*rotation, spread, spread > VISIBLE, input_pos[:1], param, is_global=kind is LayerKind.FULL)


class QueryAttention(nn.Module):
    """Attention that projects queries only and reads a donor's cache (shared layers, drafter layers)."""

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()
        shape = config.shape_of(layer)
        self.name = f"layer{layer}"
        self.heads, self.head_dim = config.heads, shape.head_dim
        width = config.heads * shape.head_dim
        self.q_proj = nn.Linear(config.hidden_size, width, bias=False)
        self.q_norm = RMSNorm(shape.head_dim, config.norm_epsilon)
        self.o_proj = nn.Linear(width, config.hidden_size, bias=False)

    def forward(self, x: Tensor, view: View, keys: Tensor, values: Tensor) -> Tensor:
        """x [1, T, hidden], caches as in `attend` -> [1, T, hidden]."""
        query = self.q_proj(x).reshape(1, x.shape[1], self.heads, self.head_dim)
        query = rotate(self.q_norm(query), view.cos, view.sin)
        return self.o_proj(attend(query, keys, values, view, self.name))


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

    def update(self, x: Tensor, view: View, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Writes the T tokens of x [1, T, hidden] from cache row `view.slot` on; returns both caches."""
        shape = (1, x.shape[1], self.kv_heads, self.head_dim)
        key = rotate(self.k_norm(self.k_proj(x).reshape(shape)), view.cos, view.sin).transpose(1, 2)  # [1, kv, T, D]
        value = self.v_norm(self.v_proj(x).reshape(shape)).transpose(1, 2)  # [1, kv, T, D]
        return cache_update(key, value, view.param, keys, values, view.slot, f"{self.name}.cache")
