"""Attention over a cache that the runtime owns, and the rotary embedding it needs.

Written after transformers' `modeling_gemma4.py` (Gemma 4: scale 1, RMS-normed queries, keys and values,
"proportional" rotation on full layers) in the tensor layout that LiteRT-LM wants.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edge_mtp.checkpoint.config import Attention, DecoderConfig, LayerKind, Rope
from edge_mtp.graphs.composites import cache_update, ring_update, runtime_bmm
from edge_mtp.graphs.ops import rms_norm, rotate

HIDDEN_LOGIT = -1e4
"""The logit of a cache row that a token does not see; fp16 can hold it."""

VISIBLE = -0.5
"""A float mask is 0 where a token sees a row, and far below this where it does not."""

ROTARY_STRIDE = 64
"""Positions between two rows of the coarser rotary table."""

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


def rotary_tables(rope: Rope, head_dim: int, positions: int) -> dict[str, Tensor]:
    """Rows [cosines, sines] of angles: `fine` [STRIDE, head_dim] of 0, 1, …, `coarse` of 0, STRIDE, … to `positions`.

    float32, rounded once from float64.
    """
    frequencies = inverse_frequencies(rope, head_dim).double()
    fine, coarse = torch.arange(ROTARY_STRIDE), ROTARY_STRIDE * torch.arange(_coarse_rows(positions))
    angles = {"fine": fine.double()[:, None] * frequencies, "coarse": coarse.double()[:, None] * frequencies}
    return {name: torch.cat([angle.cos(), angle.sin()], dim=-1).float() for name, angle in angles.items()}


def _coarse_rows(positions: int) -> int:
    return positions // ROTARY_STRIDE + 1


class Rotary(nn.Module):
    """Rotary embedding of one layer kind, for positions up to `positions`, by the addition theorem.

    The angle of position a * STRIDE + b is the sum of two that lie in tables (`rotary_tables`), so cosine and sine take
    two products of numbers in [-1, 1]. An angle itself does not fit fp16 activations: at position 900 its error is up
    to a quarter of a radian. The tables are buffers, so that tracing sees inputs.
    """

    def __init__(self, attention: Attention, positions: int) -> None:
        super().__init__()
        self.width = attention.head_dim // 2
        self.fine = nn.Buffer(torch.empty(ROTARY_STRIDE, attention.head_dim))
        self.coarse = nn.Buffer(torch.empty(_coarse_rows(positions), attention.head_dim))

    def forward(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """position [T] int32 -> cos, sin [1, T, 1, head_dim] float32."""
        stride = torch.div(position, ROTARY_STRIDE, rounding_mode="floor")
        cos_a, sin_a = torch.ops.tfl.gather(self.coarse, stride, 0).split(self.width, dim=-1)  # [T, head_dim / 2]
        cos_b, sin_b = torch.ops.tfl.gather(self.fine, position - stride * ROTARY_STRIDE, 0).split(self.width, dim=-1)
        cos, sin = cos_a * cos_b - sin_a * sin_b, sin_a * cos_b + cos_a * sin_b
        return _for_all_heads(cos), _for_all_heads(sin)


def _for_all_heads(half: Tensor) -> Tensor:
    """half [T, head_dim / 2] -> [1, T, 1, head_dim], both halves alike."""
    return torch.cat([half, half], dim=-1)[None, :, None, :]


def window_mask(mask: Tensor, position: Tensor, reach: int) -> Tensor:
    """mask [1, 1, T, S] float32 additive, plus what a sliding layer may not see; position [T] int32.

    Cache row k stays visible to position p where p - k <= `reach`: the target's window of W tokens
    includes the token itself (reach W - 1), the drafter's reach is W (see `drafter.py`).
    """
    rows = torch.arange(mask.shape[-1], dtype=torch.int32, device=mask.device)  # [S]
    distance = position[:, None] - rows[None, :]  # [T, S]
    outside = torch.where(distance > reach, HIDDEN_LOGIT, 0.0)
    return mask + outside[None, None]


def ring_mask(position: Tensor, last: Tensor, rows: int, reach: int) -> Tensor:
    """What a sliding layer sees of a ring of `rows` rows: [1, 1, T, rows] float32, 0 or HIDDEN_LOGIT.

    position [T] int32 are the tokens', last [1] int32 that of the row written last. Row k then holds the last position
    up to `last` that is k modulo `rows`, or none where that is negative. Integers, since fp16 counts to 2048 only.
    """
    row = torch.arange(rows, dtype=torch.int32, device=position.device)
    held = last - torch.remainder(last - row, rows)  # [rows]
    distance = position[:, None] - held[None, :]  # [T, rows]
    within = torch.minimum(torch.minimum(reach - distance, distance), held[None, :])
    return torch.where(within < 0, HIDDEN_LOGIT, 0.0)[None, None]


def ring_param(param: Tensor, rows: int, tokens: int) -> Tensor:
    """param [1, 1, 1, 7] int32 of a linear cache -> that of a ring which is written `tokens` rows at a time.

    [start modulo rows, end, end, tokens, 0, 0, 0] with end = the rows in use, at most all. A call's padding is written
    too, as on the CPU. (litert-torch's `ring_buffer_sdpa` fills it likewise; read in add_values_to_cache_kernel.cc.)
    """
    start, end = param[..., :1], torch.clamp(param[..., 1:2], max=rows)
    count = torch.full((1, 1, 1, 1), tokens, dtype=torch.int32, device=param.device)
    unused = torch.zeros((1, 1, 1, 3), dtype=torch.int32, device=param.device)
    return torch.cat([torch.remainder(start, rows), end, end, count, unused], dim=-1)


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
    int32, the first token's cache row; param [1, 1, 1, 7] int32 for the runtime's own operators; `ring`: the caches
    are written round and round.
    """

    cos: Tensor
    sin: Tensor
    mask: Tensor
    visible: Tensor
    slot: Tensor
    param: Tensor
    is_global: bool
    ring: bool


@dataclass(frozen=True)
class Call:
    """What the runtime says of one call: input_pos [T] int32, mask [1, 1, T, S] float32, param [1, 1, 1, 7] int32.

    `written` is how many rows the call writes from input_pos[0] on; a drafter writes none.
    """

    input_pos: Tensor
    mask: Tensor
    param: Tensor
    written: int


def make_view(call: Call, rotation: tuple[Tensor, Tensor], kind: LayerKind, reach: int, rows: int, heads: int) -> View:
    """The view of layers of `kind` over caches of `rows` rows: rotation (cos, sin), `reach` as of `window_mask`."""
    first = call.input_pos[:1]
    ring = rows < call.mask.shape[-1]
    mask, param, slot = call.mask, call.param, first
    if ring:
        last = first + (call.written - 1) if call.written else first
        mask = ring_mask(call.input_pos, last, rows, reach)
        param, slot = ring_param(call.param, rows, call.written), torch.remainder(first, rows)
    elif kind is LayerKind.SLIDING:
        mask = window_mask(mask, call.input_pos, reach)
    spread = spread_mask(mask, heads)
    return View(*rotation, spread, spread > VISIBLE, slot, param, is_global=kind is LayerKind.FULL, ring=ring)


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
        write = ring_update if view.ring else cache_update
        return write(key, value, view.param, keys, values, view.slot, f"{self.name}.cache")
