"""The tokenizer section: SentencePiece where the checkpoint has it, else `tokenizer.json`, checked first.

SentencePiece files are read through a two-field protobuf schema declared here, so that the base install needs
no sentencepiece package.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory
from tokenizers import Tokenizer

from edge_mtp.errors import CheckpointError

SENTENCEPIECE_FILE = "tokenizer.model"
HUGGING_FACE_FILE = "tokenizer.json"
PROBE = "Hello, world! 12 + 3 = 15?\n  indented\n"


class TokenizerKind(StrEnum):
    """The two tokenizer formats the runtime reads."""

    SENTENCEPIECE = "sentencepiece"
    HUGGING_FACE = "hugging_face"


@dataclass(frozen=True)
class BundleTokenizer:
    """A checked tokenizer: `ids` maps every token to its id, `payload` is the section as packed."""

    kind: TokenizerKind
    path: Path
    ids: Mapping[str, int]
    payload: bytes

    @property
    def entries(self) -> int:
        """One more than the largest id."""
        return max(self.ids.values()) + 1

    def id_of(self, token: str, why: str) -> int:
        """Id of `token`; CheckpointError naming the token and `why` it is needed where there is none."""
        if token not in self.ids:
            raise CheckpointError(
                f"{self.path} has no token {token!r}, needed as {why}; "
                "use the tokenizer files that belong to this checkpoint"
            )
        return self.ids[token]

    def has_id(self, token_id: int) -> bool:
        """Whether any token carries `token_id`."""
        return token_id in self.ids.values()


def read_tokenizer(directory: Path, vocab_size: int) -> BundleTokenizer:
    """The tokenizer of the checkpoint in `directory`, checked against an embedding of `vocab_size` rows."""
    hugging_face = directory / HUGGING_FACE_FILE
    if (directory / SENTENCEPIECE_FILE).is_file():
        tokenizer = _read_sentencepiece(directory / SENTENCEPIECE_FILE)
    elif hugging_face.is_file():
        tokenizer = _read_hugging_face(hugging_face, vocab_size)
    else:
        raise CheckpointError(
            f"{directory} has neither {SENTENCEPIECE_FILE} nor {HUGGING_FACE_FILE}; "
            "copy one from the model's repository"
        )
    if tokenizer.entries > vocab_size:
        raise CheckpointError(
            f"{tokenizer.path} has ids up to {tokenizer.entries - 1}, but the embedding has "
            f"{vocab_size} rows; tokenizer and weights are of different models"
        )
    return tokenizer


def pack_hugging_face(content: bytes) -> bytes:
    """content of tokenizer.json -> section bytes: u64 length, then zlib at a fixed level."""
    return len(content).to_bytes(8, "little") + zlib.compress(content, 6)


def unpack_hugging_face(payload: bytes) -> bytes:
    """Section bytes -> content of tokenizer.json; zlib.error or ValueError where they do not fit."""
    content = zlib.decompress(payload[8:])
    if len(content) != int.from_bytes(payload[:8], "little"):
        raise ValueError(f"{len(content)} bytes after decompression, {int.from_bytes(payload[:8], 'little')} declared")
    return content


def sentencepiece_ids(content: bytes) -> dict[str, int]:
    """content of a SentencePiece model -> ids by piece; protobuf's DecodeError where it is none."""
    model: Any = _sentencepiece_class()()
    model.ParseFromString(content)
    return {entry.piece: index for index, entry in enumerate(model.pieces)}


def _read_sentencepiece(path: Path) -> BundleTokenizer:
    content = path.read_bytes()
    try:
        ids = sentencepiece_ids(content)
    except message.DecodeError as error:
        raise CheckpointError(f"{path} is not a SentencePiece model ({error}); download it again") from None
    if not ids:
        raise CheckpointError(f"{path} holds no pieces, expected a SentencePiece model; download it again")
    return BundleTokenizer(TokenizerKind.SENTENCEPIECE, path, ids, content)


def _read_hugging_face(path: Path, vocab_size: int) -> BundleTokenizer:
    content = path.read_bytes()
    try:
        tokenizer = Tokenizer.from_buffer(content)
    except Exception as error:  # (the Rust binding raises nothing narrower)
        raise CheckpointError(f"{path} is not a tokenizers file ({error}); download it again") from None
    _check_round_trip(path, tokenizer, vocab_size)
    ids = tokenizer.get_vocab(with_added_tokens=True)
    return BundleTokenizer(TokenizerKind.HUGGING_FACE, path, ids, pack_hugging_face(content))


def _check_round_trip(path: Path, tokenizer: Tokenizer, vocab_size: int) -> None:
    """Encodes and decodes a probe; CheckpointError where text is lost or an id has no embedding row."""
    ids = tokenizer.encode(PROBE, add_special_tokens=False).ids
    text = tokenizer.decode(ids, skip_special_tokens=False)
    if text.strip() != PROBE.strip():
        raise CheckpointError(f"{path} turns {PROBE!r} into {text!r} and back; the file is damaged or not Gemma's")
    if max(ids) >= vocab_size:
        raise CheckpointError(f"{path} gives id {max(ids)}, but the embedding has {vocab_size} rows")


@cache
def _sentencepiece_class() -> Any:
    """Message class for the part of SentencePiece's ModelProto that matters here: the pieces' text."""
    field = descriptor_pb2.FieldDescriptorProto
    schema = descriptor_pb2.FileDescriptorProto(
        name="edge_mtp/sentencepiece.proto", package="edge_mtp", syntax="proto2"
    )
    piece = schema.message_type.add(name="Piece")
    piece.field.add(name="piece", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    model = schema.message_type.add(name="Model")
    model.field.add(
        name="pieces",
        number=1,
        type=field.TYPE_MESSAGE,
        label=field.LABEL_REPEATED,
        type_name=".edge_mtp.Piece",
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(schema)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("edge_mtp.Model"))
