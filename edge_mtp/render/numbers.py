"""Figures as a reader wants them: few digits, the unit beside them, tokens whose white space can be seen."""

from math import floor, isfinite, log10
from typing import Any, Final

_SUPERSCRIPTS: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SIGNS: Final = {" ": "␣", "\n": "↵", "\r": "␍", "\t": "⇥", "\u00a0": "⍽"}
_PLAIN: Final = (1e-4, 1e6)
NOT_MEASURED: Final = "not measured"


def figure(value: object) -> str:
    """Any figure of a rung: whole numbers in full, others with four digits that count, text as it is."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    return significant(value, 4) if isinstance(value, float) else str(value)


def significant(value: float, digits: int = 3) -> str:
    """`value` with `digits` digits that count; 1.2 × 10⁻⁵ where plain digits would be many."""
    if not isfinite(value):
        return "not a number" if value != value else "−∞" if value < 0 else "∞"
    if value == 0:
        return "0"
    low, high = _PLAIN
    if low <= abs(value) < high:
        exponent = floor(log10(abs(value)))
        return _minus(_short(f"{value:,.{max(0, digits - 1 - exponent)}f}"))
    mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
    return _minus(_short(mantissa)) + " × " + power_of_ten(int(power))


def fixed(value: float, decimals: int = 2) -> str:
    """`value` with a set number of decimals, as columns of a table want it."""
    return _minus(f"{value:,.{decimals}f}") if isfinite(value) else significant(value)


def power_of_ten(exponent: int) -> str:
    """10⁻³ and its like; 1 and 10 as they are."""
    return str(10**exponent) if exponent in (0, 1) else "10" + str(exponent).translate(_SUPERSCRIPTS)


def count(value: int) -> str:
    """A whole number with its thousands apart."""
    return _minus(f"{value:,}")


def rate(value: float | None) -> str:
    """A share between 0 and 1, three decimals."""
    return NOT_MEASURED if value is None else fixed(value, 3)


def times(value: float | None) -> str:
    """A ratio such as a speed-up."""
    return NOT_MEASURED if value is None else f"{fixed(value)}×"


def optional(value: Any, unit: str = "") -> str:
    """A figure that may not have been measured."""
    return NOT_MEASURED if value is None else f"{figure(value)} {unit}".strip()


def milliseconds(value: float) -> str:
    """A duration in ms."""
    return f"{significant(value)} ms"


def seconds(value: float) -> str:
    """A duration in seconds, from a minute on in minutes."""
    if value < 60 or not isfinite(value):
        return f"{significant(value, 2)} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s"


def moment(value: str) -> str:
    """A date and time in ISO 8601 with a space between the two; any other text as it is."""
    return f"{value[:10]} {value[11:]}" if value[10:11] == "T" else value


def size(value_bytes: int) -> str:
    """Bytes in the largest decimal unit that leaves a whole part."""
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value_bytes >= one:
            return f"{significant(value_bytes / one)} {unit}"
    return f"{value_bytes} bytes"


def between(value: dict[str, float]) -> str:
    """The ends of an interval."""
    return f"{fixed(value['low'])}–{fixed(value['high'])}"


def visible(token: str) -> str:
    """A token's text with blanks and control characters shown as signs, an empty one as ∅."""
    return "".join(_SIGNS.get(sign) or (sign if sign.isprintable() else f"‹{ord(sign):04X}›") for sign in token) or "∅"


def _short(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number


def _minus(number: str) -> str:
    return number.replace("-", "−")
