"""Token rows for training: documents end to end, each seeing only itself."""

from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor

from tests.tiny_pair import shapes

Masks = dict[str, Tensor]


@dataclass(frozen=True)
class Rows:
    """tokens [n, length] int64, reply [n, length] bool: written by the model (plain text counts as such)."""

    tokens: Tensor
    reply: Tensor


def encode(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """texts -> token ids, each opening with <bos>."""
    return [encoding.ids for encoding in tokenizer.encode_batch(texts)]


def model_header(tokenizer: Tokenizer) -> list[int]:
    """The ids of `<|turn>model` and its newline, after which a reply starts."""
    ids: list[int] = tokenizer.encode("<|turn>model\n", add_special_tokens=False).ids
    return ids


def pack(documents: list[list[int]], length: int, header: list[int]) -> Rows:
    """documents -> rows of `length`; a document cut by a row's end goes on in the next one."""
    tokens = torch.tensor([token for document in documents for token in document])
    reply = torch.tensor([flag for document in documents for flag in _reply_flags(document, header)])
    count = len(tokens) // length
    return Rows(tokens[: count * length].view(count, length), reply[: count * length].view(count, length))


def _reply_flags(document: list[int], header: list[int]) -> list[bool]:
    """ids [n] -> n flags: in a chat from each model header up to and with <turn|>, else all but <bos>."""
    if document[1] != shapes.TURN_START:
        return [token != shapes.BOS for token in document]
    flags, inside = [], False
    for index, token in enumerate(document):
        flags.append(inside)
        if token == shapes.TURN_END:
            inside = False
        if document[index + 1 - len(header) : index + 1] == header:
            inside = True
    return flags


def target_masks(tokens: Tensor) -> Masks:
    """tokens [n, length] -> bool masks [n, 1, query, key] of both layer types, true where visible."""
    distance, together = _layout(tokens)
    visible = together & (distance >= 0)
    return {
        "full_attention": visible[:, None],
        "sliding_attention": (visible & (distance < shapes.SLIDING_WINDOW))[:, None],
    }


def drafter_masks(tokens: Tensor) -> Masks:
    """tokens [n, length] -> bool masks [n, 1, query, key]: rows before the last token, which has none.

    The window is transformers' for the drafter: inclusive, counted from the last token's own slot. <bos> sees
    itself only so that its row of the softmax exists; nothing is drafted there.
    """
    distance, together = _layout(tokens)
    visible = (together & (distance >= 1)) | ((tokens == shapes.BOS)[:, :, None] & (distance == 0))
    return {
        "full_attention": visible[:, None],
        "sliding_attention": (visible & (distance <= shapes.SLIDING_WINDOW))[:, None],
    }


def _layout(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """tokens [n, length] -> distance [query, key] and same document [n, query, key]."""
    place = torch.arange(tokens.shape[1])
    document = (tokens == shapes.BOS).cumsum(1)
    return place[:, None] - place[None, :], document[:, :, None] == document[:, None, :]
