"""Strict reading of a TOML file: every refusal names the file and the key, and the nearest right one."""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from edge_mtp.errors import RecipeError

Choice = TypeVar("Choice", bound=str | int)
Value = TypeVar("Value")
Schema = Mapping[str, Sequence[str]]
"""The known keys by table title; the file's top is titled ""."""


@dataclass(frozen=True)
class TomlTable:
    """A TOML table without unknown keys; `title`, e.g. `[lengths]`, locates it in messages."""

    path: Path
    title: str
    values: Mapping[str, Any]

    def refusal(self, key: str, needed: str) -> RecipeError:
        """The error for `key`: what the file has there and what is needed."""
        where = f"{self.title} {key}".strip()
        found = f"is {self.values[key]!r}" if key in self.values else "is missing"
        return RecipeError(f"{self.path}: {where} {found}; needed: {needed}")

    def typed(self, key: str, kind: type[Value], needed: str) -> Value:
        """The value of `key`, an instance of `kind` itself (so that true is no integer)."""
        value = self.values.get(key)
        if type(value) is not kind:
            raise self.refusal(key, needed)
        return value

    def text(self, key: str) -> str:
        """The string under `key`, not empty."""
        value = self.typed(key, str, "a string")
        if not value.strip():
            raise self.refusal(key, "a string that is not empty")
        return value

    def positive(self, key: str) -> int:
        """The integer of 1 or more under `key`."""
        value = self.typed(key, int, "an integer of 1 or more")
        if value < 1:
            raise self.refusal(key, "an integer of 1 or more")
        return value

    def choice(self, key: str, options: tuple[Choice, ...]) -> Choice:
        """The value under `key`, one of `options`."""
        found = self.values.get(key)
        for option in options:
            if type(found) is type(option) and found == option:
                return option
        named = [str(option) for option in options]
        raise self.refusal(key, f"one of {', '.join(named)}{did_you_mean(str(found), named)}")


def read_toml(path: Path) -> tuple[bytes, dict[str, Any]]:
    """Bytes and values of the TOML file at `path`."""
    try:
        raw = path.read_bytes()
        return raw, tomllib.loads(raw.decode("utf-8"))
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read ({error.strerror}); give the path of a recipe file") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: is not UTF-8 text ({error.reason}); give the path of a TOML file") from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: is not valid TOML: {error}") from None


def open_table(path: Path, schema: Schema, title: str, values: Mapping[str, Any], number: int = 0) -> TomlTable:
    """The table `title` of `schema`; RecipeError at an unknown key. `number` counts rules from 1."""
    numbered = f"{title} rule {number}" if number else title
    for key in values:
        if key not in schema[title]:
            raise RecipeError(f"{path}: unknown key {f'{numbered} {key}'.strip()}{_nearest_key(schema, title, key)}")
    return TomlTable(path, numbered, values)


def did_you_mean(found: str, known: Sequence[str]) -> str:
    """The end of a message that offers the one of `known` nearest to `found`; empty where none is near."""
    nearest = difflib.get_close_matches(found, known, n=1)
    return f'; did you mean "{nearest[0]}"?' if nearest else ""


def _nearest_key(schema: Schema, title: str, key: str) -> str:
    """The right key next to `key`: the same in another table, then the nearest here, then elsewhere."""
    homes = {known: other for other, keys in schema.items() for known in keys}
    here = did_you_mean(key, schema[title])
    if here and key not in homes:
        return here
    nearest = difflib.get_close_matches(key, homes, n=1)
    if nearest:
        return f'; did you mean "{nearest[0]}", which belongs {_place(homes[nearest[0]])}?'
    return f"; known {_place(title)}: {', '.join(schema[title])}"


def _place(title: str) -> str:
    return f"in {title}" if title else "at the top of the file"
