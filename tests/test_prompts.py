"""Prompt suites: what is read, and that every refusal names file and line."""

import hashlib
import json
from pathlib import Path

import pytest

from edge_mtp.errors import EdgeMtpError
from edge_mtp.prompts import Prompt, read_suites, shipped_suites

GOOD = '{"id": "a", "prompt": "What is it?"}'


@pytest.fixture
def suite(tmp_path):
    """Writes a file of lines and reads it."""

    def read(*lines: str, most: int | None = None, name: str = "talk.jsonl"):
        path = tmp_path / name
        path.write_text("\n".join(lines), encoding="utf-8")
        (found,) = read_suites([path], most)
        return found

    return read


def test_a_suite(suite, tmp_path):
    found = suite(GOOD, "", '  {"id": "b", "prompt": "Hm?", "system": "Be brief."}  ', "")
    assert (found.name, found.path) == ("talk", tmp_path / "talk.jsonl")
    assert found.sha256 == hashlib.sha256(found.path.read_bytes()).hexdigest()
    assert found.prompts == (Prompt("talk", "a", "What is it?"), Prompt("talk", "b", "Hm?", "Be brief."))


def test_messages(suite):
    first, second = suite(GOOD, '{"id": "b", "prompt": "Hm?", "system": "Be brief."}').prompts
    assert first.messages == [{"role": "user", "content": "What is it?"}]
    assert second.messages == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hm?"}]


@pytest.mark.parametrize(("most", "expected"), [(None, "abc"), (1, "a"), (2, "ab"), (9, "abc")])
def test_only_the_first(suite, most, expected):
    lines = [json.dumps({"id": letter, "prompt": letter}) for letter in "abc"]
    assert "".join(prompt.id for prompt in suite(*lines, most=most).prompts) == expected


def test_lines_end_with_line_feeds_alone(suite):
    """U+2028 and U+0085 end a line for `str.splitlines`, and may stand in a JSON text as they are."""
    text = "first\u2028second\u0085third"
    found = suite(json.dumps({"id": "a", "prompt": text}, ensure_ascii=False) + "\r", GOOD.replace('"a"', '"b"'))
    assert [prompt.text for prompt in found.prompts] == [text, "What is it?"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ("what is it?", "not JSON"),
        ('["a", "b"]', "a list, expected an object with id and prompt"),
        ("null", "a NoneType, expected an object"),
        ('{"id": "b"}', "missing ['prompt']"),
        ('{"prompt": "b"}', "missing ['id']"),
        ('{"id": "b", "prompt": "x", "promt": "y"}', "unknown keys ['promt']"),
        ('{"id": 1, "prompt": "x"}', "not a text ['id']"),
        ('{"id": "b", "prompt": ""}', "not a text ['prompt']"),
        ('{"id": "b", "prompt": "x", "system": null}', "not a text ['system']"),
        ('{"id": "b", "prompt": "half a pair: \\ud800"}', "not a text ['prompt']"),
        (GOOD, "id 'a' was used before; give each prompt its own"),
    ],
)
def test_refused_with_file_and_line(suite, tmp_path, line, message):
    with pytest.raises(EdgeMtpError) as caught:
        suite(GOOD, "", line)
    assert str(caught.value).startswith(f"{tmp_path / 'talk.jsonl'}, line 3: ")
    assert message in str(caught.value)


@pytest.mark.parametrize("lines", [(), ("", "  ", "\t")])
def test_an_empty_file(suite, tmp_path, lines):
    with pytest.raises(EdgeMtpError, match="holds no prompts; write one JSON object a line") as caught:
        suite(*lines)
    assert str(tmp_path / "talk.jsonl") in str(caught.value)


def test_a_file_that_is_not_text(tmp_path):
    path = tmp_path / "talk.jsonl"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EdgeMtpError, match=r"cannot read prompts from .*talk\.jsonl: .*expected JSON Lines in UTF-8"):
        read_suites([path])


def test_two_files_of_one_name(tmp_path):
    paths = [tmp_path / folder / "talk.jsonl" for folder in ("one", "two")]
    for path in paths:
        path.parent.mkdir()
        path.write_text(GOOD)
    with pytest.raises(EdgeMtpError) as caught:
        read_suites(paths)
    assert str(caught.value) == f"{paths[1]} and {paths[0]} are both suite 'talk'; rename one"
    other = paths[1].rename(paths[1].with_name("other.jsonl"))
    assert [suite.name for suite in read_suites([paths[0], other])] == ["talk", "other"]


def test_the_shipped_suites_are_sound():
    suites = read_suites(shipped_suites())
    assert {suite.name for suite in suites} == {"chat", "code", "creative", "extract", "summarize", "toolcall"}
    assert all(len(suite.prompts) == 24 for suite in suites)
    ids = [prompt.id for suite in suites for prompt in suite.prompts]
    assert len(set(ids)) == len(ids)


def test_shipped_suites_of_an_installed_package_come_first(monkeypatch, tmp_path):
    package = tmp_path / "edge_mtp"
    (package / "prompts").mkdir(parents=True)
    (package / "prompts" / "own.jsonl").write_text(GOOD)
    monkeypatch.setattr("edge_mtp.prompts.__file__", str(package / "prompts.py"))
    assert shipped_suites() == (package / "prompts" / "own.jsonl",)
    assert Path(shipped_suites()[0]).is_file()
