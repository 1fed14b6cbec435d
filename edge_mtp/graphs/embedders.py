"""Token embeddings and per-layer embeddings: the two lookups the runtime keeps on the CPU."""

from torch import Tensor, nn

from edge_mtp.checkpoint.config import DecoderConfig


class Embedder(nn.Module):
    """embed_tokens[token] * sqrt(hidden)."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.scale = config.hidden_size**0.5

    def forward(self, token_ids: Tensor) -> Tensor:
        """token_ids [1, 1] int32 -> [1, 1, hidden] float32."""
        return self.embed_tokens(token_ids) * self.scale


class PerLayerEmbedder(nn.Module):
    """embed_tokens_per_layer[token] * sqrt(P), one row of P for each layer."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.layers, self.width = config.layers, config.ple_width
        self.embed_tokens_per_layer = nn.Embedding(config.ple_vocab_size, config.layers * config.ple_width)

    def forward(self, token_ids: Tensor) -> Tensor:
        """token_ids [1, 1] int32 -> [1, 1, layers, P] float32."""
        rows = self.embed_tokens_per_layer(token_ids) * self.width**0.5
        return rows.reshape(1, 1, self.layers, self.width)
