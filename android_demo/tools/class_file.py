"""Reads what a class file refers to, from its constant pool (The Java Virtual Machine Specification, chapter 4)."""

import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

UTF8, CLASS, STRING, FIELD, METHOD, INTERFACE_METHOD, NAME_AND_TYPE = 1, 7, 8, 9, 10, 11, 12
SIZES = {3: 4, 4: 4, 5: 8, 6: 8, CLASS: 2, STRING: 2, FIELD: 4, METHOD: 4, INTERFACE_METHOD: 4, NAME_AND_TYPE: 4,
         15: 3, 16: 2, 17: 4, 18: 4, 19: 2, 20: 2}  # fmt: skip
LONG, DOUBLE = 5, 6


@dataclass(frozen=True)
class Reference:
    """A member of another class: names with dots, inner classes behind `$`; `arity` is None for a field."""

    owner: str
    name: str
    arity: int | None


@dataclass(frozen=True)
class ClassFile:
    """A class, what it extends, and what it refers to."""

    name: str
    parents: tuple[str, ...]
    classes: frozenset[str]
    references: frozenset[Reference]


def read_jar(path: Path) -> dict[str, ClassFile]:
    """Classes in a jar by name."""
    with zipfile.ZipFile(path) as jar:
        found = [read_class(jar.read(name)) for name in jar.namelist() if name.endswith(".class")]
    return {one.name: one for one in found}


def read_class(data: bytes) -> ClassFile:
    """One class file."""
    pool, position = _pool(data)
    _, this, parent, count = struct.unpack_from(">4H", data, position)
    interfaces = struct.unpack_from(f">{count}H", data, position + 8)
    names = _Names(pool)
    classes = {names.class_name(index) for index, (tag, _) in pool.items() if tag == CLASS}
    parents = tuple(names.class_name(index) for index in (parent, *interfaces) if index)
    return ClassFile(names.class_name(this), parents, frozenset(classes), frozenset(names.references()))


def _pool(data: bytes) -> tuple[dict[int, tuple[int, bytes]], int]:
    pool: dict[int, tuple[int, bytes]] = {}
    count = struct.unpack_from(">H", data, 8)[0]
    position, index = 10, 1
    while index < count:
        tag = data[position]
        size = 2 + struct.unpack_from(">H", data, position + 1)[0] if tag == UTF8 else SIZES[tag]
        pool[index] = (tag, data[position + 1 : position + 1 + size])
        position += 1 + size
        index += 2 if tag in (LONG, DOUBLE) else 1
    return pool, position


@dataclass(frozen=True)
class _Names:
    pool: dict[int, tuple[int, bytes]]

    def text(self, index: int) -> str:
        return self.pool[index][1][2:].decode("utf-8", errors="replace")

    def class_name(self, index: int) -> str:
        """With dots; an array's element type."""
        name = self.text(struct.unpack(">H", self.pool[index][1])[0]).lstrip("[")
        if name.startswith("L") and name.endswith(";"):
            name = name[1:-1]
        return name.replace("/", ".")

    def references(self) -> Iterator[Reference]:
        for tag, content in self.pool.values():
            if tag in (FIELD, METHOD, INTERFACE_METHOD):
                owner, member = struct.unpack(">2H", content)
                name, kind = struct.unpack(">2H", self.pool[member][1])
                arity = None if tag == FIELD else _arity(self.text(kind))
                yield Reference(self.class_name(owner), self.text(name), arity)


def _arity(descriptor: str) -> int:
    """`(ILjava/lang/String;[J)V` -> 3."""
    parameters, count, position = descriptor[1 : descriptor.index(")")], 0, 0
    while position < len(parameters):
        while parameters[position] == "[":
            position += 1
        position = parameters.index(";", position) + 1 if parameters[position] == "L" else position + 1
        count += 1
    return count
