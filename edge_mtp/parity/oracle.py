"""transformers in float32 as the oracle: the checkpoint itself behind the runner's protocols.

What a quantized bundle says is compared with this, and its drafter can be tried on other targets. Importing this
module needs neither torch nor transformers; `load_oracle` does.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from edge_mtp.checkpoint.config import read_target_config
from edge_mtp.checkpoint.tensors import TensorInfo, open_checkpoint
from edge_mtp.convert.preflight import available_memory_bytes
from edge_mtp.parity.results import CouldNotCheckError
from edge_mtp.runner.native_log import quiet_stderr
from edge_mtp.runner.protocols import DraftScores, Floats, Scores

if TYPE_CHECKING:
    from edge_mtp.parity.transformers_pair import Donors, TransformersPair

LIBRARY_BYTES: Final = 350 << 20
"""torch and transformers themselves, measured with the tiny pair."""

SCORED_TOKENS: Final = 512
"""Length of text that memory is provided for; its logits are held twice while the soft-cap is applied."""

_OTHER_MODALITIES: Final = ("vision_tower.", "audio_tower.", "embed_vision.", "embed_audio.")
_FLOATS: Final = ("BF16", "F16", "F32")


@dataclass(frozen=True)
class Oracle:
    """A pair in float32. It holds no conversation: any number of `OracleTarget` share its weights."""

    pair: "TransformersPair"

    @property
    def context_tokens(self) -> int:
        """The most tokens that the checkpoint's config.json allows."""
        return self.pair.context_tokens

    def score(self, tokens: Sequence[int]) -> Scores:
        """tokens [n], a whole text -> what follows each of them, from one forward without a cache."""
        return self.pair.score(tokens, None)[0]


class OracleTarget:
    """A conversation with the oracle's target; see `runner.protocols.Target`.

    `context_tokens` None allows what the checkpoint does. Verify takes as many drafts as fit there.
    """

    def __init__(self, oracle: Oracle, context_tokens: int | None = None) -> None:
        self.oracle = oracle
        self.context_tokens = oracle.context_tokens if context_tokens is None else context_tokens
        self.max_draft_steps = self.context_tokens - 1
        self.position = 0
        self._cache = oracle.pair.new_cache()
        self._donors: Donors = {}

    def prefill(self, tokens: Sequence[int]) -> None:
        """Processes `tokens` from `position` on, and moves `position` behind them."""
        self._crop()
        self._donors = self.oracle.pair.fill(tokens, self._cache)
        self.position += len(tokens)

    def decode(self, token: int) -> Scores:
        """Processes one token at `position`, and moves `position` behind it; n = 1."""
        scores = self.verify([token])
        self.position += 1
        return scores

    def verify(self, tokens: Sequence[int]) -> Scores:
        """Processes `tokens` from `position` on without moving it; n = len(tokens)."""
        self._crop()
        scores, self._donors = self.oracle.pair.score(tokens, self._cache)
        return scores

    def keep(self, rows: int) -> None:
        """Moves `position` on by `rows` of those that `verify` processed; ValueError where it processed fewer."""
        self._move(self.position + rows, self.position, self._rows)

    def rewind(self, position: int) -> None:
        """Forgets every row from `position` on; ValueError where it lies ahead."""
        self._move(position, 0, self.position)

    def donors(self, position: int) -> "Donors":
        """K/V of the rows before `position`, and of those alone; ValueError where not all have been processed.

        transformers' own assisted generation hands its drafter one row more from the second round on, the rejected
        draft's; LiteRT-LM hides it by its mask, as this does.
        """
        if not 0 < position <= self.position:
            raise ValueError(f"rows before {position} were asked for, {self.position} are there")
        return {kind: (keys[:, :, :position], values[:, :, :position]) for kind, (keys, values) in self._donors.items()}

    @property
    def _rows(self) -> int:
        """Rows in the cache; those from `position` on do not count."""
        return int(self._cache.get_seq_length())

    def _move(self, position: int, lowest: int, highest: int) -> None:
        if not lowest <= position <= highest:
            raise ValueError(f"position {position} was asked for, {lowest} to {highest} are possible")
        self.position = position

    def _crop(self) -> None:
        """Drops rows that no longer count, so that the next ones are written in their place."""
        if self._rows > self.position:
            self._cache.crop(self.position - self._rows)


class OracleDrafter:
    """The oracle's drafter over a conversation; see `runner.protocols.Drafter`.

    `dense` scores the whole vocabulary instead of the clustered head's candidates. Any `position` up to the
    target's own can be drafted from, as if the target had come no further.
    """

    def __init__(self, target: OracleTarget, *, dense: bool = False) -> None:
        self.target = target
        self.dense = dense

    def draft(self, token: int, hidden: Floats, position: int) -> DraftScores:
        """What follows `token`; hidden [width] is the state that led to it, `position` the slot of the round's first.

        The drafter sits at `position` itself and sees the rows before it, transformers' convention.
        """
        donors = self.target.donors(position)
        return self.target.oracle.pair.draft(token, hidden, donors, position, dense=self.dense)


def load_oracle(target_dir: Path, drafter_dir: Path, threads: int | None) -> Oracle:
    """The pair in float32; `threads` for torch in this process, None leaves them as they are.

    CouldNotCheckError where transformers is not installed, memory is too small or weights are missing;
    CheckpointError where a directory is no checkpoint.
    """
    models = _transformers_pair()
    needed, available = needed_memory_bytes(target_dir, drafter_dir), available_memory_bytes()
    if available is not None and available < needed:
        raise CouldNotCheckError(
            f"the checkpoint in float32 needs about {needed / 1e9:.1f} GB of memory, {available / 1e9:.1f} GB are "
            "free; close other programs, or use a machine with more memory"
        )
    return Oracle(models.load_pair(target_dir, drafter_dir, threads))


def needed_memory_bytes(target_dir: Path, drafter_dir: Path) -> int:
    """What `load_oracle` and scoring need: libraries, logits, and the text weights in float32.

    CheckpointError where a directory is no checkpoint.
    """
    return LIBRARY_BYTES + _logits_bytes(target_dir) + _weight_bytes(target_dir) + _weight_bytes(drafter_dir)


def load_tokenizer(target_dir: Path) -> Any:
    """transformers' tokenizer of the checkpoint; CouldNotCheckError where transformers is not installed."""
    return _transformers_pair().load_tokenizer(target_dir)


def render_chat(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> list[int]:
    """Messages of `role` and `content` -> token ids as transformers renders them, ready for the model's turn."""
    text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
    return list(tokenizer(text, add_special_tokens=False).input_ids)


def _logits_bytes(target_dir: Path) -> int:
    return 2 * SCORED_TOKENS * 4 * read_target_config(target_dir).decoder.vocab_size


def _weight_bytes(directory: Path) -> int:
    return sum(_loaded_bytes(info) for info in open_checkpoint(directory).tensors.values())


def _loaded_bytes(info: TensorInfo) -> int:
    """Bytes of a stored tensor once loaded; other modalities are not."""
    if any(part in info.name for part in _OTHER_MODALITIES):
        return 0
    return 4 * math.prod(info.shape) if info.dtype in _FLOATS else info.bytes


def _transformers_pair() -> ModuleType:
    try:
        with quiet_stderr():
            from edge_mtp.parity import transformers_pair
    except ImportError as error:
        raise CouldNotCheckError(
            f"the float32 checkpoint is run by transformers, which cannot be imported ({error}); "
            "pip install 'edge-mtp[oracle]'"
        ) from error
    return transformers_pair
