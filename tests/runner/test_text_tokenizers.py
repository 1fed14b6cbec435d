"""Both kinds of tokenizer in a bundle, stop tokens given as text, and what cannot be read."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from litert_lm_builder.runtime.proto.llm_metadata_pb2 import LlmMetadata

from edge_mtp.bundle.reader import Bundle, read_bundle
from edge_mtp.bundle.tokenizer import TokenizerKind, pack_hugging_face
from edge_mtp.errors import BundleError
from edge_mtp.runner.text import BundleText, read_text
from tests.bundle.conftest import publish
from tests.bundle.models import make_plan
from tests.runner.pieces import SIZES, cut, one_by_one, pieces


def train(**options: object) -> bytes:
    model = io.BytesIO()
    sentences = ["the quick brown fox jumps over the lazy dog", "pack my box with five dozen liquor jugs"] * 20
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        vocab_size=320,
        hard_vocab_limit=False,
        byte_fallback=True,
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        user_defined_symbols=["<|turn>", "<turn|>"],
        num_threads=1,
        minloglevel=2,
        **options,
    )
    return model.getvalue()


PLAIN_SPACES = {"add_dummy_prefix": False, "remove_extra_whitespaces": False, "normalization_rule_name": "identity"}
MODELS = {"as Gemma's": PLAIN_SPACES, "spaces dropped": {}}


@pytest.fixture(scope="module", params=MODELS.values(), ids=MODELS)
def spoken(request, tmp_path_factory) -> BundleText:
    """The text format of a bundle with a SentencePiece tokenizer, stop tokens given as text."""
    return read_text(with_tokenizer(tmp_path_factory.mktemp("spoken"), train(**request.param)))


def stops(*texts: str, start: str = "<s>") -> LlmMetadata:
    metadata = LlmMetadata(max_num_tokens=60)
    metadata.start_token.token_str = start
    for one in texts:
        metadata.stop_tokens.add().token_str = one
    return metadata


def with_tokenizer(
    folder: Path, content: bytes, kind: TokenizerKind = TokenizerKind.SENTENCEPIECE, metadata: LlmMetadata | None = None
) -> Bundle:
    plan = make_plan(folder)
    tokenizer = replace(plan.tokenizer, kind=kind, payload=content)
    metadata = stops("</s>", "<turn|>") if metadata is None else metadata
    return read_bundle(publish(replace(plan, tokenizer=tokenizer, llm_metadata=metadata), folder / "made.litertlm"))


@pytest.mark.parametrize("one", ["the quick fox", "jumps € 日本 😀😀 dog", "<|turn>user\nbox<turn|>"])
def test_sentencepiece_there_and_back(spoken, one):
    tokens = spoken.encode(one)
    assert spoken.decode(tokens).split() == one.split()
    shown = [token for token in tokens if token not in spoken.stop_tokens]
    assert "".join(pieces(spoken, one_by_one(tokens))) == spoken.decode(shown)
    assert 3 not in tokens, "bytes stand for what has no piece"


def test_sentencepiece_stop_tokens_are_found_by_their_text(spoken):
    assert (spoken.start_token, spoken.stop_tokens) == (2, frozenset({1, *spoken.encode("<turn|>")[-1:]}))
    assert spoken.raw_prompt("fox")[0] == 2
    assert spoken.decode([2, *spoken.encode("fox"), 1]) == "fox"


@settings(max_examples=80, deadline=None)
@given(written=st.text("the quicbrown  €日😀", max_size=25), sizes=SIZES)
def test_sentencepiece_pieces_of_any_text_are_the_text(spoken, written, sizes):
    tokens = spoken.encode(written)
    assert "".join(pieces(spoken, cut(tokens, sizes))) == spoken.decode(tokens)


# What cannot be read.


def test_a_stop_text_that_is_no_token_is_refused(tmp_path):
    """LiteRT-LM takes such a text as a sequence of tokens."""
    for kind, content in ((TokenizerKind.SENTENCEPIECE, train(**PLAIN_SPACES)), (None, None)):
        plan = make_plan(tmp_path)
        kind, content = kind or plan.tokenizer.kind, content or plan.tokenizer.payload
        bundle = with_tokenizer(tmp_path, content, kind, stops("the end", start=""))
        with pytest.raises(BundleError, match=r"the bundle's stop token 'the end' is \d+ tokens long.*--engine"):
            read_text(bundle)
        one_token = "<turn|>" if kind is TokenizerKind.SENTENCEPIECE else "<0x41>"
        assert len(read_text(with_tokenizer(tmp_path, content, kind, stops(one_token, start=""))).stop_tokens) == 1


def test_a_stop_sequence_of_ids_is_refused(tmp_path):
    plan, metadata = make_plan(tmp_path), LlmMetadata()
    metadata.stop_tokens.add().token_ids.ids.extend([7, 8])
    bundle = with_tokenizer(tmp_path, plan.tokenizer.payload, plan.tokenizer.kind, metadata)
    with pytest.raises(BundleError, match=r"stop token \[7, 8\] is 2 tokens long"):
        read_text(bundle)


def test_no_start_token_is_none(tmp_path):
    tokenizer = make_plan(tmp_path).tokenizer
    text = read_text(with_tokenizer(tmp_path, tokenizer.payload, tokenizer.kind, LlmMetadata(max_num_tokens=60)))
    assert (text.start_token, text.stop_tokens) == (None, frozenset())
    assert text.raw_prompt("") == []


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (TokenizerKind.SENTENCEPIECE, b"\x0a\xff\xff\xff"),
        (TokenizerKind.SENTENCEPIECE, b"no model"),
        (TokenizerKind.HUGGING_FACE, pack_hugging_face(b"{}")),
        (TokenizerKind.HUGGING_FACE, pack_hugging_face(b"\xff\x00")),
        (TokenizerKind.HUGGING_FACE, b"\x01" * 40),
        (TokenizerKind.HUGGING_FACE, b"short"),
    ],
)
def test_a_damaged_tokenizer_is_named(tmp_path, kind, content):
    with pytest.raises(BundleError, match=r"made\.litertlm: the tokenizer is damaged \(.*\); download or export"):
        read_text(with_tokenizer(tmp_path, content, kind))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("LlmMetadataProto", "has no LlmMetadata, which names its stop"),
        ("HF_Tokenizer_Zlib", "has no tokenizer"),
    ],
)
def test_missing_parts_are_named(int8, kind, message):
    sections = tuple(section for section in int8.sections if section.data_type != kind)
    assert len(sections) + 1 == len(int8.sections)
    with pytest.raises(BundleError, match=rf"{message}.*; it cannot be run"):
        read_text(replace(int8, sections=sections))
