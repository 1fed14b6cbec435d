"""Checks that version catalogue, build files and pins say the same; Gradle itself cannot run here."""

import re
import tomllib
from pathlib import Path
from typing import Any

from android_demo.tools import layout, pins
from android_demo.tools.shell import StepFailed

USE = re.compile(r"\blibs\.((?:plugins\.)?[a-z0-9.]+)")
PLACES = {"libraries": "", "plugins": "plugins."}


def check_catalogue(demo: Path = layout.DEMO) -> str:
    """StepFailed where a name is used and not defined, defined and not used, or a figure is not the pinned one."""
    catalogue = tomllib.loads((demo / "gradle" / "libs.versions.toml").read_text())
    scripts = "\n".join(path.read_text() for path in sorted(demo.rglob("*.gradle.kts")))
    defined = {prefix + name.replace("-", ".") for table, prefix in PLACES.items() for name in catalogue.get(table, {})}
    used = set(USE.findall(scripts))
    problems = [f"libs.{name} is used and not defined" for name in sorted(used - defined)]
    problems += [f"libs.{name} is defined and not used" for name in sorted(defined - used)]
    problems += _versions(catalogue)
    problems += _figures(catalogue, scripts)
    if problems:
        raise StepFailed("; ".join(problems) + "; make gradle/libs.versions.toml and the build files agree")
    return f"{len(defined)} entries"


def _versions(catalogue: dict[str, Any]) -> list[str]:
    known = set(catalogue["versions"])
    entries = [entry for table in PLACES for entry in catalogue.get(table, {}).values()]
    asked = {entry["version"]["ref"] for entry in entries}
    return [f"version {name} is not defined" for name in sorted(asked - known)] + [
        f"version {name} is not used" for name in sorted(known - asked)
    ]


def _figures(catalogue: dict[str, Any], scripts: str) -> list[str]:
    problems = []
    for name, pinned in (("minSdk", pins.MIN_SDK), ("targetSdk", pins.TARGET_SDK), ("compileSdk", pins.TARGET_SDK)):
        found = re.findall(rf"\b{name} = (\d+)", scripts)
        if found != [str(pinned)]:
            problems.append(f"{name} is {found}, tools/pins.py says {pinned}")
    kotlin = catalogue["versions"].get("kotlin")
    if kotlin != pins.KOTLIN_VERSION:
        problems.append(f"kotlin is {kotlin}, tools/pins.py says {pins.KOTLIN_VERSION}")
    return problems
