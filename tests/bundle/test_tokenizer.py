import io

import pytest
import sentencepiece

from edge_mtp.bundle.tokenizer import (
    TokenizerKind,
    pack_hugging_face,
    read_tokenizer,
    sentencepiece_ids,
    unpack_hugging_face,
)
from edge_mtp.errors import CheckpointError
from tests.bundle import models


def test_tokenizer_json_is_packed_and_unpacks_to_itself(tmp_path):
    checkpoint = models.write_checkpoint(tmp_path)
    tokenizer = read_tokenizer(checkpoint, models.VOCAB)
    assert tokenizer.kind is TokenizerKind.HUGGING_FACE
    assert unpack_hugging_face(tokenizer.payload) == (checkpoint / "tokenizer.json").read_bytes()
    assert tokenizer.entries == len(models.SPECIALS) + 256
    assert tokenizer.id_of("<turn|>", "a test") == 7


def test_sentencepiece_is_preferred_and_read_as_the_library_reads_it(tmp_path):
    model = io.BytesIO()
    text = ["the quick brown fox jumps over the lazy dog", "pack my box with five dozen liquor jugs"] * 20
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text),
        model_writer=model,
        vocab_size=60,
        hard_vocab_limit=False,
        user_defined_symbols=["<turn|>"],
        num_threads=1,
        minloglevel=2,
    )
    checkpoint = models.write_checkpoint(tmp_path)
    (checkpoint / "tokenizer.model").write_bytes(model.getvalue())
    tokenizer = read_tokenizer(checkpoint, models.VOCAB)
    library = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    assert tokenizer.kind is TokenizerKind.SENTENCEPIECE
    assert tokenizer.payload == model.getvalue()
    assert tokenizer.ids == {library.id_to_piece(i): i for i in range(library.get_piece_size())}


def test_hand_written_sentencepiece_ids():
    assert sentencepiece_ids(models.sentencepiece_model(["<pad>", "▁a"])) == {"<pad>": 0, "▁a": 1}


def test_more_tokens_than_rows_is_refused(tmp_path):
    checkpoint = models.write_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match=r"ids? .*100"):
        read_tokenizer(checkpoint, 100)


def test_missing_token_is_named(tmp_path):
    tokenizer = read_tokenizer(models.write_checkpoint(tmp_path), models.VOCAB)
    with pytest.raises(CheckpointError, match=r"'<absent>', needed as a test"):
        tokenizer.id_of("<absent>", "a test")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.json", b"{}", "not a tokenizers file"),
        ("tokenizer.json", b"\xff\x00", "not a tokenizers file"),
        ("tokenizer.model", b"\x0a\xff\xff\xff", "not a SentencePiece model"),
        ("tokenizer.model", b"", "holds no pieces"),
    ],
)
def test_damaged_files_are_refused(tmp_path, name, content, message):
    checkpoint = models.write_checkpoint(tmp_path)
    (checkpoint / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_tokenizer(checkpoint, models.VOCAB)


def test_directory_without_tokenizer_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"neither tokenizer\.model nor tokenizer\.json"):
        read_tokenizer(tmp_path, models.VOCAB)


def test_tokenizer_that_loses_text_is_refused(tmp_path):
    checkpoint = models.write_checkpoint(tmp_path)
    path = checkpoint / "tokenizer.json"
    path.write_text(path.read_text().replace('"<0x48>"', '"<0x4#>"'))
    with pytest.raises(CheckpointError, match="and back"):
        read_tokenizer(checkpoint, models.VOCAB)


def test_declared_length_is_checked():
    payload = bytearray(pack_hugging_face(b"{}"))
    payload[0] += 1
    with pytest.raises(ValueError, match="2 bytes after decompression, 3 declared"):
        unpack_hugging_face(bytes(payload))
