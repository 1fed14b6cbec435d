"""A target and its drafter as transformers runs them: float32, one sequence, no gradients.

The only module of the package that imports transformers; `oracle.py` loads it once it knows that it can.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoTokenizer,
    DynamicCache,
    Gemma4AssistantForCausalLM,
    Gemma4ForCausalLM,
    Gemma4ForConditionalGeneration,
)
from transformers.utils import logging as untyped_logging

from edge_mtp.parity.results import CouldNotCheckError
from edge_mtp.runner.protocols import DraftScores, Floats, Scores

Donors = Mapping[str, tuple[Tensor, Tensor]]
"""By layer kind the K/V that shared layers and the drafter read: keys, values [1, kv, rows, head_dim] float32."""

logging: Any = untyped_logging

TEXT_ONLY: Final = "gemma4_text"


@dataclass(frozen=True)
class TransformersPair:
    """Both models in eval mode. transformers ships no types worth checking against, hence Any."""

    target: Any
    drafter: Any

    @property
    def context_tokens(self) -> int:
        """`max_position_embeddings` of the target."""
        return int(self.target.config.get_text_config().max_position_embeddings)

    def new_cache(self) -> DynamicCache:
        """An empty cache that keeps every row of every layer.

        Made without the model's config on purpose: with it, sliding layers keep only their window, and rows that a
        verify step wrote cannot be taken back once the window is full (DynamicSlidingWindowLayer.crop refuses). The
        attention mask hides what lies outside the window either way.
        """
        return DynamicCache()

    def fill(self, tokens: Sequence[int], cache: DynamicCache) -> Donors:
        """Appends rows for `tokens` to `cache`, nothing else computed than is needed for that."""
        with torch.no_grad():
            outputs = self.target(
                input_ids=torch.tensor([list(tokens)]),
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
                return_shared_kv_states=True,
            )
        return dict(outputs.shared_kv_states)

    def score(self, tokens: Sequence[int], cache: DynamicCache | None) -> tuple[Scores, Donors]:
        """What follows each of tokens [n], which come behind the rows of `cache`; None reads them as a whole text."""
        with torch.no_grad():
            outputs = self.target(
                input_ids=torch.tensor([list(tokens)]),
                past_key_values=cache,
                use_cache=cache is not None,
                output_hidden_states=True,
                return_shared_kv_states=True,
            )
        scores = Scores(outputs.logits[0].numpy(), outputs.hidden_states[-1][0].numpy())
        return scores, dict(outputs.shared_kv_states)

    def draft(self, token: int, hidden: Floats, donors: Donors, position: int, *, dense: bool) -> DraftScores:
        """One draft step; hidden [width] float32, `donors` the rows to be seen.

        Inputs as in transformers' generation/candidate_generator.py,
        `SinglePositionMultiTokenCandidateGenerator.get_candidates`: the target's scaled embedding of `token`, then
        the hidden state; the slot of the round's first token in every step.
        """
        config = self.drafter.config
        clustered = config.use_ordered_embeddings
        config.use_ordered_embeddings = clustered and not dense
        try:
            with torch.no_grad():
                embedded = self.target.get_input_embeddings()(torch.tensor([[token]]))
                outputs = self.drafter(
                    inputs_embeds=torch.cat([embedded, torch.tensor(hidden)[None, None]], dim=-1),
                    position_ids=torch.tensor([[position]]),
                    shared_kv_states=donors,
                )
        finally:
            config.use_ordered_embeddings = clustered
        return DraftScores(outputs.logits[0, 0].numpy(), outputs.last_hidden_state[0, 0].numpy())


def load_pair(target_dir: Path, drafter_dir: Path, threads: int | None) -> TransformersPair:
    """The text part of the target, and the drafter; CouldNotCheckError where a weight is missing.

    `threads` for torch in this process, None leaves them as they are.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    config = AutoConfig.from_pretrained(target_dir, local_files_only=True)
    if config.model_type == TEXT_ONLY:
        target = _load(Gemma4ForCausalLM, target_dir, config)
    else:
        config.vision_config = config.audio_config = None
        target = _load(Gemma4ForConditionalGeneration, target_dir, config)
    return TransformersPair(target, _load(Gemma4AssistantForCausalLM, drafter_dir, None))


def load_tokenizer(target_dir: Path) -> Any:
    """transformers' tokenizer of the checkpoint."""
    return AutoTokenizer.from_pretrained(target_dir, local_files_only=True)


def _load(kind: Any, directory: Path, config: Any) -> Any:
    """A model in float32; transformers itself would fill in missing weights with random ones and go on."""
    with _quiet():
        model, found = kind.from_pretrained(
            directory, config=config, dtype=torch.float32, output_loading_info=True, local_files_only=True
        )
    missing = sorted(found["missing_keys"])
    if missing:
        raise CouldNotCheckError(
            f"transformers does not find {missing[0]} in {directory} (weights missing: {len(missing)}); "
            "download the checkpoint again"
        )
    return model.eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar and no list of the other modalities' tensors, which are left out on purpose."""
    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
