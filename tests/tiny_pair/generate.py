"""Text written by the target, greedy and sampled, many prompts at once."""

import random
import time
from collections import defaultdict

import torch
from torch import Tensor
from transformers import Gemma4ForConditionalGeneration

from tests.tiny_pair import shapes

BATCH = 256


def replies(
    model: Gemma4ForConditionalGeneration,
    prompts: list[list[int]],
    new_tokens: int,
    temperature: float,
    seed: int,
) -> list[list[int]]:
    """prompts -> prompt + reply ids, in order; a reply ends with <turn|>, <eos> or after new_tokens.

    Temperature 0 is greedy. Prompts of one length run together, so nothing is padded.
    """
    torch.manual_seed(seed)
    groups: dict[int, list[int]] = defaultdict(list)
    for index, prompt in enumerate(prompts):
        groups[len(prompt)].append(index)
    chunks = [group[i : i + BATCH] for group in groups.values() for i in range(0, len(group), BATCH)]
    done: dict[int, list[int]] = {}
    start_s = time.monotonic()
    for chunk in chunks:
        block = _continue(model, torch.tensor([prompts[i] for i in chunk]), new_tokens, temperature)
        for index, ids in zip(chunk, block.tolist(), strict=True):
            done[index] = _cut(ids, len(prompts[index]))
    elapsed_s = time.monotonic() - start_s
    written = sum(len(done[i]) - len(prompts[i]) for i in done)
    print(f"generated {written} tokens, {len(prompts)} prompts, {written / elapsed_s:.0f} tokens/s", flush=True)
    return [done[index] for index in range(len(prompts))]


def invented_names(names: list[str], avoid: set[str], count: int, seed: int) -> list[str]:
    """Names that do not exist: the path of one object with the last word of another."""
    chance = random.Random(seed)
    dotted = [name for name in names if "." in name]
    known = set(names) | avoid
    found: list[str] = []
    while len(found) < count:
        name = chance.choice(dotted).rpartition(".")[0] + "." + chance.choice(dotted).rpartition(".")[2]
        if name not in known:
            found.append(name)
    return found


@torch.no_grad()
def _continue(model: Gemma4ForConditionalGeneration, tokens: Tensor, new_tokens: int, temperature: float) -> Tensor:
    """tokens [n, prompt] -> [n, prompt + up to new_tokens], running on past the ends of finished replies."""
    cache, fed = None, tokens
    finished = torch.zeros(len(tokens), dtype=torch.bool)
    for _ in range(new_tokens):
        output = model(input_ids=fed, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache = output.past_key_values
        logits = output.logits[:, -1].float()
        if temperature:
            fed = torch.multinomial((logits / temperature).softmax(-1), 1)
        else:
            fed = logits.argmax(-1, keepdim=True)
        tokens = torch.cat([tokens, fed], 1)
        finished |= (fed[:, 0] == shapes.TURN_END) | (fed[:, 0] == shapes.EOS)
        if bool(finished.all()):
            break
    return tokens


def _cut(ids: list[int], prompt_length: int) -> list[int]:
    for index in range(prompt_length, len(ids)):
        if ids[index] in {shapes.TURN_END, shapes.EOS}:
            return ids[: index + 1]
    return ids
