"""The multi-token-prediction drafter ("assistant") and its two heads.

Where the runtime and transformers differ, this file alone makes up for it. Let n be the slot of the last
token, whose K/V the target has not computed yet:

* position: LiteRT-LM passes `input_pos` = n - 1 and a mask over rows 0..n-1 in every draft step of a round
  (runtime/executor/llm_litert_mtp_drafter.cc); transformers rotates the query at n. With
  `position="transformers"` the graph adds the missing one, with "runtime" it takes what it is given.
* window: transformers' drafter counts `sliding_window` rows back from the last *row*, inclusive, so row k is
  visible while (n - 1) - k <= window. That is the distance from the runtime's own `input_pos`.
"""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from edge_mtp import names
from edge_mtp.checkpoint.config import DrafterConfig, LayerKind
from edge_mtp.graphs.attention import Call, RMSNorm, Rotary, make_view
from edge_mtp.graphs.layer import DecoderLayer
from edge_mtp.graphs.spec import Position


class DenseHead(nn.Module):
    """Scores the whole vocabulary, as the official LiteRT drafter does."""

    def __init__(self, config: DrafterConfig) -> None:
        super().__init__()
        self.lm_head = nn.Linear(config.decoder.hidden_size, config.decoder.vocab_size, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden [1, 1, h] -> logits [1, 1, vocab] float32."""
        return self.lm_head(hidden)


class ClusteredHead(nn.Module):
    """Scores the tokens of the best centroids only; every other token gets their minimum - 1.

    The same candidates and values as transformers' `Gemma4AssistantMaskedEmbedder`, in ops that the runtime
    registers on CPU and GPU: TOPK_V2, GATHER of rows that lie in cluster order, and instead of a scatter a
    one-hot matmul back to all clusters followed by a GATHER that undoes the order. `coded` rows are int8 with
    a float32 scale per token, multiplied here, because the runtime's GATHER does not dequantize.
    """

    def __init__(self, config: DrafterConfig, *, coded: bool) -> None:
        super().__init__()
        hidden, vocab = config.decoder.hidden_size, config.decoder.vocab_size
        self.centroids, self.top, self.each = config.centroids, config.centroid_top_k, config.tokens_per_centroid
        self.coded = coded
        self.masked_embedding = nn.ModuleDict({"centroids": nn.Linear(hidden, config.centroids, bias=False)})
        dtype = torch.int8 if coded else torch.float32
        self.rows = nn.Buffer(torch.empty(config.centroids, self.each * hidden, dtype=dtype))
        if coded:
            self.scales = nn.Buffer(torch.empty(config.centroids, self.each))
        self.slots = nn.Buffer(torch.empty(vocab, dtype=torch.int32))

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden [1, 1, h] -> logits [1, 1, vocab] float32."""
        scores = self.masked_embedding["centroids"](hidden).reshape(1, self.centroids)
        _, best = torch.ops.tfl.topk_v2(scores, self.top)  # [1, top] int32
        best = best.reshape(self.top)
        chosen = self._candidate_logits(hidden, best)  # [top, each]
        floor = chosen.amin(dim=(0, 1), keepdim=True) - 1.0  # [1, 1]
        ids = torch.arange(self.centroids, dtype=torch.float32, device=hidden.device)
        one_hot = 1.0 - torch.clamp((ids[:, None] - best.to(torch.float32)[None, :]).abs(), max=1.0)
        spread = torch.matmul(one_hot, chosen - floor) + floor  # [centroids, each]
        flat = spread.reshape(self.centroids * self.each)
        return torch.ops.tfl.gather(flat, self.slots, 0).reshape(1, 1, self.centroids * self.each)

    def _candidate_logits(self, hidden: Tensor, best: Tensor) -> Tensor:
        """hidden [1, 1, h], best [top] int32 -> [top, each] float32."""
        rows = torch.ops.tfl.gather(self.rows, best, 0).to(torch.float32)
        rows = rows.reshape(self.top * self.each, hidden.shape[-1])
        chosen = torch.ops.tfl.batch_matmul(rows, hidden.reshape(1, -1), adj_y=True).reshape(self.top, self.each)
        return chosen * torch.ops.tfl.gather(self.scales, best, 0) if self.coded else chosen


class Drafter(nn.Module):
    """Query-only layers over the target's two donor caches. Parameter names are the checkpoint's."""

    def __init__(self, config: DrafterConfig, head: nn.Module, position: Position, positions: int) -> None:
        """`positions`: tokens come at 0 to before it."""
        super().__init__()
        decoder = config.decoder
        self.config, self.positions = config, positions
        self.offset = 1 if position == "transformers" else 0
        self.pre_projection = nn.Linear(2 * config.backbone_hidden_size, decoder.hidden_size, bias=False)
        self.layers = nn.ModuleList(DecoderLayer(decoder, layer) for layer in range(decoder.layers))
        self.rotary = nn.ModuleDict({kind: Rotary(a, positions) for kind, a in decoder.attention.items()})
        self.norm = RMSNorm(decoder.hidden_size, decoder.norm_epsilon)
        self.post_projection = nn.Linear(decoder.hidden_size, config.backbone_hidden_size, bias=False)
        self.head = head

    def forward(
        self,
        activations: Tensor,
        input_pos: Tensor,
        mask: Tensor,
        param: Tensor,
        caches: dict[LayerKind, tuple[Tensor, Tensor]],
    ) -> dict[str, Tensor]:
        """One draft step.

        activations [1, 1, 2 * backbone] float32: the last token's embedding, then the hidden state;
        input_pos [1] int32, mask [1, 1, 1, S] float32 and param [1, 1, 1, 7] int32 as the runtime gives them; caches
        by layer kind: keys [1, kv, S, D], values [1, kv, D, S]
        -> logits [1, 1, vocab], projected_activations [1, 1, backbone].
        """
        decoder, call = self.config.decoder, Call(input_pos, mask, param, written=0)
        position = input_pos + self.offset
        views = {
            kind: make_view(
                call,
                self.rotary[kind](position),
                kind,
                reach=decoder.sliding_window,
                rows=caches[kind][0].shape[2],
                heads=decoder.heads,
            )
            for kind in decoder.attention
        }
        x = self.pre_projection(activations)
        for layer in cast("Iterable[DecoderLayer]", self.layers):
            x = layer(x, None, views[layer.kind], *caches[layer.kind])
        hidden = self.norm(x)
        return {names.LOGITS: self.head(hidden), names.PROJECTED_ACTIVATIONS: self.post_projection(hidden)}
