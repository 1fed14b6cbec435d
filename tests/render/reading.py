"""A page as a reader and as a browser have it: its words, its elements, and what is wrong with its nesting."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "br"}


@dataclass
class Element:
    name: str
    attributes: dict[str, str | None]


@dataclass
class Reading:
    """`words` leaves out the style sheet; `faults` are end tags that do not fit."""

    words: str = ""
    elements: list[Element] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def named(self, name: str) -> list[Element]:
        return [element for element in self.elements if element.name == name]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.reading = Reading()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.reading.elements.append(Element(tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.reading.faults.append(f"</{tag}>")

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.reading.words += data


def read(page: str) -> Reading:
    """The page parsed; elements left open count as faults."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    reader.reading.faults += [f"<{name}> left open" for name in reader.open]
    return reader.reading
