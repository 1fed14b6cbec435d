"""Train the drafter against the frozen target, unrolled over the draft steps as transformers runs them."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Gemma4AssistantForCausalLM, Gemma4ForConditionalGeneration

from tests.tiny_pair import clusters, packing, shapes, target, training

ROWS_PER_STEP = 8
LEARNING_RATE = 4e-3
STEP_WEIGHTS = (1.0, 0.8, 0.6)
HARD_WEIGHT, CENTROID_WEIGHT = 0.5, 0.3


@dataclass(frozen=True)
class Draft:
    """One draft step: last [n, length, 64] before the head, projected [n, length, H] for the next step."""

    last: Tensor
    projected: Tensor


def train(
    model: Gemma4ForConditionalGeneration, rows: packing.Rows, steps: int, seed: int
) -> tuple[Gemma4AssistantForCausalLM, float]:
    """rows -> (drafter with weights rounded to bf16, mean loss of the last 50 steps)."""
    torch.manual_seed(seed)
    drafter = shapes.new_drafter()
    embedding = model.lm_head.weight.detach()
    ordering = clusters.balanced(embedding, shapes.CENTROIDS, rounds=8, seed=seed)
    _start_from_target(drafter, embedding, ordering)
    drafter.model.compile()
    order = torch.randperm(len(rows.tokens), generator=torch.Generator().manual_seed(seed))

    def step(index: int) -> Tensor:
        first = (index * ROWS_PER_STEP) % (len(order) - ROWS_PER_STEP)
        chosen = order[first : first + ROWS_PER_STEP]
        with torch.autocast("cpu", torch.bfloat16):
            return loss_of(model, drafter, packing.Rows(rows.tokens[chosen], rows.reply[chosen]))

    loss = training.run("drafter", drafter, step, steps, LEARNING_RATE)
    training.round_to_bf16(drafter)
    return drafter.eval(), loss


def draft(
    drafter: Gemma4AssistantForCausalLM,
    embedded: Tensor,
    hidden: Tensor,
    kv: target.SharedKv,
    masks: packing.Masks,
) -> Draft:
    """embedded, hidden [n, length, H]: a draft step at every position at once, each at its last token's slot.

    `embedded` is the target's scaled embedding of the last token; `hidden` the state that led to it.
    """
    entered = drafter.pre_projection(torch.cat([embedded, hidden], -1))
    places = torch.arange(embedded.shape[1])[None]
    output = drafter.model(
        inputs_embeds=entered, attention_mask=masks, position_ids=places, shared_kv_states=kv, use_cache=False
    )
    return Draft(output.last_hidden_state, drafter.post_projection(output.last_hidden_state))


def loss_of(model: Gemma4ForConditionalGeneration, drafter: Gemma4AssistantForCausalLM, rows: packing.Rows) -> Tensor:
    """Soft and argmax cross-entropy to the target plus a centroid loss, summed over the draft steps."""
    with torch.no_grad():
        seen = target.features(model, rows.tokens)
        embedded = model.model.language_model.embed_tokens(rows.tokens)
    masks = packing.drafter_masks(rows.tokens)
    with torch.no_grad():
        wanted = target.logits_of(model, seen.hidden).softmax(-1).flatten(0, 1)
    member = _membership(drafter.masked_embedding.token_ordering)
    hidden = seen.hidden.roll(1, 1)
    usable = draftable(rows)
    loss = torch.zeros(())
    for index, weight in enumerate(STEP_WEIGHTS):
        step = draft(drafter, embedded.roll(-index, 1), hidden, seen.shared_kv, masks)
        chosen = usable[index].flatten().nonzero()[:, 0]
        last = step.last.flatten(0, 1)[chosen]
        loss = loss + weight * _step_loss(drafter, last, wanted[chosen + index], member)
        hidden = step.projected
    return loss


def draftable(rows: packing.Rows) -> list[Tensor]:
    """rows -> per draft step bool [n, length]: all tokens up to that step belong to one unfinished reply."""
    ended = (rows.tokens == shapes.TURN_END) | (rows.tokens == shapes.EOS) | (rows.tokens == shapes.PAD)
    open_reply = rows.reply & ~ended
    open_reply[:, 0] = False
    found = []
    usable = open_reply
    for index in range(shapes.DRAFT_STEPS):
        if index:
            usable = usable & open_reply.roll(-index, 1)
            usable[:, -index:] = False
        found.append(usable)
    return found


def _step_loss(drafter: Gemma4AssistantForCausalLM, last: Tensor, wanted: Tensor, member: Tensor) -> Tensor:
    """last [m, 64], wanted probabilities [m, vocab], member [vocab, clusters] -> scalar."""
    log_probs = F.linear(last, drafter.lm_head.weight).float().log_softmax(-1)
    soft = -(wanted * log_probs).sum(-1).mean()
    hard = F.nll_loss(log_probs, wanted.argmax(-1))
    centroid_log_probs = drafter.masked_embedding.centroids(last).float().log_softmax(-1)
    centroid = -((wanted @ member) * centroid_log_probs).sum(-1).mean()
    return (1 - HARD_WEIGHT) * soft + HARD_WEIGHT * hard + CENTROID_WEIGHT * centroid


def _membership(ordering: Tensor) -> Tensor:
    """token ids sorted by cluster [vocab] -> 0/1 matrix [vocab, clusters]."""
    cluster_of = torch.empty_like(ordering)
    cluster_of[ordering] = torch.arange(shapes.VOCAB_SIZE) // (shapes.VOCAB_SIZE // shapes.CENTROIDS)
    return F.one_hot(cluster_of, shapes.CENTROIDS).float()


def _start_from_target(drafter: Gemma4AssistantForCausalLM, embedding: Tensor, ordering: Tensor) -> None:
    """Head: the target's embedding along its strongest directions; centroids: the means of its clusters."""
    with torch.no_grad():
        _, _, directions = torch.linalg.svd(embedding - embedding.mean(0), full_matrices=False)
        drafter.lm_head.weight.copy_(embedding @ directions[: shapes.DRAFTER_HIDDEN_SIZE].T)
        drafter.masked_embedding.token_ordering.copy_(ordering)
        grouped = drafter.lm_head.weight[ordering].view(shapes.CENTROIDS, -1, shapes.DRAFTER_HIDDEN_SIZE)
        drafter.masked_embedding.centroids.weight.copy_(grouped.mean(1))
        for layer in (drafter.pre_projection, drafter.post_projection):
            layer.weight.normal_(0.0, 0.5 * layer.in_features**-0.5)
