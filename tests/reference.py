"""What transformers makes of a pair, our graphs with the same weights, and how far apart they are.

transformers loads the very directories that the graphs load, so a wrong tensor name fails on one side or
the other.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import Gemma4AssistantForCausalLM, Gemma4ForCausalLM, Gemma4ForConditionalGeneration

from edge_mtp import names
from edge_mtp.checkpoint.config import DrafterConfig, TargetConfig, read_drafter_config, read_target_config
from edge_mtp.checkpoint.tensors import Checkpoint, open_checkpoint
from edge_mtp.graphs.signatures import Section, build_section
from edge_mtp.graphs.spec import GraphSpec, Head, Lengths, Position, checkpoint_of, section_names
from edge_mtp.graphs.weights import load_float_weights
from tests.emulator import Runtime, input_shapes, torch_call
from tests.random_pair import Shape, write_pair

Floats = NDArray[np.float32]
TransformersTarget = Gemma4ForConditionalGeneration | Gemma4ForCausalLM

TOLERANCE = 5e-4
"""Largest deviation allowed, as a share of the expected values' range."""


@dataclass(frozen=True)
class TargetOutputs:
    """transformers' target over n tokens: logits [n, vocab], hidden [n, hidden], donor caches by layer kind.

    A cache is keys, values [1, kv, n, head_dim]; all float32.
    """

    logits: Floats
    hidden: Floats
    caches: Mapping[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class DrafterOutputs:
    """One draft step of transformers: logits [vocab], projected [backbone] float32."""

    logits: Floats
    projected: Floats


@dataclass(frozen=True)
class Oracle:
    """A pair as transformers loads it, in float32."""

    target: TransformersTarget
    drafter: Gemma4AssistantForCausalLM

    def run_target(self, tokens: NDArray[np.int64]) -> TargetOutputs:
        """tokens [n] int64, all in one forward without a cache."""
        with torch.no_grad():
            outputs = self.target(
                input_ids=torch.from_numpy(tokens)[None],
                use_cache=False,
                output_hidden_states=True,
                return_shared_kv_states=True,
            )
        return TargetOutputs(
            outputs.logits[0].numpy(), outputs.hidden_states[-1][0].numpy(), dict(outputs.shared_kv_states)
        )

    def embed(self, token: int) -> Tensor:
        """[1, 1, hidden] float32: what transformers gives the drafter for `token`, scaled."""
        with torch.no_grad():
            embedded: Tensor = self.target.get_input_embeddings()(torch.tensor([[token]]))
        return embedded

    def draft_step(
        self,
        token: int,
        hidden: Floats,
        caches: Mapping[str, tuple[Tensor, Tensor]],
        *,
        dense: bool = False,
        position: int | None = None,
    ) -> DrafterOutputs:
        """One step after `token`, whose slot is the caches' length n; hidden [backbone] float32.

        Inputs as in transformers' `SinglePositionMultiTokenCandidateGenerator.get_candidates`: the scaled
        embedding, then the hidden state; in every step of a round the position n of `token` itself
        (`input_ids.shape[1] - 1`), unless `position` says otherwise; K/V of the rows before n.
        """
        rows = next(iter(caches.values()))[0].shape[2]
        self.drafter.config.use_ordered_embeddings = not dense
        with torch.no_grad():
            outputs = self.drafter(
                inputs_embeds=torch.cat([self.embed(token), torch.from_numpy(hidden)[None, None]], dim=-1),
                position_ids=torch.tensor([[rows if position is None else position]]),
                shared_kv_states=dict(caches),
            )
        self.drafter.config.use_ordered_embeddings = True
        return DrafterOutputs(outputs.logits[0, 0].numpy(), outputs.last_hidden_state[0, 0].numpy())


def load_oracle(directory: Path) -> Oracle:
    """The pair that `write_pair` wrote; AssertionError where transformers misses a tensor of it."""
    config = json.loads((directory / "target" / "config.json").read_text())
    kind = Gemma4ForCausalLM if config["model_type"] == "gemma4_text" else Gemma4ForConditionalGeneration
    return Oracle(_load(kind, directory / "target"), _load(Gemma4AssistantForCausalLM, directory / "drafter"))


def _load(kind: Any, directory: Path) -> Any:
    model, found = kind.from_pretrained(directory, dtype=torch.float32, output_loading_info=True)
    assert not found["missing_keys"], found
    return model.eval()


@dataclass(frozen=True)
class Pair:
    """A pair of checkpoints, as transformers reads them and as edge_mtp does."""

    shape: Shape
    oracle: Oracle
    target_config: TargetConfig
    drafter_config: DrafterConfig
    checkpoints: Mapping[str, Checkpoint]

    @property
    def target(self) -> Checkpoint:
        """The target's tensors."""
        return self.checkpoints[names.TARGET]

    @property
    def drafter(self) -> Checkpoint:
        """The drafter's tensors."""
        return self.checkpoints[names.DRAFTER]

    def tokens(self, count: int, seed: int = 0) -> NDArray[np.int64]:
        """[count] int64 random tokens, none of them special."""
        return np.random.default_rng(seed).integers(3, self.shape.vocab_size, count)

    def spec(self, section: str, lengths: Lengths, head: Head, position: Position) -> GraphSpec:
        """The graph of `section` for this pair."""
        return GraphSpec(section, self.target_config, self.drafter_config, lengths, head, position)


def make_pair(shape: Shape, directory: Path) -> Pair:
    """Writes the random pair of `shape` into `directory` and opens it on both sides."""
    write_pair(shape, directory)
    target, drafter = directory / "target", directory / "drafter"
    checkpoints = {names.TARGET: open_checkpoint(target), names.DRAFTER: open_checkpoint(drafter)}
    configs = read_target_config(target), read_drafter_config(drafter)
    return Pair(shape, load_oracle(directory), *configs, checkpoints)


def load_section(
    pair: Pair, section: str, lengths: Lengths, *, head: Head = "dense", position: Position = "transformers"
) -> Section:
    """The torch graphs of `section` with the checkpoint's weights in float32."""
    built = build_section(pair.spec(section, lengths, head, position))
    load_float_weights(built, pair.checkpoints[checkpoint_of(section)], pair.drafter)
    return built


def start_runtime(
    pair: Pair, lengths: Lengths, *, head: Head = "dense", position: Position = "transformers"
) -> Runtime:
    """A conversation over the torch graphs of all sections, with empty caches."""
    sections = {
        name: load_section(pair, name, lengths, head=head, position=position)
        for name in section_names(pair.target_config)
    }
    calls = {name: torch_call(section) for name, section in sections.items()}
    return Runtime(
        calls[names.TARGET],
        calls[names.EMBEDDER],
        calls.get(names.PER_LAYER_EMBEDDER),
        input_shapes(sections[names.TARGET]),
        calls[names.DRAFTER],
    )


@dataclass(frozen=True)
class Deviation:
    """How far values lie from the expected ones.

    `share` is max |found - expected| as a share of the expected range; `clashes` counts rows whose argmax
    differs although the expected top two are further apart than the tolerance; `decided` counts the rows
    where they are.
    """

    share: float
    clashes: int
    decided: int

    @property
    def holds(self) -> bool:
        """Within tolerance and without a clash; NaN never holds."""
        return self.share <= TOLERANCE and self.clashes == 0


def deviation(found: Floats, expected: Floats) -> Deviation:
    """found, expected [..., values] float32; argmax is compared row by row over the last axis."""
    assert found.shape == expected.shape, (found.shape, expected.shape)
    span = float(expected.max() - expected.min())
    top_two = np.sort(expected, axis=-1)[..., -2:]
    decided = top_two[..., 1] - top_two[..., 0] > TOLERANCE * span
    differs = found.argmax(-1) != expected.argmax(-1)
    share = float(np.abs(found - expected).max()) / span
    return Deviation(share, int((decided & differs).sum()), int(decided.sum()))
