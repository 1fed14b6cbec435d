"""The Gemma 4 text decoder as LiteRT-LM calls it: embeddings in, caches out, logits where asked for."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from edge_mtp import names
from edge_mtp.checkpoint.config import DecoderConfig, LayerKind
from edge_mtp.graphs.attention import Call, RMSNorm, Rotary, View, make_view
from edge_mtp.graphs.layer import DecoderLayer


class PerLayerInputs(nn.Module):
    """Mixes a token's per-layer embedding with a projection of its embedding."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.layers, self.width, self.hidden_size = config.layers, config.ple_width, config.hidden_size
        self.per_layer_model_projection = nn.Linear(config.hidden_size, config.layers * config.ple_width, bias=False)
        self.per_layer_projection_norm = RMSNorm(config.ple_width, config.norm_epsilon)

    def forward(self, embeddings: Tensor, per_layer_embeddings: Tensor) -> Tensor:
        """embeddings [1, T, hidden], per_layer_embeddings [1, T, L, P] -> [1, T, L, P] float32."""
        context = self.per_layer_model_projection(embeddings) * self.hidden_size**-0.5
        context = context.reshape(1, embeddings.shape[1], self.layers, self.width)
        return (self.per_layer_projection_norm(context) + per_layer_embeddings) * 2.0**-0.5


class Target(nn.Module):
    """Decoder layers over caches named `kv_cache_{k,v}_<layer>`, final norm, tied head, soft-cap.

    Parameter names are the checkpoint's, without its `model.language_model.` prefix.
    """

    def __init__(self, config: DecoderConfig, positions: int) -> None:
        """`positions`: tokens come at 0 to before it."""
        super().__init__()
        self.config, self.positions = config, positions
        self.layers = nn.ModuleList(DecoderLayer(config, layer) for layer in range(config.layers))
        self.rotary = nn.ModuleDict({kind: Rotary(a, positions) for kind, a in config.attention.items()})
        self.norm = RMSNorm(config.hidden_size, config.norm_epsilon)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.ple_width:
            self.ple = PerLayerInputs(config)

    def forward(
        self,
        embeddings: Tensor,
        per_layer_embeddings: Tensor | None,
        input_pos: Tensor,
        mask: Tensor,
        param: Tensor,
        caches: dict[str, Tensor],
        *,
        prefill: bool,
    ) -> dict[str, Tensor]:
        """One call of a signature.

        embeddings [1, T, hidden] float32, per_layer_embeddings [1, T, L, P] float32 (None where P = 0),
        input_pos [T] int32 (the tokens' slots, consecutive), mask [1, 1, T, S] float32 additive,
        param [1, 1, 1, 7] int32 for the runtime's own operators,
        caches `kv_cache_k_<i>` [1, kv, S, D] and `kv_cache_v_<i>` [1, kv, D, S] float32, shorter where they are rings
        -> the updated caches and, unless `prefill`, logits [1, T, vocab] and activations [1, T, hidden]
        (the final norm's output, which the drafter reads).
        """
        views = self._views(Call(input_pos, mask, param, written=input_pos.shape[0]), caches)
        inputs = None if per_layer_embeddings is None else self.ple(embeddings, per_layer_embeddings)
        caches, x = dict(caches), embeddings
        for index, layer in enumerate(cast("Iterable[DecoderLayer]", self.layers)):
            if prefill and index == self.config.owning_layers:
                return caches
            view = views[layer.kind]
            own = self.config.cache_layer(index)
            key, value = names.kv_key(own), names.kv_value(own)
            if layer.owns_cache:
                caches[key], caches[value] = layer.update_cache(x, view, caches[key], caches[value])
            per_layer_input = None if inputs is None else inputs[:, :, index]
            x = layer(x, per_layer_input, view, caches[key], caches[value])
        if prefill:
            return caches
        hidden = self.norm(x)
        return {**caches, names.LOGITS: self._logits(hidden), names.ACTIVATIONS: hidden}

    def _views(self, call: Call, caches: dict[str, Tensor]) -> dict[LayerKind, View]:
        """Per layer kind what its layers share; computed once a call."""
        reach, heads = self.config.sliding_window - 1, self.config.heads
        rows = {kind: caches[names.kv_key(self.config.donor(kind))].shape[2] for kind in self.config.attention}
        return {
            kind: make_view(call, self.rotary[kind](call.input_pos), kind, reach, rows[kind], heads)
            for kind in self.config.attention
        }

    def _logits(self, hidden: Tensor) -> Tensor:
        logits = self.lm_head(hidden)
        cap = self.config.soft_cap
        return logits if cap is None else torch.tanh(logits * (1.0 / cap)) * cap
