"""project.yml names what exists: XcodeGen and Xcode, which would say so, are not to be had on Linux."""

import copy
import plistlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2] / "ios_demo"
PROJECT: dict[str, Any] = yaml.safe_load((ROOT / "project.yml").read_text())
APP = "EdgeMTPApp"
ENTITLEMENTS = {
    "com.apple.developer.kernel.increased-memory-limit", "com.apple.developer.kernel.extended-virtual-addressing",
}  # fmt: skip


def problems(project: dict[str, Any]) -> list[str]:
    """What of the project does not fit the folders, Package.swift and the app's version."""
    target = project["targets"][APP]
    manifest = (ROOT / "Package.swift").read_text()
    settings = target["settings"]["base"]
    found = [f"no folder {one['path']}" for one in target["sources"] if not (ROOT / one["path"]).is_dir()]
    products = re.findall(r'\.library\(name: "(\w+)"', manifest)
    for one in target["dependencies"]:
        if one["package"] not in project["packages"]:
            found.append(f"no package {one['package']}")
        if one["product"] not in products:
            found.append(f"no product {one['product']}")
    for key in ("INFOPLIST_FILE", "CODE_SIGN_ENTITLEMENTS"):
        if not (ROOT / settings[key]).is_file():
            found.append(f"no file {settings[key]}")
    if f'"{settings["MARKETING_VERSION"]}"' not in (ROOT / "Sources/EdgeMTPKit/AppVersion.swift").read_text():
        found.append("MARKETING_VERSION is not the app's version")
    if f".iOS(.v{project['options']['deploymentTarget']['iOS'].split('.')[0]})" not in manifest:
        found.append("deploymentTarget is not Package.swift's")
    run = project["schemes"][APP]["run"]
    if run != {"config": "Release", "debugEnabled": False}:
        found.append("the scheme does not run Release without a debugger")
    return found


def test_the_project_fits() -> None:
    assert problems(PROJECT) == []
    imported = {
        name
        for file in (ROOT / "App").glob("*.swift")
        for name in re.findall(r"^import (\w+)$", file.read_text(), re.M)
    }
    linked = {one["product"] for one in PROJECT["targets"][APP]["dependencies"]}
    assert imported - linked == {"Foundation", "SwiftUI", "UIKit", "UniformTypeIdentifiers", "os"}


def test_entitlements_and_file_sharing() -> None:
    entitlements = plistlib.loads((ROOT / "Settings/EdgeMTP.entitlements").read_bytes())
    assert entitlements == dict.fromkeys(ENTITLEMENTS, True)
    assert plistlib.loads((ROOT / "Settings/Info.plist").read_bytes())["UIFileSharingEnabled"] is True


def test_the_runtimes_version_is_the_frameworks() -> None:
    version = re.search(r'runtimeOnPhone = "([\d.]+)"', (ROOT / "Sources/EdgeMTPKit/AppVersion.swift").read_text())
    assert version is not None
    assert f"/v{version[1]}/CLiteRTLM.xcframework.zip" in (ROOT / "Package.swift").read_text()


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        (("targets", APP, "sources", 0, "path"), "Apps", "no folder"),
        (("targets", APP, "dependencies", 0, "product"), "EdgeKit", "no product"),
        (("targets", APP, "dependencies", 0, "package"), "Edge", "no package"),
        (("targets", APP, "settings", "base", "INFOPLIST_FILE"), "Info.plist", "no file"),
        (("targets", APP, "settings", "base", "MARKETING_VERSION"), "9.9.9", "version"),
        (("options", "deploymentTarget", "iOS"), "15.0", "deploymentTarget"),
        (("schemes", APP, "run", "debugEnabled"), True, "debugger"),
    ],
)
def test_a_spoilt_project_does_not(path: tuple[Any, ...], value: Any, word: str) -> None:
    spoilt = copy.deepcopy(PROJECT)
    part = spoilt
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    (problem,) = problems(spoilt)
    assert word in problem
