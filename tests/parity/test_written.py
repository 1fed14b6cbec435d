"""Where LiteRT-LM's text leaves the runner's tokens: special tokens, broken characters, stops and budgets."""

import pytest

from edge_mtp.parity.rungs.engine import first_parting
from edge_mtp.parity.written import Written
from edge_mtp.runner.generate import Finish, Round
from edge_mtp.runner.text import BundleText
from edge_mtp.runner.trace import Trace

PIECES = {1: b"a", 2: b"b", 3: b" c", 4: b"\xe2\x82", 5: b"\xac", 6: b" ", 9: b"", 10: b""}
SPECIAL, STOP = 9, 10
NAMES = {1: "a", 2: "b", 3: "▁c", 4: "<0xE2>", 5: "<0xAC>", 6: "▁", SPECIAL: "<|turn>", STOP: "<turn|>"}


def _decode(tokens) -> str:
    return b"".join(PIECES[token] for token in tokens).decode("utf-8", "replace").removeprefix(" ")


TEXT = BundleText(lambda text: [1], _decode, None, frozenset({STOP}), "", 64)
WRITER = Written(TEXT, NAMES)


def reply(*tokens: int, finish: Finish = Finish.LENGTH) -> Trace:
    rounds = tuple(Round(0, (token,), (1.0,)) for token in tokens[:-1])
    return Trace(1, 0.1, 0.2, (*rounds, Round(0, (tokens[-1],), (1.0,), finish=finish)))


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ((1, 2, 3), ["a", "ab", "ab c"]),
        ((3, 1), ["c", "ca"]),  # a space that a beginning drops
        ((1, 6, 2), ["a", "a ", "a b"]),
        ((1, 4, 5, 2), ["a", "a", "a€", "a€b"]),
        ((1, SPECIAL, 2), ["a", "a<|turn>", "a<|turn>b"]),
        ((1, STOP), ["a", "a"]),
    ],
)
def test_after_each(tokens, expected):
    assert WRITER.after_each(tokens) == expected


def test_special_tokens_have_no_text_without_names():
    assert Written(TEXT, {}).after_each((1, SPECIAL, 2)) == ["a", "a", "ab"]


@pytest.mark.parametrize(("token", "expected"), [(2, "b"), (SPECIAL, "<|turn>"), (STOP, ""), (6, "")])
def test_one_token(token, expected):
    assert WRITER.token(token) == expected


@pytest.mark.parametrize(
    ("tokens", "finish", "text", "at"),
    [
        ((1, 2, 3), Finish.LENGTH, "ab c", None),
        ((1, 2, 3), Finish.LENGTH, "ab cab", None),  # an accepted block that the engine does not cut
        ((1, 2, 3), Finish.LENGTH, "ab", 2),
        ((1, 2, 3), Finish.LENGTH, "aa c", 1),
        ((1, 2, 3), Finish.LENGTH, "", 0),
        ((1, 2, STOP), Finish.STOP, "ab", None),
        ((1, 2, STOP), Finish.STOP, "aba", 2),  # the stop token is what it does not have
        ((1, 2, STOP), Finish.STOP, "a", 1),
        ((1, SPECIAL, 2), Finish.LENGTH, "a<|turn>b", None),
        ((1, SPECIAL, 2), Finish.LENGTH, "ab", 1),
        ((1, 4), Finish.LENGTH, "a", None),  # half a character, which the engine holds back as well
        ((1, 4, 5), Finish.LENGTH, "a", 2),
    ],
)
def test_first_parting(tokens, finish, text, at):
    assert first_parting(WRITER, reply(*tokens, finish=finish), text) == at
