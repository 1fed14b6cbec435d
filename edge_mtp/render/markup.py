"""HTML and SVG as values: text is escaped where it meets markup, so that nothing from a report can become markup."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

VOID: Final = frozenset({"meta", "br"})
NUMBER: Final = "number"
WIDE: Final = "wide"


class Html(str):
    """Markup that stands as it is; every other string is text."""

    __slots__ = ()


@dataclass(frozen=True)
class Column:
    """A table's column: `note` defines the figure under its heading, `css` is `NUMBER`, `WIDE` or nothing."""

    heading: str
    note: str = ""
    css: str = ""


def text(value: str) -> Html:
    """`value` escaped, unless it is markup already; halves of surrogate pairs and NULs become U+FFFD."""
    if isinstance(value, Html):
        return value
    whole = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return Html(escape(whole.replace("\0", "\ufffd")))


def join(parts: Iterable[str], separator: str = "") -> Html:
    """The parts one after another, each escaped where it is text."""
    return Html(text(separator).join(text(part) for part in parts))


def tag(name: str, /, *children: str, **attributes: str | float) -> Html:
    """An element; `name` may carry classes (`p.lead.muted`), `_` in an attribute's name is written `-`."""
    element, *classes = name.split(".")
    if classes:
        attributes = {"class": " ".join(classes), **attributes}
    opening = "".join(f' {key.replace("_", "-")}="{text(_value(value))}"' for key, value in attributes.items())
    if element in VOID:
        return Html(f"<{element}{opening}>")
    return Html(f"<{element}{opening}>{join(children)}</{element}>")


def prose(message: str) -> Html:
    """A message's text, with what stands between backticks as code."""
    pieces = message.split("`")
    if len(pieces) % 2 == 0:
        return text(message)
    return join(tag("code", piece) if index % 2 else piece for index, piece in enumerate(pieces))


def table(caption: str, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> Html:
    """A table whose first column names the rows, in a box of its own that scrolls where the screen is narrow."""
    head = tag("tr", *(_heading(column) for column in columns))
    body = [tag("tr", *map(_cell, columns, row, range(len(columns)))) for row in rows]
    whole = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body))
    return tag("div.scroll", whole, role="region", aria_label=caption, tabindex="0")


def definitions(pairs: Iterable[tuple[str, str]], css: str = "facts") -> Html:
    """Terms with what they are."""
    return tag(f"dl.{css}", *(tag("div", tag("dt", term), tag("dd", value)) for term, value in pairs))


def folded(summary: str, *children: str) -> Html:
    """Something that is shown on demand, without a script."""
    return tag("details", tag("summary", summary), *children)


def section(anchor: str, heading: str, *children: str) -> Html:
    """A part of the page that the contents can lead to."""
    return tag("section", tag("h2", heading), *children, id=anchor)


def _heading(column: Column) -> Html:
    note = [tag("small", column.note)] if column.note else []
    return tag(_with_css("th", column), column.heading, *note, scope="col")


def _cell(column: Column, content: str, index: int) -> Html:
    if index == 0:
        return tag(_with_css("th", column), content, scope="row")
    return tag(_with_css("td", column), content)


def _with_css(name: str, column: Column) -> str:
    return f"{name}.{column.css}" if column.css else name


def _value(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
