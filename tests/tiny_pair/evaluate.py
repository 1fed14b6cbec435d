"""Measure the stored pair: `python -m tests.tiny_pair.evaluate dev [final] [--transformers] [--samples]`."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import (
    AutoTokenizer,
    Gemma4AssistantForCausalLM,
    Gemma4ForConditionalGeneration,
    PreTrainedTokenizerBase,
)

from tests.tiny_pair import corpus, generate, packing, shapes, store, target
from tests.tiny_pair import drafter as drafting

NEW_TOKENS = 64


@dataclass(frozen=True)
class Counts:
    """Rounds, and how many of them accepted the first, second and third draft token."""

    rounds: int
    accepted: tuple[int, ...]

    @property
    def acceptance(self) -> float:
        """Accepted over drafted, the bonus token not counted."""
        return sum(self.accepted) / max(self.rounds * len(self.accepted), 1)

    def __add__(self, other: "Counts") -> "Counts":
        pairs = zip(self.accepted, other.accepted, strict=True)
        return Counts(self.rounds + other.rounds, tuple(a + b for a, b in pairs))


NOTHING = Counts(0, (0,) * shapes.DRAFT_STEPS)


def chat_prompts(words: PreTrainedTokenizerBase, messages: list[str]) -> list[list[int]]:
    """messages -> ids of the rendered template, ready for the model's turn."""
    chats = [[{"role": "user", "content": message}] for message in messages]
    texts = [words.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in chats]
    return [words(text, add_special_tokens=False).input_ids for text in texts]


@torch.no_grad()
def drafts_everywhere(pair: store.Pair, tokens: Tensor, clustered: bool) -> Tensor:
    """tokens [length] -> [length, K]: what the drafter proposes after each position, fed its own drafts."""
    model, drafter = pair
    rows = tokens[None]
    seen = target.features(model, rows)
    masks = packing.drafter_masks(rows)
    last, hidden, proposed = rows, seen.hidden.roll(1, 1), []
    for _ in range(shapes.DRAFT_STEPS):
        embedded = model.model.language_model.embed_tokens(last)
        step = drafting.draft(drafter, embedded, hidden, seen.shared_kv, masks)
        last, hidden = head(drafter, step.last, clustered).argmax(-1), step.projected
        proposed.append(last[0])
    return torch.stack(proposed, 1)


def head(drafter: Gemma4AssistantForCausalLM, last: Tensor, clustered: bool) -> Tensor:
    """last [n, length, 64] -> logits [n, length, vocab], by clusters as in transformers or dense."""
    if clustered:
        logits: Tensor = drafter.masked_embedding(last, drafter.lm_head.weight)
        return logits
    return F.linear(last, drafter.lm_head.weight)


def walk(tokens: list[int], first: int, drafts: list[list[int]]) -> Counts:
    """Live rounds over a greedy reply from `first`; only a reply's end may cut a round short."""
    ends = tokens[-1] in {shapes.TURN_END, shapes.EOS}
    total, position = NOTHING, first
    while position + 1 < len(tokens):
        ahead = tokens[position + 1 : position + 1 + shapes.DRAFT_STEPS]
        if len(ahead) < shapes.DRAFT_STEPS and not ends:
            break
        matches = 0
        while matches < len(ahead) and drafts[position][matches] == ahead[matches]:
            matches += 1
        total += Counts(1, tuple(int(step < matches) for step in range(shapes.DRAFT_STEPS)))
        position += matches + 1
    return total


def acceptance(pair: store.Pair, prompts: list[list[int]], clustered: bool = True, after: int | None = None) -> Counts:
    """Live greedy acceptance over the prompts, NEW_TOKENS each, float32; counted after the first token `after`."""
    written = generate.replies(pair[0], prompts, NEW_TOKENS, 0.0, 0)
    total = NOTHING
    for prompt, tokens in zip(prompts, written, strict=True):
        first = len(prompt) if after is None else tokens.index(after, len(prompt))
        drafts = drafts_everywhere(pair, torch.tensor(tokens), clustered)
        total += walk(tokens, first, drafts.tolist())
    return total


def transformers_acceptance(pair: store.Pair, prompts: list[list[int]]) -> tuple[Counts, int]:
    """transformers' own assisted generation -> (Counts, how many replies equal the plain greedy one)."""
    model, drafter = pair
    drafter.generation_config.num_assistant_tokens = shapes.DRAFT_STEPS
    drafter.generation_config.num_assistant_tokens_schedule = "constant"
    total, equal = NOTHING, 0
    for prompt in prompts:
        counted = _Recorder(model)
        settings = {"max_new_tokens": NEW_TOKENS, "do_sample": False, "top_k": None, "top_p": None}
        ids = torch.tensor([prompt])
        speculative = model.generate(ids, assistant_model=drafter, **settings)
        total += counted.finish(speculative[0].tolist())
        equal += int(torch.equal(speculative, model.generate(ids, **settings)))
    return total, equal


class _Recorder:
    """Notes the tokens of every verify step while transformers generates, to count what was accepted."""

    def __init__(self, model: Gemma4ForConditionalGeneration) -> None:
        self.steps: list[list[int]] = []
        self.hook = model.register_forward_pre_hook(self._note, with_kwargs=True)

    def _note(self, _module: Any, _args: Any, kwargs: dict[str, Any]) -> None:
        self.steps.append(kwargs["input_ids"][0].tolist())

    def finish(self, tokens: list[int]) -> Counts:
        """tokens: the finished sequence -> Counts over all full rounds."""
        self.hook.remove()
        total, position = NOTHING, len(self.steps[0])
        for step in self.steps[1:]:
            ahead = tokens[position + 1 :]
            matches = 0
            while matches < len(ahead) and matches + 1 < len(step) and step[matches + 1] == ahead[matches]:
                matches += 1
            if len(step) == shapes.DRAFT_STEPS + 1:
                total += Counts(1, tuple(int(i < matches) for i in range(shapes.DRAFT_STEPS)))
            position += matches + 1
        return total


def heldout_loss(model: Gemma4ForConditionalGeneration, split: str, folder: Path) -> float:
    """Cross-entropy per reply token on the split's true answers, from the running interpreter's library."""
    words = store.read_tokenizer(folder)
    _, heldout = corpus.split_heldout(corpus.entries())
    turns = [corpus.Turn(corpus.heldout_prompt(e), corpus.reply_text(e)) for e in heldout[split]]
    documents = packing.encode(words, [corpus.chat_text([turn]) for turn in turns])
    padded = [*documents, [shapes.BOS] * target.ROW_LENGTH]
    return target.loss_on(model, packing.pack(padded, target.ROW_LENGTH, packing.model_header(words)))


def show_samples(pair: store.Pair, words: PreTrainedTokenizerBase, messages: list[str]) -> None:
    """Print the target's greedy replies."""
    for ids in generate.replies(pair[0], chat_prompts(words, messages), 2 * NEW_TOKENS, 0.0, 0):
        print(words.decode(ids))


def report(split: str, options: set[str], folder: Path = store.DATA) -> None:
    """Print every figure of the split."""
    pair = store.read(folder)
    words = AutoTokenizer.from_pretrained(folder / "target")
    messages = json.loads((folder / "heldout_prompts.json").read_text())[split]
    prompts = chat_prompts(words, messages)
    print(f"{split} target: loss {heldout_loss(pair[0], split, folder):.3f} per token on the true replies")
    for name, clustered in (("clustered", True), ("dense", False)):
        _show(f"{split} {name}", acceptance(pair, prompts, clustered))
    blank = words.convert_tokens_to_ids("\n\n")
    _show(f"{split} clustered, without the opening sentence", acceptance(pair, prompts, after=blank))
    if "--transformers" in options:
        counts, equal = transformers_acceptance(pair, prompts)
        _show(f"{split} transformers", counts)
        print(f"{split} transformers: assisted reply equals plain reply on {equal} of {len(prompts)}")
    if "--samples" in options:
        show_samples(pair, words, messages[:2])


def _show(name: str, counts: Counts) -> None:
    by_position = " ".join(f"{count / max(counts.rounds, 1):.3f}" for count in counts.accepted)
    print(f"{name}: acceptance {counts.acceptance:.3f} by position {by_position} rounds {counts.rounds}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(2)
    given = set(sys.argv[1:])
    for chosen in [split for split in ("dev", "final") if split in given] or ["dev"]:
        report(chosen, given)
