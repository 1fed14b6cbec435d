"""Chat templates for the runtime, which differs from transformers in two ways that Gemma 4's own template meets.

Its engine (minijinja) has few of Python's methods: `message.get('reasoning')` ends the chat with "map has no
method named get". Subscripts say the same there: a missing key is undefined, not an error.
And it hands every message's content over as a list of parts, never as a string: `messages[0]['content'] | trim`
puts the list itself, as JSON, into the system prompt.
Both were seen by running LiteRT-LM 0.18.1.
"""

import re

# Methods that rendered as Python's do when tried; of some thirty others none did.
RUNTIME_METHODS = frozenset(
    {"changed", "cycle", "endswith", "items", "lstrip", "replace", "rstrip", "split", "startswith", "strip"}
)

_STRING = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_TAG = re.compile(r"{{.*?}}|{%.*?%}", re.DOTALL)
_GET = re.compile(rf"\.get\(\s*(?P<key>{_STRING}|\w+)\s*\)")
_PLAIN = rf"{_STRING}|\w+|\[\s*\]|{{\s*}}"
_GET_OR = re.compile(rf"\.get\(\s*(?P<key>{_STRING}|\w+)\s*,\s*(?P<default>{_PLAIN})\s*\)(?!\s*[.\[(])")
_METHOD = re.compile(r"\.(\w+)\(")
_TRIMMED = re.compile(r"(?P<content>\b\w+(?:\[\w+\])?(?:\[(?:'content'|\"content\")\]|\.content\b))\s*\|\s*trim\b")


def runtime_template(template: str) -> str:
    """template -> one that renders in the runtime what `template` renders in transformers.

    `x.get(k)` becomes `x[k]`, `x.get(k, d)` becomes `x[k] | default(d)`, and content that is trimmed as if it were
    a string is first joined from its parts where it is none.
    """
    return _TAG.sub(lambda tag: _without_get(_joining_parts(tag.group())), template)


def missing_methods(template: str) -> tuple[str, ...]:
    """Methods that `template` calls inside its tags and the runtime does not have, in order of the alphabet."""
    called = {name for tag in _TAG.findall(template) for name in _METHOD.findall(_without_strings(tag))}
    return tuple(sorted(called - RUNTIME_METHODS))


def _joining_parts(tag: str) -> str:
    return _TRIMMED.sub(
        r"(\g<content> if \g<content> is string else \g<content> | map(attribute='text') | join) | trim", tag
    )


def _without_get(tag: str) -> str:
    with_default = _GET_OR.sub(r"[\g<key>] | default(\g<default>)", tag)
    return _GET.sub(r"[\g<key>]", with_default)


def _without_strings(tag: str) -> str:
    """`tag` with its string literals emptied, so that their text is not taken for code."""
    return re.sub(_STRING, "''", tag)
