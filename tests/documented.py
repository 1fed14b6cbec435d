"""Whether a report has the schema that its dataclasses declare and its document explains."""

import dataclasses
import types
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints


def classes(*modules: types.ModuleType) -> list[type]:
    """The dataclasses that these modules define."""
    return [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__module__ == module.__name__
    ]


def sections(text: str) -> dict[str, str]:
    """Heading -> what stands under it."""
    parts = text.split("\n## ")[1:]
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in parts}


def undocumented(text: str, kinds: list[type], told_anywhere: tuple[type, ...] = ()) -> list[str]:
    """`Class.field` for every field without a row in its class's table; some classes have none and are only told of."""
    found = sections(text)
    missing = []
    for kind in kinds:
        for field in dataclasses.fields(kind):
            row = f"| `{field.name}` | "
            anywhere = kind in told_anywhere
            told = f"`{field.name}`" in text if anywhere else row in found.get(kind.__name__, "")
            if not told:
                missing.append(f"{kind.__name__}.{field.name}")
    return missing


def wrongly_documented(text: str, kinds: list[type]) -> list[str]:
    """Headings whose rows are not the fields of their class: a row for a field that is gone is as wrong as none."""
    known = {kind.__name__: {field.name for field in dataclasses.fields(kind)} for kind in kinds}
    rows = {
        heading: {line.split("`")[1] for line in part.splitlines() if line.startswith("| `")}
        for heading, part in sections(text).items()
    }
    return [heading for heading in rows if rows[heading] != known.get(heading)]


def faults(kind: Any, value: Any, place: str = "report", nullable: tuple[str, ...] = ()) -> Iterator[str]:
    """Where a JSON value is not what `kind` declares: a missing or unknown key, another type."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        if not isinstance(value, dict) or set(value) != set(hints):
            yield f"{place}: {value if not isinstance(value, dict) else sorted(set(value) ^ set(hints))}"
            return
        for name, hint in hints.items():
            yield from faults(hint, value[name], f"{place}.{name}", nullable)
    elif get_origin(kind) is tuple:
        given = get_args(kind)
        if not isinstance(value, list) or (given[-1] is not Ellipsis and len(value) != len(given)):
            yield f"{place}: {value}"
            return
        for index, inner in enumerate(value):
            hint = given[0] if given[-1] is Ellipsis else given[index]
            yield from faults(hint, inner, f"{place}[{index}]", nullable)
    elif get_origin(kind) in (types.UnionType, Union):
        if all(list(faults(option, value, place, nullable)) for option in get_args(kind)):
            yield f"{place}: {value!r}"
    elif get_origin(kind) is Mapping or kind is Mapping or str(kind).startswith("collections.abc.Mapping"):
        if not isinstance(value, dict) or not all(isinstance(part, str) for pair in value.items() for part in pair):
            yield f"{place}: {value}"
    elif isinstance(kind, type) and issubclass(kind, Enum):
        if value not in list(kind):
            yield f"{place}: {value!r}"
    elif not _is(kind, value) and not (value is None and place.rpartition(".")[2] in nullable):
        yield f"{place}: {value!r} is no {kind}"


def _is(kind: Any, value: Any) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is kind or (kind is types.NoneType and value is None)
