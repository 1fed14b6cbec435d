"""A sound bundle in miniature: its signatures, checkpoint files and plan."""

import json
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from edge_mtp import names
from edge_mtp.bundle.metadata import KvCache, build_executor_metadata, build_llm_metadata, read_text_format
from edge_mtp.bundle.tokenizer import read_tokenizer
from edge_mtp.bundle.writer import BundlePlan
from tests.bundle.attention import PARAM, attend, cache_pair, write
from tests.bundle.flatbuffer import OperatorSpec, SignatureSpec, TensorSpec, build_tflite

HIDDEN, VOCAB, CONTEXT, DRAFTS, HEAD_DIM, WINDOW = 8, 320, 60, 3, 4, 16
ROWS = CONTEXT + DRAFTS + 1
LAYERS = 3
DONORS = (1, 2)
TEMPLATE = (
    "{{ bos_token }}{% if enable_thinking %}<|think|>{% endif %}<|turn>user\n{{ messages[0]['content'] }}<turn|>\n"
)
SPECIALS = ("<pad>", "<eos>", "<bos>", "<unk>", "<|channel>", "<channel|>", "<|turn>", "<turn|>")


def caches(layers: Sequence[int], rows: int = ROWS, dtype: str = "FLOAT32") -> tuple[TensorSpec, ...]:
    """K and V tensors of `layers`, under the runtime's names."""
    return tuple(spec for layer in layers for spec in cache_pair(layer, rows, HEAD_DIM, dtype))


def target_signature(key: str, length: int, rows: int = ROWS) -> SignatureSpec:
    """A target signature that takes `length` tokens."""
    kv = caches(range(LAYERS), rows)
    inputs = (
        TensorSpec(names.EMBEDDINGS, (1, length, HIDDEN)),
        TensorSpec(names.PER_LAYER_EMBEDDINGS, (1, length, LAYERS, 2)),
        TensorSpec(names.INPUT_POS, (length,), "INT32"),
        TensorSpec(names.MASK, (1, 1, length, rows)),
        PARAM,
        *kv,
    )
    text = (
        TensorSpec(names.LOGITS, (1, length, VOCAB)),
        TensorSpec(names.ACTIVATIONS, (1, length, HIDDEN)),
    )
    weights = (
        TensorSpec("layers.0.mlp.up_proj.weight", (16, HIDDEN), "INT4", (0.5,) * 16),
        TensorSpec("layers.1.mlp.up_proj.weight", (16, HIDDEN), "INT2", (0.25,) * 16),
        TensorSpec("layers.0.input_layernorm.weight", (HIDDEN,)),
    )
    writes = (write(layer, length, rows, HEAD_DIM) for layer in range(LAYERS))
    reads = (one for layer in range(LAYERS) for one in attend(layer, length, rows, HEAD_DIM))
    projection = OperatorSpec("FULLY_CONNECTED", (inputs[0], weights[0]), (TensorSpec("up", (1, length, 16)),))
    return SignatureSpec(
        key=key,
        inputs=inputs,
        outputs=kv if key.startswith(names.PREFILL_PREFIX) else (*text, *kv),
        weights=weights,
        ops=(),
        operators=(projection, *writes, *reads),
    )


def target_signatures(rows: int = ROWS) -> tuple[SignatureSpec, ...]:
    """prefill_16, decode and verify."""
    return (
        target_signature(names.prefill(16), 16, rows),
        target_signature(names.DECODE, 1, rows),
        target_signature(names.VERIFY, DRAFTS + 1, rows),
    )


def drafter_signature(rows: int = ROWS, dtype: str = "FLOAT32") -> SignatureSpec:
    """The drafter's one signature."""
    activations, logits = TensorSpec(names.ACTIVATIONS, (1, 1, 2 * HIDDEN)), TensorSpec(names.LOGITS, (1, 1, VOCAB))
    head = TensorSpec("lm_head.weight", (VOCAB, 32), "INT4", (0.5,) * VOCAB, block=32)
    reads = (one for layer in DONORS for one in attend(layer, 1, rows, HEAD_DIM))
    return SignatureSpec(
        key=names.DRAFT,
        inputs=(
            activations,
            TensorSpec(names.INPUT_POS, (1,), "INT32"),
            TensorSpec(names.MASK, (1, 1, 1, rows)),
            PARAM,
            *caches(DONORS, rows, dtype),
        ),
        outputs=(logits, TensorSpec(names.PROJECTED_ACTIVATIONS, (1, 1, HIDDEN))),
        weights=(head,),
        ops=(),
        operators=(*reads, OperatorSpec("FULLY_CONNECTED", (activations, head), (logits,))),
    )


def embedder_signature(output: str, shape: tuple[int, ...]) -> SignatureSpec:
    """An embedder: token ids in, one row out."""
    width = int(np.prod(shape[2:]))
    return SignatureSpec(
        key=names.EMBED,
        inputs=(TensorSpec(names.TOKEN_IDS, (1, 1), "INT32"),),
        outputs=(TensorSpec(output, shape),),
        weights=(TensorSpec("embed.weight", (VOCAB, width), "INT8", (0.1,) * VOCAB),),
        ops=("EMBEDDING_LOOKUP",),
    )


def all_models() -> dict[str, tuple[SignatureSpec, ...]]:
    """Signatures of a sound bundle, by section."""
    return {
        names.EMBEDDER: (embedder_signature(names.EMBEDDINGS, (1, 1, HIDDEN)),),
        names.PER_LAYER_EMBEDDER: (embedder_signature(names.EMBEDDINGS, (1, 1, LAYERS, 2)),),
        names.TARGET: target_signatures(),
        names.DRAFTER: (drafter_signature(),),
    }


def write_checkpoint(directory: Path, template: str = TEMPLATE) -> Path:
    """The files of a checkpoint that speak of text: tokenizer, template and the two configurations."""
    directory.mkdir(parents=True, exist_ok=True)
    make_tokenizer().save(str(directory / "tokenizer.json"))
    (directory / "chat_template.jinja").write_text(template)
    special = {"soc_token": "<|channel>", "eoc_token": "<channel|>"}
    tokens = {"bos_token": "<bos>", "pad_token": "<pad>", "model_specific_special_tokens": special}
    (directory / "tokenizer_config.json").write_text(json.dumps(tokens))
    generation = {"bos_token_id": 2, "eos_token_id": [1], "do_sample": True, "top_k": 64, "top_p": 0.95}
    (directory / "generation_config.json").write_text(json.dumps(generation))
    return directory


def make_tokenizer(specials: Sequence[str] = SPECIALS) -> Tokenizer:
    """A byte-level BPE without merges: special tokens, then 256 bytes."""
    vocab = {token: index for index, token in enumerate([*specials, *(f"<0x{byte:02X}>" for byte in range(256))])}
    tokenizer = Tokenizer(models.BPE(vocab, [], unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse(), decoders.Replace("▁", " ")])
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in specials])
    return tokenizer


def make_plan(directory: Path, models_: dict[str, tuple[SignatureSpec, ...]] | None = None) -> BundlePlan:
    """A plan over freshly written files in `directory`."""
    checkpoint = write_checkpoint(directory / "checkpoint")
    tokenizer = read_tokenizer(checkpoint, VOCAB)
    paths = {}
    for name, signatures in (all_models() if models_ is None else models_).items():
        paths[name] = directory / f"{name}.tflite"
        paths[name].write_bytes(build_tflite(signatures))
    return BundlePlan(
        models=paths,
        tokenizer=tokenizer,
        llm_metadata=build_llm_metadata(read_text_format(checkpoint, tokenizer), CONTEXT),
        executor_metadata=build_executor_metadata([KvCache(layer, ROWS) for layer in range(LAYERS)], WINDOW),
        activation="fp32",
        recipe_sha256="0" * 64,
    )


def sentencepiece_model(pieces: Sequence[str]) -> bytes:
    """A SentencePiece file with nothing but pieces, written as raw protobuf."""
    entries = []
    for piece in pieces:
        text = piece.encode()
        body = b"\x0a" + bytes([len(text)]) + text + b"\x15" + struct.pack("<f", 0.0)
        entries.append(b"\x0a" + bytes([len(body)]) + body)
    return b"".join(entries)
