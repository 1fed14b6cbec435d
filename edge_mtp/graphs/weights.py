"""The weights a section needs, read off its torch module, and the tables that are computed for it."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_mtp.checkpoint.tensors import Checkpoint
from edge_mtp.errors import CheckpointError
from edge_mtp.graphs.attention import rotary_tables
from edge_mtp.graphs.drafter import ClusteredHead, Drafter
from edge_mtp.graphs.signatures import Section
from edge_mtp.graphs.spec import WeightKind, WeightSlot
from edge_mtp.graphs.target import Target

TOKEN_ORDERING = "masked_embedding.token_ordering"


def weight_slots(section: Section) -> tuple[WeightSlot, ...]:
    """The checkpoint's weights that `section` reads, in the order torch registers them."""
    made = set(_made_parameters(section.core))
    kinds = _kinds(section.core)
    return tuple(
        _slot(section.core, name, tuple(tensor.shape), kinds.get(name, "vector"))
        for name, tensor in section.core.state_dict().items()
        if name not in made
    )


def made_tables(section: Section, drafter: Checkpoint) -> dict[str, NDArray[np.generic]]:
    """Tables that are computed rather than stored, by parameter name: rotary angles, cluster slots."""
    tables: dict[str, NDArray[np.generic]] = {}
    core = section.core
    if isinstance(core, Target | Drafter):
        config = core.config if isinstance(core, Target) else core.config.decoder
        for kind, attention in config.attention.items():
            made = rotary_tables(attention.rope, attention.head_dim, core.positions)
            tables |= {f"rotary.{kind}.{name}": table.numpy() for name, table in made.items()}
    if isinstance(core, Drafter) and isinstance(core.head, ClusteredHead):
        order = token_order(drafter, core.config.decoder.vocab_size)
        slots = np.empty(order.size, np.int32)
        slots[order] = np.arange(order.size, dtype=np.int32)
        tables["head.slots"] = slots
    return tables


def token_order(drafter: Checkpoint, vocab_size: int) -> NDArray[np.int64]:
    """[vocab] token ids sorted by cluster; CheckpointError unless it is a permutation of the vocabulary."""
    stored = drafter.stored_name(TOKEN_ORDERING)
    order = np.asarray(drafter.read_raw(stored, 0, vocab_size)).reshape(-1).astype(np.int64)
    if not np.array_equal(np.sort(order), np.arange(vocab_size)):
        raise CheckpointError(
            f"{drafter.directory}: {stored} is not a permutation of 0..{vocab_size - 1}, which the clustered "
            "head needs; the drafter checkpoint is damaged or was never trained"
        )
    return order


def load_float_weights(section: Section, checkpoint: Checkpoint, drafter: Checkpoint) -> None:
    """Fills `section.core` in float32 from `checkpoint` (all of it in memory: for parity, not for export)."""
    state: dict[str, Tensor] = {}
    for slot in weight_slots(section):
        values = checkpoint.read(checkpoint.stored_name(slot.name))
        if slot.kind == "rows":
            values = values[token_order(drafter, slot.shape[0])]
        shape = section.core.state_dict()[slot.parameter].shape
        state[slot.parameter] = torch.from_numpy(np.ascontiguousarray(values)).reshape(shape)
    tables = {name: torch.from_numpy(np.asarray(table)) for name, table in made_tables(section, drafter).items()}
    section.core.load_state_dict({**state, **tables}, assign=True)


def _kinds(core: nn.Module) -> dict[str, WeightKind]:
    kinds: dict[str, WeightKind] = {}
    for prefix, child in core.named_modules():
        if isinstance(child, nn.Linear):
            kinds[f"{prefix}.weight"] = "linear"
        elif isinstance(child, nn.Embedding):
            kinds[f"{prefix}.weight"] = "embedding"
        elif isinstance(child, ClusteredHead):
            kinds[f"{prefix}.rows"] = "rows"
    return kinds


def _slot(core: nn.Module, parameter: str, shape: tuple[int, ...], kind: WeightKind) -> WeightSlot:
    name = parameter.removeprefix("ple.").removeprefix("head.")
    if kind == "rows":
        assert isinstance(core, Drafter)
        name, shape = "lm_head.weight", (core.config.decoder.vocab_size, core.config.decoder.hidden_size)
    return WeightSlot(name, shape, kind, parameter)


def _made_parameters(core: nn.Module) -> Sequence[str]:
    """Parameters without a tensor of their own in the checkpoint."""
    return [name for name in core.state_dict() if name.startswith("rotary.") or name in ("head.slots", "head.scales")]
