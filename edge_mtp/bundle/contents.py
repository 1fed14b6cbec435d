"""All that a bundle says of itself, read once: models, protos, tokens, and the figures derived from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from litert_lm_builder.runtime.proto.executor_metadata_pb2 import ExecutorMetadata
from litert_lm_builder.runtime.proto.llm_metadata_pb2 import LlmMetadata

from edge_mtp import names
from edge_mtp.bundle.metadata import KEY_SEQUENCE_AXIS, VALUE_SEQUENCE_AXIS
from edge_mtp.bundle.reader import Bundle, read_bundle
from edge_mtp.bundle.summary import ModelSummary, Signature, Tensor
from edge_mtp.bundle.tokenizer import TokenizerKind

CONTEXTS = (1024, 4096, 8192, 16384, 32768, 65536, 131072)


@dataclass(frozen=True)
class Contents:
    """A bundle and what was read from its sections; `models` by section name, `tokens` by text."""

    bundle: Bundle
    models: Mapping[str, ModelSummary]
    llm_metadata: LlmMetadata | None
    executor_metadata: ExecutorMetadata | None
    tokenizer_kind: TokenizerKind | None
    tokens: Mapping[str, int]

    @property
    def decode(self) -> Signature | None:
        """The target's `decode` signature."""
        target = self.models.get(names.TARGET)
        return None if target is None else target.signature(names.DECODE)

    @property
    def verify(self) -> Signature | None:
        """The target's `verify` signature."""
        target = self.models.get(names.TARGET)
        return None if target is None else target.signature(names.VERIFY)

    @property
    def drafter(self) -> Signature | None:
        """The drafter's signature: the first one, as the runtime takes it."""
        model = self.models.get(names.DRAFTER)
        return model.signatures[0] if model is not None and model.signatures else None

    @property
    def draft_steps(self) -> int | None:
        """K: one less than the rows of `verify`, read where the runtime reads it; None without `verify`."""
        position = None if self.verify is None else self.verify.input(names.INPUT_POS)
        return position.shape[-1] - 1 if position is not None and position.shape else None


@dataclass(frozen=True)
class KvMemory:
    """KV cache of the target: `row_bytes` a token, `rows` as exported and their bytes, bytes by context."""

    row_bytes: int
    rows: int
    size_bytes: int
    by_context: Mapping[int, int]


def read_contents(path: Path) -> Contents:
    """Everything in the bundle at `path`; BundleError where it is no bundle or any part is damaged."""
    bundle = read_bundle(path)
    found = {section.name: section for section in bundle.sections if section.data_type == "TFLiteModel"}
    models = {name: model for name in found if (model := bundle.model(name)) is not None}
    return Contents(
        bundle=bundle,
        models=models,
        llm_metadata=bundle.llm_metadata(),
        executor_metadata=bundle.executor_metadata(),
        tokenizer_kind=bundle.tokenizer_kind(),
        tokens=bundle.token_ids(),
    )


def is_cache(tensor: Tensor) -> bool:
    """Whether a tensor is a KV cache by its name."""
    return is_cache_name(tensor.name)


def is_cache_name(name: str) -> bool:
    """Whether a tensor called `name` is a KV cache."""
    return name.startswith((names.KV_KEY_PREFIX, names.KV_VALUE_PREFIX))


def cache_tensors(signature: Signature) -> dict[str, Tensor]:
    """The KV caches that a signature takes, by name."""
    return {tensor.name: tensor for tensor in signature.inputs if is_cache(tensor)}


def cache_rows(tensor: Tensor) -> int:
    """Slots of a cache along the sequence."""
    axis = KEY_SEQUENCE_AXIS if tensor.name.startswith(names.KV_KEY_PREFIX) else VALUE_SEQUENCE_AXIS
    return tensor.shape[axis] if len(tensor.shape) > axis else 0


def longest_cache(signature: Signature) -> int:
    """Slots of the longest cache that a signature takes, 0 where it takes none."""
    return max((cache_rows(tensor) for tensor in cache_tensors(signature).values()), default=0)


def kv_memory(contents: Contents) -> KvMemory | None:
    """Memory of the target's KV cache; None without a `decode` signature that takes caches.

    A cache shorter than the longest is a ring buffer and does not grow with the context.
    """
    rows = 0 if contents.decode is None else longest_cache(contents.decode)
    if contents.decode is None or not rows:
        return None
    caches = list(cache_tensors(contents.decode).values())
    full = [tensor for tensor in caches if cache_rows(tensor) == rows]
    row_bytes = sum(tensor.size_bytes for tensor in full) // rows
    rings = sum(tensor.size_bytes for tensor in caches) - sum(tensor.size_bytes for tensor in full)
    spare = 0 if contents.draft_steps is None else contents.draft_steps + 1
    return KvMemory(
        row_bytes=row_bytes,
        rows=rows,
        size_bytes=sum(tensor.size_bytes for tensor in caches),
        by_context={context: rings + row_bytes * (context + spare) for context in CONTEXTS},
    )
