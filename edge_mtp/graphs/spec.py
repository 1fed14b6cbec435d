"""What decides a section's graph and what weights it needs, as plain values: importable without torch."""

from dataclasses import dataclass
from typing import Literal

from edge_mtp import names
from edge_mtp.checkpoint.config import DecoderConfig, DrafterConfig, LayerKind, TargetConfig

Head = Literal["dense", "clustered"]
Position = Literal["transformers", "runtime"]
SlidingCache = Literal["ring", "full"]
WeightKind = Literal["linear", "embedding", "rows", "vector"]

RING_ALIGNMENT = 16
"""Rows of a ring are a multiple of this: whole vectors for every kernel."""


@dataclass(frozen=True)
class Lengths:
    """Every length of a bundle, in tokens.

    `cache_rows` is longer than `context`: prefill and verify write whole chunks, and a chunk that began in
    the last rows of the context would otherwise be clamped back over earlier rows.
    """

    context: int
    prefill: tuple[int, ...]
    draft_steps: int
    sliding_cache: SlidingCache = "ring"

    @property
    def verify(self) -> int:
        """Rows of `verify`: the last token and K drafts."""
        return self.draft_steps + 1

    @property
    def cache_rows(self) -> int:
        """Rows of each KV cache: the context and the longest tail a chunk may write behind it."""
        return self.context + max(min(self.prefill), self.verify)

    def rows_of(self, config: DecoderConfig, layer: int) -> int:
        """Rows of the cache of `layer`: `cache_rows`, or fewer in a ring that a sliding layer writes round and round.

        A call writes its tokens into the ring before it attends. What that overwrites must lie before the window of
        its first token, padding and rejected drafts included, and the drafter sees one row more than the target.
        """
        if self.sliding_cache == "full" or config.layer_kinds[layer] is LayerKind.FULL:
            return self.cache_rows
        longest = max(*self.prefill, self.verify)
        ring = -(-(config.sliding_window + longest) // RING_ALIGNMENT) * RING_ALIGNMENT
        return min(ring, self.cache_rows)


@dataclass(frozen=True)
class GraphSpec:
    """Everything that decides a section's graph, and nothing that decides its weights.

    `coded` gives the clustered head int8 rows, which a graph of float32 rows cannot take.
    """

    section: str
    target: TargetConfig
    drafter: DrafterConfig
    lengths: Lengths
    head: Head = "dense"
    position: Position = "transformers"
    coded: bool = False


@dataclass(frozen=True)
class WeightSlot:
    """One weight a section needs.

    `name` is the checkpoint's tensor name without its prefix: what recipes, reports and errors call it.
    `kind` says how the graph reads it, which bounds the formats it may have: "linear" [out, in] feeds
    FULLY_CONNECTED, "embedding" [vocab, width] feeds EMBEDDING_LOOKUP, "rows" [vocab, width] is gathered
    as raw int8 codes (or float32), and "vector" (norms, scalars) stays float32.
    `parameter` is its name in the section's torch module.
    """

    name: str
    shape: tuple[int, ...]
    kind: WeightKind
    parameter: str


def signature_names(spec: GraphSpec) -> tuple[str, ...]:
    """The signatures of a section, in the order its file has them."""
    if spec.section == names.TARGET:
        return (*(names.prefill(length) for length in spec.lengths.prefill), names.DECODE, names.VERIFY)
    return (names.DRAFT,) if spec.section == names.DRAFTER else (names.EMBED,)


def checkpoint_of(section: str) -> str:
    """Which checkpoint feeds `section`: names.TARGET or names.DRAFTER."""
    return names.DRAFTER if section == names.DRAFTER else names.TARGET


def section_names(target: TargetConfig) -> tuple[str, ...]:
    """The sections a bundle of `target` has: a target without per-layer embeddings has no table of them."""
    return tuple(s for s in names.SECTIONS if s != names.PER_LAYER_EMBEDDER or target.decoder.ple_width)
