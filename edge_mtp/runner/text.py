"""Text in, text out: a bundle's tokenizer, chat template and stop tokens, without torch.

Templates are rendered as transformers does (jinja2, sandboxed, blocks trimmed, loop controls). LiteRT-LM puts the start
token before a conversation itself, so the template's own `bos_token` is rendered as nothing and its id is put before
the first turn.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import sentencepiece
from jinja2 import TemplateError, TemplateRuntimeError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from edge_mtp.bundle.border import refusing_garbage
from edge_mtp.bundle.reader import TOKENIZER_KINDS, Bundle
from edge_mtp.bundle.tokenizer import TokenizerKind, unpack_hugging_face
from edge_mtp.errors import BundleError

Message = Mapping[str, str]
"""A turn: `role` (system, user, assistant) and `content`."""

INCOMPLETE: Final = "�"
"""What bytes that are no whole character decode to."""


@dataclass(frozen=True)
class BundleText:
    """A bundle's text format. `encode` adds no special tokens; `decode` leaves special tokens out."""

    encode: Callable[[str], list[int]]
    decode: Callable[[Sequence[int]], str]
    start_token: int | None
    stop_tokens: frozenset[int]
    template: str
    context_tokens: int

    def raw_prompt(self, text: str) -> list[int]:
        """`text` as it is, behind the start token."""
        return [*self._start, *self.encode(text)]

    def chat_prompt(self, messages: Sequence[Message]) -> list[int]:
        """A whole conversation up to where the model answers, behind the start token."""
        return [*self._start, *self.encode(self.render(messages))]

    def render(self, messages: Sequence[Message]) -> str:
        """The conversation as the bundle's template writes it, ready for the model's turn."""
        if not self.template:
            raise BundleError("the bundle has no chat template; give a raw prompt, without --chat")
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = _refuse
        parts = [{**message, "content": [{"type": "text", "text": message["content"]}]} for message in messages]
        try:
            template = environment.from_string(self.template)
            return template.render(messages=parts, add_generation_prompt=True, bos_token="")
        except (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise BundleError(
                f"the bundle's chat template cannot render this conversation ({error}); export the bundle with another "
                "template, or run without --chat"
            ) from None

    @property
    def _start(self) -> list[int]:
        return [] if self.start_token is None else [self.start_token]


def read_text(bundle: Bundle) -> BundleText:
    """Text format of `bundle`; BundleError where tokenizer or LlmMetadata is missing, damaged, or not of one token."""
    metadata = bundle.llm_metadata()
    if metadata is None:
        raise BundleError(
            f"{bundle.path} has no LlmMetadata, which names its stop tokens; it cannot be run (export it again)"
        )
    codec = _codec(bundle)
    start = _single(metadata.start_token, codec, "start token") if metadata.HasField("start_token") else None
    stops = {_single(entry, codec, "stop token") for entry in metadata.stop_tokens}
    return BundleText(
        encode=codec.encode,
        decode=codec.decode,
        start_token=start,
        stop_tokens=frozenset(token for token in stops if token is not None),
        template=metadata.jinja_prompt_template,
        context_tokens=metadata.max_num_tokens,
    )


class Detokenizer:
    """Turns tokens into text piece by piece, holding back characters whose bytes are not all there yet.

    How a token is written depends on the one before (a byte of a character, a space that a beginning drops), so new
    tokens are decoded behind the piece shown last, which is whole.
    """

    def __init__(self, text: BundleText) -> None:
        self._decode = text.decode
        self._stops = text.stop_tokens
        self._tokens: list[int] = []  # those of the piece shown last, then those not shown yet
        self._shown_tokens = 0
        self._shown = ""

    def add(self, tokens: Sequence[int]) -> str:
        """The text that `tokens` complete; stop tokens have none."""
        self._tokens += [token for token in tokens if token not in self._stops]
        whole = self._decode(self._tokens)
        return "" if whole.endswith(INCOMPLETE) else self._show(whole)

    def finish(self) -> str:
        """What was held back, as it is."""
        return self._show(self._decode(self._tokens))

    def _show(self, whole: str) -> str:
        """The new part of `whole`, whose tokens are then the piece shown last if they have any text on their own."""
        new = whole[len(self._shown) :]
        fresh = self._tokens[self._shown_tokens :]
        self._shown = whole
        if piece := self._decode(fresh):
            self._tokens, self._shown = fresh, piece
        self._shown_tokens = len(self._tokens)
        return new


@dataclass(frozen=True)
class _Codec:
    """A tokenizer: `token_id` is the id of a text that is one token, None where it is not."""

    encode: Callable[[str], list[int]]
    decode: Callable[[Sequence[int]], str]
    token_id: Callable[[str], int | None]


def _codec(bundle: Bundle) -> _Codec:
    """The bundle's tokenizer; BundleError where it has none or it is damaged."""
    section = next((one for one in bundle.sections if one.data_type in TOKENIZER_KINDS), None)
    if section is None:
        raise BundleError(f"{bundle.path} has no tokenizer; it cannot be run (export it again)")
    content = bytes(bundle.section_bytes(section))
    with refusing_garbage(f"{bundle.path}: the tokenizer"):
        if TOKENIZER_KINDS[section.data_type] is TokenizerKind.SENTENCEPIECE:
            return _sentencepiece_codec(content)
        return _hugging_face_codec(unpack_hugging_face(content))


def _hugging_face_codec(content: bytes) -> _Codec:
    """ValueError where `content` is no tokenizer.json."""
    try:
        tokenizer = Tokenizer.from_buffer(content)
    except Exception as error:  # (the Rust binding raises nothing narrower)
        raise ValueError(str(error)) from error

    def encode(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(tokens: Sequence[int]) -> str:
        return str(tokenizer.decode(list(tokens), skip_special_tokens=True))

    return _Codec(encode, decode, tokenizer.token_to_id)


def _sentencepiece_codec(content: bytes) -> _Codec:
    """ValueError where `content` is no SentencePiece model."""
    try:
        processor: Any = sentencepiece.SentencePieceProcessor(model_proto=content)
    except RuntimeError as error:
        raise ValueError(str(error)) from error

    def encode(text: str) -> list[int]:
        return list(processor.encode(text))

    def decode(tokens: Sequence[int]) -> str:
        return str(processor.decode([token for token in tokens if not processor.is_control(token)]))

    def token_id(text: str) -> int | None:
        found = int(processor.piece_to_id(text))
        return None if found == processor.unk_id() else found

    return _Codec(encode, decode, token_id)


def _single(entry: Any, codec: _Codec, what: str) -> int | None:
    """The id of a TokenUnion, None where it is empty; read as LiteRT-LM does (runtime/engine/engine_settings.cc)."""
    ids = list(entry.token_ids.ids)
    if not ids and entry.token_str:
        known = codec.token_id(entry.token_str)
        ids = codec.encode(entry.token_str) if known is None else [known]
    if len(ids) > 1:
        raise BundleError(
            f"the bundle's {what} {entry.token_str or ids!r} is {len(ids)} tokens long; this runner takes single "
            "tokens only. Run the bundle with --engine"
        )
    return ids[0] if ids else None


def _refuse(message: str) -> NoReturn:
    """`raise_exception` of a template."""
    raise TemplateRuntimeError(message)
