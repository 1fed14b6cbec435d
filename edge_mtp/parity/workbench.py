"""What the rungs share: the opened bundle and checkpoints, prompts, and replies that several rungs look at.

Everything is made on first use, so that a run of a few rungs loads what those need and no more.
"""

import tomllib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final, TypeVar

from edge_mtp import names
from edge_mtp.bundle.contents import Contents, cache_rows, cache_tensors, read_contents
from edge_mtp.bundle.manifest import Manifest, manifest_path, read_manifest
from edge_mtp.checkpoint.config import read_drafter_config, read_target_config
from edge_mtp.checkpoint.digest import digest_files
from edge_mtp.checkpoint.pairing import Pair, check_pair
from edge_mtp.checkpoint.tensors import open_checkpoint
from edge_mtp.errors import EdgeMtpError
from edge_mtp.graphs.spec import Head, Lengths, Position
from edge_mtp.parity.results import CouldNotCheckError
from edge_mtp.parity.written import Written, written_by
from edge_mtp.prompts import Prompt, Suite, read_suites
from edge_mtp.runner.calls import GraphDrafter, GraphTarget
from edge_mtp.runner.drafting import FixedDraft
from edge_mtp.runner.generate import Limits, Speculation
from edge_mtp.runner.litert import LiteRTPair, open_pair
from edge_mtp.runner.protocols import Drafter, Target
from edge_mtp.runner.sampling import Sampler
from edge_mtp.runner.session import Session
from edge_mtp.runner.text import BundleText, read_text
from edge_mtp.runner.trace import Trace

Item = TypeVar("Item")

Progress = Callable[[str, int, int], None]
"""Told what is being done, how many parts of it are done, and of how many."""


@dataclass(frozen=True)
class Gates:
    """What a rung must reach. Shares are of the expected values' range.

    The KL and top-1 bars suit 4 to 8 bits; the drafter may lose to quantization no more than `drafter_loss` of
    acceptance (4-bit drafters lose 0 to 2 points), and below `acceptance_floor` its wiring is broken rather than bad.
    """

    graph_share: float = 5e-4
    verify_share: float = 2e-2
    kl_mean: float = 0.1
    top1: float = 0.9
    acceptance_floor: float = 0.05
    drafter_loss: float = 0.05
    engine_rate: float = 0.03


@dataclass(frozen=True)
class Request:
    """What to check, and how. `costs` are (c, v) of another machine for the advice, None for this one's."""

    bundle: Path
    target: Path
    drafter: Path
    prompts: tuple[Path, ...]
    per_suite: int | None = None
    max_tokens: int = 64
    seed: int = 0
    threads: int = 2
    backend: str = "cpu"
    costs: tuple[float, float] | None = None
    gates: Gates = field(default_factory=Gates)


@dataclass(frozen=True)
class Task:
    """A prompt as the bundle's tokens."""

    prompt: Prompt
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Replies:
    """Greedy replies of the bundle to one task, without and with drafting."""

    task: Task
    plain: Trace
    drafted: Trace


SMALL_CHECKPOINT_BYTES: Final = 200_000_000

SAMPLED: Final = Sampler(temperature=1.0, top_k=64, top_p=0.95)
"""Gemma's own sampling defaults (generation_config.json)."""


class Workbench:
    """Opened once for all rungs; `close` releases the bundle."""

    def __init__(self, request: Request, progress: Progress) -> None:
        """EdgeMtpError where bundle, manifest or prompts cannot be read."""
        self.request, self.progress = request, progress
        self.contents: Contents = read_contents(request.bundle)
        self.manifest: Manifest | None = _manifest(request.bundle)
        self.text: BundleText = read_text(self.contents.bundle)
        self.suites: tuple[Suite, ...] = read_suites(request.prompts, request.per_suite)
        self.tasks, self.too_long = self._tokenize()
        self._opened = ExitStack()

    def close(self) -> None:
        """Releases the bundle's graphs."""
        self._opened.close()

    def counted(self, what: str, items: Iterable[Item]) -> Iterator[Item]:
        """`items` one by one, telling the progress."""
        known = list(items)
        for index, item in enumerate(known):
            self.progress(what, index, len(known))
            yield item
        self.progress(what, len(known), len(known))

    @cached_property
    def sha256(self) -> str:
        """The bundle's."""
        path = self.request.bundle
        return digest_files([path])[path.name]

    @cached_property
    def pair(self) -> Pair:
        """Target and drafter as the checkpoints describe them."""
        target, drafter = self.request.target, self.request.drafter
        return check_pair(read_target_config(target), read_drafter_config(drafter), target, drafter)

    @cached_property
    def lengths(self) -> Lengths:
        """The lengths with which the bundle was exported."""
        target, metadata = self.contents.models.get(names.TARGET), self.contents.llm_metadata
        steps = self.contents.draft_steps
        if target is None or metadata is None or steps is None:
            raise CouldNotCheckError("the bundle has no target with `verify`; export it with edge-mtp")
        keys = [one.key for one in target.signatures if one.key.startswith(names.PREFILL_PREFIX)]
        prefill = tuple(sorted(int(key.removeprefix(names.PREFILL_PREFIX)) for key in keys))
        decode = self.contents.decode
        ring = decode is not None and len({cache_rows(cache) for cache in cache_tensors(decode).values()}) > 1
        return Lengths(metadata.max_num_tokens, prefill, steps, "ring" if ring else "full")

    @cached_property
    def head(self) -> Head:
        """The bundle's drafter head: the clustered one chooses clusters with TOPK_V2."""
        drafter = self.contents.models.get(names.DRAFTER)
        return "clustered" if drafter is not None and drafter.ops.get("TOPK_V2") else "dense"

    @cached_property
    def position(self) -> Position:
        """The rotation that the recipe asked of the drafter; transformers' where no manifest tells."""
        recipe = {} if self.manifest is None else tomllib.loads(self.manifest.recipe.text)
        return "runtime" if recipe.get("drafter", {}).get("position") == "runtime" else "transformers"

    @cached_property
    def torch_threads(self) -> int:
        """Threads for torch: one where the weights are so small that handing them out costs more than computing."""
        stored = sum(path.stat().st_size for path in open_checkpoint(self.request.target).files)
        return self.request.threads if stored > SMALL_CHECKPOINT_BYTES else 1

    @cached_property
    def litert(self) -> LiteRTPair:
        """The bundle over LiteRT graphs."""
        return self._opened.enter_context(open_pair(self.contents.bundle, self.request.threads))

    @cached_property
    def written(self) -> Written:
        """Tokens as LiteRT-LM writes them."""
        return written_by(self.contents, self.text)

    @property
    def target(self) -> GraphTarget:
        """The bundle's target."""
        return self.litert.target

    @property
    def drafter(self) -> GraphDrafter:
        """The bundle's drafter; CouldNotCheckError where it has none."""
        if self.litert.drafter is None:
            raise CouldNotCheckError("the bundle has no drafter that its target can verify; edge-mtp inspect says why")
        return self.litert.drafter

    @cached_property
    def how(self) -> Speculation:
        """Drafting as LiteRT-LM does it: always K tokens."""
        return Speculation(FixedDraft(self.target.max_draft_steps))

    @property
    def limits(self) -> Limits:
        """Output budget and stop tokens."""
        return Limits(self.request.max_tokens, self.text.stop_tokens)

    @cached_property
    def replies(self) -> tuple[Replies, ...]:
        """Greedy replies to every task."""
        return tuple(
            Replies(task, self.reply(task), self.reply(task, how=self.how))
            for task in self.counted("greedy replies, MTP off and on", self.tasks)
        )

    def reply(
        self,
        task: Task,
        sampler: Sampler | None = None,
        how: Speculation | None = None,
        drafter: Drafter | None = None,
    ) -> Trace:
        """The bundle's reply to `task`: greedy where no sampler is given, plain where not told how to draft."""
        drafting = drafter or (self.drafter if how else None)
        return run(self.target, drafting, task, sampler or Sampler(), self.limits, how)

    def _tokenize(self) -> tuple[tuple[Task, ...], int]:
        """The prompts that leave room for a reply, and how many do not."""
        room = self.text.context_tokens - self.request.max_tokens
        tasks = [Task(prompt, tuple(self._encode(prompt))) for suite in self.suites for prompt in suite.prompts]
        fitting = tuple(task for task in tasks if len(task.tokens) <= room)
        if not fitting:
            raise EdgeMtpError(
                f"no prompt fits: the bundle's context is {self.text.context_tokens} tokens, of which "
                f"{self.request.max_tokens} are kept for the reply; give shorter prompts or a smaller --max-tokens"
            )
        return fitting, len(tasks) - len(fitting)

    def _encode(self, prompt: Prompt) -> list[int]:
        if self.text.template:
            return self.text.chat_prompt(prompt.messages)
        return self.text.raw_prompt(prompt.text)


def _manifest(bundle: Path) -> Manifest | None:
    """The bundle's sidecar, None where there is none."""
    path = manifest_path(bundle)
    return read_manifest(path) if path.is_file() else None


def run(
    target: Target, drafter: Drafter | None, task: Task, sampler: Sampler, limits: Limits, how: Speculation | None
) -> Trace:
    """One reply from an empty conversation."""
    session = Session(target, drafter, sampler, how)
    for _ in session.reply(task.tokens, limits):
        continue
    assert session.trace is not None
    return session.trace


def spread(items: tuple[Item, ...], count: int) -> tuple[Item, ...]:
    """At most `count` of `items`, evenly spread over all, so that every suite is among them."""
    if len(items) <= count:
        return items
    return tuple(items[index * len(items) // count] for index in range(count))
