"""Checks every reference of the app's bytecode to Android against the public API 37: existence, arity, level.

Overloads are told apart by their number of parameters only; an int taken for a long is not seen.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from android_demo.tools import layout, pins
from android_demo.tools.api_listing import ApiClass, read_listing
from android_demo.tools.class_file import ClassFile, Reference, read_jar
from android_demo.tools.shell import StepFailed
from android_demo.tools.toolchain import Toolchain

ALLOWED_NEWER = layout.DEMO / "newer-than-min-sdk.txt"
CHECKED = ("android.", "java.", "javax.")
NOT_LISTED = ("java.util.function.",)
"""Android has it from API 24 on; the listing leaves it out, `function` being a word of TypeScript's own."""


@dataclass(frozen=True)
class Api:
    """The listing and the app's own classes, so that what is inherited is found."""

    listing: Mapping[str, ApiClass]
    own: Mapping[str, ClassFile]

    def parents(self, name: str) -> list[str]:
        """What `name` extends, our own classes and Android's alike."""
        if name in self.own:
            return list(self.own[name].parents)
        known = self.listing.get(plain(name))
        return [] if known is None else [*known.parents, "java.lang.Object"] if name != "java.lang.Object" else []

    def level(self, reference: Reference, seen: frozenset[str] = frozenset()) -> int | None:
        """Level from which on the member is there, looked for upwards from its owner; None where it is nowhere."""
        known = self.listing.get(plain(reference.owner))
        if known is not None and (level := known.members.get((reference.name, reference.arity))) is not None:
            return max(level, known.since)
        levels = (
            self.level(Reference(parent, reference.name, reference.arity), seen | {reference.owner})
            for parent in self.parents(reference.owner)
            if parent not in seen
        )
        return next((level for level in levels if level is not None), None)

    def is_platforms(self, owner: str) -> bool:
        """Whether a member of `owner` may come from Android."""
        if is_checked(owner):
            return True
        return owner in self.own and any(self.is_platforms(parent) for parent in self.own[owner].parents)


def is_checked(name: str) -> bool:
    """Whether the class `name` is one that the listing must have."""
    return name.startswith(CHECKED) and not name.startswith(NOT_LISTED)


def plain(name: str) -> str:
    """As the listing writes inner classes."""
    return name.replace("$", ".")


def check_api(tools: Toolchain) -> str:
    """StepFailed where a reference is not in the API, or is newer than minSdk and not on the list of guarded ones."""
    listing = read_listing(tools.api_listing)
    allowed = read_allowed(ALLOWED_NEWER)
    problems: list[str] = []
    count, used = 0, set()
    for flavour in ("dry", "full"):
        own = read_jar(layout.CORE_JAR) | read_jar(layout.app_jar(flavour))
        for name, level in levels(Api(listing, own)):
            count += 1
            if level is None:
                problems.append(f"{name} is not in Android's public API")
            elif level > pins.MIN_SDK and name in allowed:
                used.add(name)
            elif level > pins.MIN_SDK:
                problems.append(f"{name} came with API {level}, minSdk is {pins.MIN_SDK}")
    problems += [f"{name} is listed and not used" for name in sorted(allowed - used)]
    if problems:
        found = "\n".join(sorted(set(problems)))
        raise StepFailed(f"{found}\nguard what is newer and say so in {ALLOWED_NEWER.name}")
    return f"{count} references in two flavours, {len(used)} newer than API {pins.MIN_SDK} and guarded"


def levels(api: Api) -> Iterator[tuple[str, int | None]]:
    """Every reference of our own classes to the platform, written out, and its level."""
    for one in api.own.values():
        for name in sorted(one.classes):
            if is_checked(name):
                known = api.listing.get(plain(name))
                yield name, None if known is None else known.since
        for reference in sorted(one.references, key=str):
            if api.is_platforms(reference.owner) and not _is_ours(api, reference):
                yield written(reference), api.level(reference)


def _is_ours(api: Api, reference: Reference) -> bool:
    """Whether the member is one that an own class declares: then some own class has it, and the platform has not."""
    return reference.owner in api.own and api.level(reference) is None


def written(reference: Reference) -> str:
    """`android.os.PowerManager.getThermalHeadroom/1`; fields without a number."""
    return f"{reference.owner}.{reference.name}" + ("" if reference.arity is None else f"/{reference.arity}")


def read_allowed(path: Path) -> set[str]:
    """References of the list, one a line; what stands behind `#` names the guard."""
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return {line for line in lines if line}
