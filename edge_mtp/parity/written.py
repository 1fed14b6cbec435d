"""Tokens as LiteRT-LM writes them, so that its text can be held against a reply of the runner.

To a raw prompt LiteRT-LM 0.18.1 answers with a Hugging Face tokenizer's special tokens spelt out (run with the tiny
pair, which once went on with `<bos><|turn>model`), where `BundleText.decode` leaves them out. It never writes a stop
token.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_mtp.bundle.contents import Contents
from edge_mtp.bundle.tokenizer import TokenizerKind
from edge_mtp.runner.text import INCOMPLETE, BundleText


@dataclass(frozen=True)
class Written:
    """`names` spells tokens by id; empty where special tokens have no text."""

    text: BundleText
    names: Mapping[int, str]

    def after_each(self, tokens: Sequence[int]) -> list[str]:
        """The text behind each of tokens [n] -> [n]; characters whose bytes are not all there yet are left out."""
        texts, written, shown, plain = [], "", "", list[int]()
        for token in tokens:
            if self._special(token):
                written += self.names[token]
            elif token not in self.text.stop_tokens:
                plain.append(token)
                whole = self.text.decode(plain).rstrip(INCOMPLETE)
                written, shown = written + whole[len(shown) :], whole
            texts.append(written)
        return texts

    def token(self, token: int) -> str:
        """The text of one token, empty for a stop token."""
        return self.names[token] if self._special(token) else self.text.decode([token])

    def _special(self, token: int) -> bool:
        """Whether `token` has a name that decoding leaves out; a lone space has none at a text's beginning only."""
        if token in self.text.stop_tokens or token not in self.names:
            return False
        letter = self.text.encode("a")
        return self.text.decode([token]) == "" and self.text.decode([*letter, token]) == self.text.decode(letter)


def written_by(contents: Contents, text: BundleText) -> Written:
    """How the engine writes the bundle's tokens."""
    spelt = contents.tokenizer_kind is TokenizerKind.HUGGING_FACE
    return Written(text, {token: name for name, token in contents.tokens.items()} if spelt else {})
