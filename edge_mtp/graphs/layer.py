"""One Gemma 4 decoder layer, after transformers' `Gemma4TextDecoderLayer`."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_mtp.checkpoint.config import DecoderConfig
from edge_mtp.graphs.attention import OwningAttention, QueryAttention, RMSNorm, View
from edge_mtp.graphs.ops import scale


class GatedMLP(nn.Module):
    """down(gelu_tanh(gate(x)) * up(x))."""

    def __init__(self, hidden_size: int, width: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(hidden_size, width, bias=False)
        self.up_proj = nn.Linear(hidden_size, width, bias=False)
        self.down_proj = nn.Linear(width, hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x [1, T, hidden] -> [1, T, hidden] float32."""
        return self.down_proj(functional.gelu(self.gate_proj(x), approximate="tanh") * self.up_proj(x))


class DecoderLayer(nn.Module):
    """Attention and MLP with a norm before and after each, the gated per-layer input, a scalar."""

    self_attn: QueryAttention

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()
        self.kind = config.layer_kinds[layer]
        self.owns_cache = layer < config.owning_layers
        self.self_attn = (OwningAttention if self.owns_cache else QueryAttention)(config, layer)
        self.mlp = GatedMLP(config.hidden_size, config.mlp_width(layer))
        self.input_layernorm = RMSNorm(config.hidden_size, config.norm_epsilon)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.norm_epsilon)
        self.pre_feedforward_layernorm = RMSNorm(config.hidden_size, config.norm_epsilon)
        self.post_feedforward_layernorm = RMSNorm(config.hidden_size, config.norm_epsilon)
        self.layer_scalar = nn.Buffer(torch.empty(1))
        if config.ple_width:
            self.per_layer_input_gate = nn.Linear(config.hidden_size, config.ple_width, bias=False)
            self.per_layer_projection = nn.Linear(config.ple_width, config.hidden_size, bias=False)
            self.post_per_layer_input_norm = RMSNorm(config.hidden_size, config.norm_epsilon)

    def update_cache(self, x: Tensor, view: View, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """The layer's caches with the tokens of x [1, T, hidden] written; see `OwningAttention.update`."""
        assert isinstance(self.self_attn, OwningAttention)
        return self.self_attn.update(self.input_layernorm(x), view, keys, values)

    def forward(self, x: Tensor, per_layer_input: Tensor | None, view: View, keys: Tensor, values: Tensor) -> Tensor:
        """x [1, T, hidden], per_layer_input [1, T, ple_width], caches as in `attend` -> [1, T, hidden]."""
        attended = self.self_attn(self.input_layernorm(x), view, keys, values)
        x = x + self.post_attention_layernorm(attended)
        x = x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)))
        if per_layer_input is not None:
            gated = functional.gelu(self.per_layer_input_gate(x), approximate="tanh") * per_layer_input
            x = x + self.post_per_layer_input_norm(self.per_layer_projection(gated))
        return scale(x, self.layer_scalar)
