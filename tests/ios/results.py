"""`python -m tests.ios.results build/ios`: what the Swift tests did, in figures; refuses skips and thin coverage."""

import json
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

KIT_PCT = 90.0
ENGINE_SUITE = "LiteRTRuntimeTests.LiteRTEngineTests"
ENGINE_TESTS = 9
"""Tests of the adapter against the real library; fewer means that some were left out."""


@dataclass(frozen=True)
class Results:
    """`engine` counts the tests against the real library; `kit_pct` and `adapter_pct` are lines."""

    tests: int
    skipped: int
    failed: int
    engine: int
    seconds: float
    kit_pct: float
    adapter_pct: float


def read(directory: Path) -> Results:
    """The results that `swift test` wrote into `directory`."""
    suite = ET.parse(directory / "tests-swift-testing.xml").getroot().find("testsuite")
    assert suite is not None, "tests-swift-testing.xml holds no suite"
    coverage = json.loads((directory / "coverage.json").read_text())
    return Results(
        tests=int(suite.attrib["tests"]),
        skipped=int(suite.attrib["skipped"]),
        failed=int(suite.attrib["failures"]) + int(suite.attrib["errors"]),
        engine=sum(case.attrib["classname"] == ENGINE_SUITE for case in suite),
        seconds=float(suite.attrib["time"]),
        kit_pct=_covered_pct(coverage, "/Sources/EdgeMTPKit/"),
        adapter_pct=_covered_pct(coverage, "/Sources/LiteRTRuntime/"),
    )


def _covered_pct(coverage: dict, folder: str) -> float:
    files = [one["summary"]["lines"] for one in coverage["data"][0]["files"] if folder in one["filename"]]
    return 100.0 * sum(one["covered"] for one in files) / sum(one["count"] for one in files)


def problems(results: Results) -> list[str]:
    """What keeps these results from counting; empty where nothing does."""
    found = []
    if results.failed:
        found.append(f"{results.failed} tests failed")
    if results.skipped:
        found.append(f"{results.skipped} tests were skipped; none may be")
    if results.engine < ENGINE_TESTS:
        found.append(f"{results.engine} tests ran against the real library; needed: {ENGINE_TESTS}")
    if results.kit_pct < KIT_PCT:
        found.append(f"tests reach {results.kit_pct:.1f} % of the kit's lines; needed: {KIT_PCT:.0f} %")
    return found


def main() -> None:
    """Prints figures, and ends with 1 where they do not count."""
    results = read(Path(sys.argv[1]))
    print(
        f"ios: {results.tests} Swift tests in {results.seconds:.0f} s, {results.engine} of them by the real library; "
        f"lines reached: kit {results.kit_pct:.1f} %, adapter {results.adapter_pct:.1f} %"
    )
    found = problems(results)
    if found:
        sys.exit("ios: " + "; ".join(found))


if __name__ == "__main__":
    main()
