"""Chat templates for the runtime, whose template engine (minijinja) has few of Python's methods.

Gemma 4's own template calls `message.get('reasoning')`, which the engine refuses with "map has no method
named get" in the middle of a chat. Subscripts say the same there: a missing key is undefined, not an error.
"""

import re

# Methods that rendered as Python's do when tried in LiteRT-LM 0.18.1; of some forty others all failed.
RUNTIME_METHODS = frozenset(
    {"changed", "cycle", "endswith", "items", "lstrip", "replace", "rstrip", "split", "startswith", "strip"}
)

_STRING = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_TAG = re.compile(r"{{.*?}}|{%.*?%}", re.DOTALL)
_GET = re.compile(rf"\.get\(\s*(?P<key>{_STRING}|\w+)\s*\)")
_PLAIN = rf"{_STRING}|\w+|\[\s*\]|{{\s*}}"
_GET_OR = re.compile(rf"\.get\(\s*(?P<key>{_STRING}|\w+)\s*,\s*(?P<default>{_PLAIN})\s*\)(?!\s*[.\[(])")
_METHOD = re.compile(r"\.(\w+)\(")


def runtime_template(template: str) -> str:
    """template -> the same text for the runtime: `x.get(k)` as `x[k]`, `x.get(k, d)` as `x[k] | default(d)`."""
    return _TAG.sub(lambda tag: _without_get(tag.group()), template)


def missing_methods(template: str) -> tuple[str, ...]:
    """Methods that `template` calls inside its tags and the runtime does not have, in order of the alphabet."""
    called = {name for tag in _TAG.findall(template) for name in _METHOD.findall(_without_strings(tag))}
    return tuple(sorted(called - RUNTIME_METHODS))


def _without_get(tag: str) -> str:
    with_default = _GET_OR.sub(r"[\g<key>] | default(\g<default>)", tag)
    return _GET.sub(r"[\g<key>]", with_default)


def _without_strings(tag: str) -> str:
    """`tag` with its string literals emptied, so that their text is not taken for code."""
    return re.sub(_STRING, "''", tag)
