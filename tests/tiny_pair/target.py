"""Train the target with cross-entropy on the corpus, and read from it what the drafter is given."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Gemma4ForConditionalGeneration

from tests.tiny_pair import packing, shapes, training

ROW_LENGTH = 512
ROWS_PER_STEP = 8
LEARNING_RATE = 4e-3
SharedKv = dict[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Features:
    """hidden [n, length, H] of the final norm; shared_kv: per layer type the donor's two [n, 1, length, D]."""

    hidden: Tensor
    shared_kv: SharedKv


def train(rows: packing.Rows, steps: int, seed: int) -> tuple[Gemma4ForConditionalGeneration, float]:
    """rows -> (target with weights rounded to bf16, mean loss of the last 50 steps)."""
    torch.manual_seed(seed)
    model = shapes.new_target()
    model.model.language_model.compile()

    def step(index: int) -> Tensor:
        first = (index * ROWS_PER_STEP) % (len(rows.tokens) - ROWS_PER_STEP)
        tokens = rows.tokens[first : first + ROWS_PER_STEP]
        with torch.autocast("cpu", torch.bfloat16):
            hidden = features(model, tokens).hidden
            logits = logits_of(model, hidden)
        return F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())

    loss = training.run("target", model, step, steps, LEARNING_RATE)
    training.round_to_bf16(model)
    return model.eval(), loss


def features(model: Gemma4ForConditionalGeneration, tokens: Tensor) -> Features:
    """tokens [n, length] of packed documents -> Features."""
    output = model.model.language_model(
        input_ids=tokens,
        attention_mask=packing.target_masks(tokens),
        use_cache=False,
        return_shared_kv_states=True,
    )
    return Features(output.last_hidden_state, dict(output.shared_kv_states))


def logits_of(model: Gemma4ForConditionalGeneration, hidden: Tensor) -> Tensor:
    """hidden [..., H] -> soft-capped logits [..., vocab] float32."""
    return 30.0 * torch.tanh(F.linear(hidden, model.lm_head.weight).float() / 30.0)


def loss_on(model: Gemma4ForConditionalGeneration, rows: packing.Rows) -> float:
    """Mean cross-entropy per token over the replies in rows, in float32."""
    total, count = 0.0, 0
    with torch.no_grad():
        for tokens, reply in zip(rows.tokens.split(8), rows.reply.split(8), strict=True):
            logits = logits_of(model, features(model, tokens).hidden)
            losses = F.cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none")
            total += float(losses[reply[:, 1:]].sum())
            count += int(reply[:, 1:].sum())
    return total / count
