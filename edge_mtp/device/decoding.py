"""JSON objects to frozen dataclasses: types are checked, what nobody knows is kept, `null` is refused.

A dataclass says by its annotations what it takes: `X | None = None` may be absent, `Literal` lists the words,
`tuple[X, ...]` is a list, `Mapping` any object. Numbers are not negative unless `SIGNED` names their field.
"""

import dataclasses
import types
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Value = TypeVar("Value")

EXTRA: Final = "extra"
"""The field that takes keys which the dataclass does not know."""
SIGNED: Final = frozenset({"battery_current_raw", "battery_current_ua", "battery_temp_c", "ambient_c", "idle_ua"})
LARGEST: Final = 2.0**63
LIMITS: Final = {
    **dict.fromkeys(("thermal", "thermal_start", "thermal_end", "max_thermal"), 3),
    **dict.fromkeys(("battery_level", "battery_level_start", "battery_level_end", "min_battery_level"), 1),
    **dict.fromkeys(("non_nominal_fraction", "acceptance_rate", "brightness"), 1),
}
"""The largest value of fields that have one."""

_NAMES: Final = {int: "an integer", float: "a number", str: "a text", bool: "true or false"}


class DecodeError(ValueError):
    """A JSON value is not what a record needs; says which key, what was found and what was needed."""


def decode(kind: type[Value], values: Mapping[str, Any], skip: frozenset[str] = frozenset()) -> Value:
    """The object as a `kind`; keys in `skip` belong to nobody and are dropped. DecodeError where it does not fit."""
    assert dataclasses.is_dataclass(kind)
    known: dict[str, Any] = {}
    for name, (hint, required) in _fields(kind).items():
        if name in values:
            known[name] = _value(name, hint, values[name])
        elif required:
            raise DecodeError(f"`{name}` is missing")
    extra = {key: value for key, value in values.items() if key not in _fields(kind) and key not in skip}
    return kind(**known, **{EXTRA: extra})


@cache
def _fields(kind: type) -> dict[str, tuple[Any, bool]]:
    """Name -> (annotation without None, whether the key has to be there)."""
    hints = get_type_hints(kind)
    return {
        field.name: (_present(hints[field.name]), field.default is dataclasses.MISSING)
        for field in dataclasses.fields(kind)
        if field.name != EXTRA
    }


def _present(hint: Any) -> Any:
    if get_origin(hint) in (types.UnionType, Union):
        (inner,) = (option for option in get_args(hint) if option is not types.NoneType)
        return inner
    return hint


def _value(name: str, hint: Any, value: Any) -> Any:
    origin = get_origin(hint)
    if hint is Any:
        return value
    if origin is Literal:
        return _literal(name, get_args(hint), value)
    if origin is tuple:
        return _list(name, get_args(hint)[0], value)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _object(name, hint, value)
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(name, get_args(hint)[1], value)
    return _plain(name, hint, value)


def _literal(name: str, options: tuple[Any, ...], value: Any) -> Any:
    if value not in options or isinstance(value, bool) != isinstance(options[0], bool):
        raise _refusal(name, value, f"one of {', '.join(map(str, options))}")
    return value


def _list(name: str, inner: Any, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _refusal(name, value, "a list")
    return tuple(_value(f"{name}[{index}]", inner, one) for index, one in enumerate(value))


def _object(name: str, kind: type, value: Any) -> Any:
    if not isinstance(value, dict):
        raise _refusal(name, value, "an object")
    try:
        return decode(kind, value)
    except DecodeError as error:
        raise DecodeError(f"in `{name}`: {error}") from None


def _mapping(name: str, inner: Any, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _refusal(name, value, "an object")
    return {key: _value(f"{name}.{key}", inner, one) for key, one in value.items()}


def _plain(name: str, kind: type, value: Any) -> Any:
    """An int, float, str or bool; whole numbers do for float and, since JSON knows one kind of number, for int."""
    fits = type(value) is kind or (kind is float and type(value) is int)
    if kind is int and type(value) is float and value.is_integer():
        value, fits = int(value), True
    if not fits:
        raise _refusal(name, value, _NAMES[kind])
    if kind in (int, float):
        if not abs(value) < LARGEST:  # neither infinite nor NaN
            raise _refusal(name, value, "a number below 2^63")
        if value < 0 and name.split("[")[0] not in SIGNED:
            raise _refusal(name, value, "a number that is not negative")
        if value > LIMITS.get(name, LARGEST):
            raise _refusal(name, value, f"a number up to {LIMITS[name]}")
    return float(value) if kind is float else value


def _refusal(name: str, value: Any, needed: str) -> DecodeError:
    shown = "null" if value is None else repr(value)
    return DecodeError(f"`{name}` is {shown if len(shown) <= 40 else shown[:37] + '…'}, needed {needed}")
