"""The tiny pair's tokenizer, made as large as a real one.

Text becomes roughly as many tokens as with the trained vocabulary, and every id of the model has a piece,
so that whatever a model with synthetic weights writes can be decoded.
"""

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

TINY_TARGET = Path(__file__).parent.parent / "data" / "tiny" / "target"
_COPIED = ("tokenizer_config.json", "chat_template.jinja", "generation_config.json")


def write_tokenizer(directory: Path, vocab_size: int) -> None:
    """tokenizer.json with `vocab_size` entries, and the files that belong to it."""
    tokenizer = json.loads((TINY_TARGET / "tokenizer.json").read_text(encoding="utf-8"))
    grow(tokenizer["model"], vocab_size)
    text = json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":"))
    (directory / "tokenizer.json").write_text(text, encoding="utf-8")
    for name in _COPIED:
        (directory / name).write_bytes((TINY_TARGET / name).read_bytes())


def grow(model: dict[str, Any], vocab_size: int) -> None:
    """Adds pieces and their merges to the BPE `model` until it has `vocab_size` entries."""
    vocab, merges = model["vocab"], model["merges"]
    if len(vocab) > vocab_size:
        raise ValueError(f"the tokenizer to grow has {len(vocab)} entries, needed at most {vocab_size}")
    new = _new_pieces(vocab)
    while len(vocab) < vocab_size:
        left, right = next(new)
        vocab[left + right] = len(vocab)
        merges.append([left, right])


def _new_pieces(vocab: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Pairs of pieces of letters that together make a part of a word which `vocab` lacks; it may grow."""
    letters = [piece for piece in vocab if piece.removeprefix("▁").isalpha()]
    inner = [piece for piece in letters if not piece.startswith("▁")]
    for left, right in product(letters, inner):
        if left + right not in vocab:
            yield left, right
