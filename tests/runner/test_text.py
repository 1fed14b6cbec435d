"""Text to tokens and back, as the stock engine and transformers do it."""

import json
import subprocess
import sys
from dataclasses import replace
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from edge_mtp.bundle.reader import Bundle
from edge_mtp.errors import BundleError
from edge_mtp.runner.text import BundleText
from tests.conftest import TINY
from tests.runner.pieces import SIZES, cut, one_by_one, pieces

SYSTEM = {"role": "system", "content": "Answer in one line."}
TURNS = [
    {"role": "user", "content": "  What is `os.lockf`? "},
    {"role": "assistant", "content": "A call.\n"},
    {"role": "user", "content": "And € or 日本?"},
]
TALKS = {"one turn": TURNS[:1], "system": [SYSTEM, *TURNS[:1]], "two turns": TURNS, "all": [SYSTEM, *TURNS]}
TEXTS = ["Héllo, €uro!", "日本 😀😀", "  two  spaces\n\n\ttab", "<|turn>user\nx<turn|>", "def f(x):\n    return x", ""]

ASK_THE_ENGINE = """
import json, sys
from litert_lm import Backend, Engine, LogSeverity, set_min_log_severity

set_min_log_severity(LogSeverity.ERROR)
path, talks, texts = sys.argv[1], *map(json.loads, sys.argv[2:])
engine = Engine(path, backend=Backend.CPU(thread_count=1), cache_dir=":nocache")
rendered = []
for talk in talks:
    system = talk.pop(0)["content"] if talk[0]["role"] == "system" else None
    conversation = engine.create_conversation(system_message=system, messages=talk[:-1])
    rendered.append(conversation.render_message_to_string(talk[-1]["content"]))
    conversation.close()
ids = [engine.tokenize(text) for text in texts]
print(json.dumps({"rendered": rendered, "ids": ids, "start": engine.bos_token_id, "stops": engine.eos_token_ids}))
"""


def ask_the_engine(bundle: Bundle) -> dict[str, object]:
    """The engine's renderings of TALKS, tokens of TEXTS, start token and stop tokens, in a process of its own."""
    arguments = [str(bundle.path), json.dumps(list(TALKS.values())), json.dumps(TEXTS)]
    done = subprocess.run([sys.executable, "-c", ASK_THE_ENGINE, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def engine(int8):
    return ask_the_engine(int8)


@pytest.fixture(scope="module")
def transformers_tokenizer():
    return AutoTokenizer.from_pretrained(TINY / "target")


def test_conversations_are_rendered_as_the_engine_does(text, engine):
    assert [text.render(talk) for talk in TALKS.values()] == engine["rendered"]
    assert len(set(engine["rendered"])) == len(TALKS)


def test_tokens_are_the_engines(text, engine):
    assert [text.encode(one) for one in TEXTS] == engine["ids"]
    assert text.start_token == engine["start"]
    assert {(token,) for token in text.stop_tokens} == set(map(tuple, engine["stops"]))


@pytest.mark.parametrize("talk", TALKS.values(), ids=TALKS)
def test_conversations_are_the_tokens_of_transformers(text, transformers_tokenizer, talk):
    expected = transformers_tokenizer.apply_chat_template(talk, add_generation_prompt=True)["input_ids"]
    assert text.chat_prompt(talk) == expected
    assert text.chat_prompt([*talk[:-1], {**talk[-1], "content": "other"}]) != expected


@pytest.mark.parametrize("one", TEXTS)
def test_raw_prompts_are_the_tokens_of_transformers(text, transformers_tokenizer, one):
    assert text.raw_prompt(one) == transformers_tokenizer("<bos>" + one, add_special_tokens=False)["input_ids"]
    assert text.decode(text.encode(one)) == transformers_tokenizer.decode(text.encode(one), skip_special_tokens=True)


# Templates.


def with_template(text: BundleText, template: str) -> BundleText:
    return replace(text, template=template)


def test_blocks_are_trimmed_and_loops_can_be_left(text):
    template = "{% for m in messages %}\n  {% if loop.first %}\n{% continue %}{% endif %}\n{{ m.role }}\n{% endfor %}"
    assert with_template(text, "{{ bos_token }}" + template).render(TURNS) == "assistant\nuser\n"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ messages[0]['content'] + 'x' }}", "can only concatenate list"),
        ("{{ messages[9]['content'] }}", "no element 9"),
        ("{% if %}", "Expected an expression"),
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ messages.clear() }}", "unsafe"),
        ("{{ ().__class__.__bases__ }}", "unsafe"),
    ],
)
def test_templates_that_fail_say_why(text, template, reason):
    with pytest.raises(BundleError, match=rf"cannot render this conversation \(.*{reason}.*without --chat"):
        with_template(text, template).render(TURNS)


def test_a_bundle_without_a_template_is_named(text):
    with pytest.raises(BundleError, match="the bundle has no chat template; give a raw prompt, without --chat"):
        with_template(text, "").chat_prompt(TURNS)


# Pieces.


WIDE = st.text(st.sampled_from("abc  \n€é日本語😀👩‍👩‍👧�̈"), max_size=30) | st.text(max_size=30)


@settings(max_examples=150, deadline=None)
@given(written=WIDE, sizes=SIZES)
def test_pieces_of_any_text_are_the_text(text, written, sizes):
    tokens = text.encode(written)
    assert "".join(pieces(text, cut(tokens, sizes))) == text.decode(tokens)
    assert "".join(pieces(text, one_by_one(tokens))) == text.decode(tokens)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), sizes=SIZES)
def test_pieces_of_any_tokens_are_their_text(text, data, sizes):
    """Whole characters in bytes, other tokens, and bytes that begin no character between such tokens."""
    byte = {value: text.encode("日€é")[0] - 0xE6 + value for value in range(256)}
    assert text.decode([byte[value] for value in "é€".encode()]) == "é€"
    word = st.integers(400, 1500).map(lambda token: [token])
    character = st.characters(min_codepoint=0x80, exclude_categories=["Cs"]).map(
        lambda sign: [byte[value] for value in sign.encode()]
    )
    stray = st.sampled_from([*range(0x80, 0xC0), *range(0xF8, 0x100)]).map(lambda value: [byte[value]])
    broken = st.tuples(word, stray, stray | st.just([]), word).map(lambda parts: list(chain(*parts)))
    tokens = list(chain(*data.draw(st.lists(word | character | broken, max_size=12))))
    assert "".join(pieces(text, cut(tokens, sizes))) == text.decode(tokens)


def test_characters_in_bytes_come_whole_and_at_once(text):
    tokens = text.encode("a€€b")
    assert len(tokens) == 8
    found = pieces(text, one_by_one(tokens))
    assert [piece for piece in found if piece] == ["a", "€", "€", "b"]
    assert "".join(text.decode([token]) for token in tokens) != "a€€b", "one by one they are no characters"


def test_bytes_that_stay_incomplete_come_at_the_end(text):
    tokens = text.encode("a€")[:-1]
    assert pieces(text, one_by_one(tokens)) == ["a", "", "", "��"]


def test_stop_tokens_have_no_text(text):
    stop = min(text.stop_tokens)
    assert pieces(text, [text.encode("ab"), [stop]]) == ["ab", "", ""]
    assert pieces(text, [[*text.encode("ab"), stop]]) == ["ab", ""]


def test_special_tokens_within_a_reply_have_no_text(text):
    special = text.encode("<|turn>")
    assert len(special) == 1
    tokens = [*text.encode("a b"), *special, *text.encode(" c")]
    assert "".join(pieces(text, one_by_one(tokens))) == text.decode(tokens) == "a b c"
