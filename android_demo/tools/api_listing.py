"""Reads the public API of Android from TypeScript declarations: classes and members, each with its level."""

import re
from dataclasses import dataclass, field
from pathlib import Path

SINCE = re.compile(r"@since (\d+)")
OPEN = re.compile(r"(?:declare|export) (?:abstract )?(module|class) ([\w$]+)")
EXTENDS = re.compile(r" extends ([\w.$]+)")
IMPLEMENTS = re.compile(r" implements ([^{]+)")
GENERIC = re.compile(r"<[^<>]*>")
MEMBER = re.compile(r"public (?:static |abstract )*([\w$]+)(\(|:)")


@dataclass
class ApiClass:
    """A class: level it came in, what it extends, and levels of its members by name and arity (None: a field)."""

    since: int = 1
    parents: list[str] = field(default_factory=list)
    members: dict[tuple[str, int | None], int] = field(default_factory=dict)


def read_listing(path: Path) -> dict[str, ApiClass]:
    """Classes by name with dots, inner ones too (`android.os.Build.VERSION`)."""
    reader = _Reader()
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            reader.line(line.strip())
    return reader.classes


class _Reader:
    def __init__(self) -> None:
        self.classes: dict[str, ApiClass] = {}
        self._scopes: list[tuple[str, ApiClass | None]] = []
        self._since = 1
        self._constructor: list[str] | None = None

    def line(self, line: str) -> None:
        level = SINCE.search(line)
        if line.startswith(("/**", "*")):
            self._since = int(level.group(1)) if level else self._since
            return
        if self._constructor is not None:  # (an implementation object, which is spread over lines)
            self._constructor = None if line.startswith("}") else self._constructor
            return
        opened = OPEN.match(line)
        if opened and line.endswith("{"):
            self._open(opened.group(1), opened.group(2), line)
        elif line == "}":
            self._scopes.pop()
        elif line.startswith("public constructor(implementation: {"):
            self._constructor = []
        elif self._scopes:
            self._member(line)
        self._since = 1

    def _open(self, kind: str, name: str, line: str) -> None:
        full = ".".join([scope for scope, _ in self._scopes] + [name])
        found = None
        if kind == "class":
            found = self.classes.setdefault(full, ApiClass())
            found.since, plain = self._since, line
            while GENERIC.search(plain):
                plain = GENERIC.sub("", plain)
            parent, interfaces = EXTENDS.search(plain), IMPLEMENTS.search(plain)
            found.parents += [parent.group(1)] if parent else []
            found.parents += [one.strip() for one in interfaces.group(1).split(",")] if interfaces else []
        self._scopes.append((name, found))

    def _member(self, line: str) -> None:
        owner, found = self._scopes[-1][1], MEMBER.match(line)
        if owner is None or found is None:
            return
        name, kind = found.groups()
        arity = None if kind == ":" else _arity(line[found.end() :])
        key = ("<init>" if name == "constructor" else name, arity)
        owner.members[key] = min(owner.members.get(key, self._since), self._since)


def _arity(rest: str) -> int:
    """`a: number, b: Map<x,y>): void;` -> 2: commas outside of brackets, up to the closing one."""
    depth, commas, empty = 0, 0, True
    for letter in rest:
        if letter in "(<{[":
            depth += 1
        elif letter in ")>}]":
            if letter == ")" and depth == 0:
                break
            depth -= letter != ">" or depth > 0
        commas += letter == "," and depth == 0
        empty = empty and letter == " "
    return 0 if empty else commas + 1
