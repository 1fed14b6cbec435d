"""Runs the tests of :core on a JVM, with line coverage, and measures what a log's sample costs."""

import re
import shutil
import zipfile
from pathlib import Path

from android_demo.tools import layout, pins
from android_demo.tools.compile import class_path, test_path
from android_demo.tools.shell import StepFailed, run
from android_demo.tools.toolchain import JAVA, Toolchain

COUNT = re.compile(r"\[\s*(\d+) tests (successful|failed|skipped)")
SOURCES_LISTED = 5


def run_tests(tools: Toolchain) -> str:
    """All tests; StepFailed where one fails, where none ran, or where too few lines of :core were run."""
    shutil.rmtree(layout.LOGS, ignore_errors=True)
    layout.LOGS.mkdir(parents=True)
    record = layout.BUILD / "jacoco.exec"
    record.unlink(missing_ok=True)
    _coverage_tool("strip", layout.CORE_JAR, layout.STRIPPED_JAR)
    agent = f"-javaagent:{_agent()}=destfile={record},includes=edgemtp.core.*"
    console = ["org.junit.platform.console.ConsoleLauncher", "--disable-banner", "--details=summary"]
    java = ["java", agent, *_java(tools, layout.STRIPPED_JAR)]
    output = run([*java, *console, f"--scan-classpath={layout.TEST_CLASSES}"])
    counts = {word: int(number) for number, word in COUNT.findall(output)}
    if not counts.get("successful") or counts.get("failed") or counts.get("skipped"):
        raise StepFailed(f"the tests of :core say {counts}:\n{output[-4000:]}")
    layout.LOGS_STAMP.write_text(layout.core_digest())
    return f"{counts['successful']} passed, {_coverage(record)}"


def measure_overhead(tools: Toolchain) -> str:
    """What a sample costs on this JVM; there is no bound on it, since a busy machine has none."""
    return run(["java", *_java(tools), "edgemtp.core.LoggingOverheadKt"]).strip()


def _agent() -> Path:
    """JaCoCo's agent, which Debian ships as a file within a jar."""
    with zipfile.ZipFile(JAVA / "org.jacoco.agent.jar") as jar:
        return Path(jar.extract("jacocoagent.jar", layout.BUILD))


def _java(tools: Toolchain, *first: Path) -> list[str]:
    path = [*first, layout.TEST_CLASSES, layout.CORE / "test" / "resources", *test_path(tools)]
    properties = {"repository": layout.ROOT, "output": layout.LOGS}
    settings = [f"-Dedgemtp.{name}={value}" for name, value in properties.items()]
    return ["-XX:TieredStopAtLevel=1", *settings, "-cp", class_path(path)]


def _coverage_tool(*arguments: str | Path) -> str:
    jars = [JAVA / f"{name}.jar" for name in ("org.jacoco.core", "asm", "asm-commons", "asm-tree", "asm-analysis")]
    return run(["java", "-cp", class_path(jars), layout.DEMO / "tools" / "Coverage.java", *arguments])


def _coverage(record: Path) -> str:
    output = _coverage_tool("report", record, layout.STRIPPED_JAR, layout.CORE / "main" / "kotlin")
    first, *files = output.strip().splitlines()
    covered, total = (int(word) for word in first.split())
    percent = 100 * covered / total
    found = f"{percent:.1f} % of {total} lines of :core"
    if percent < pins.MIN_COVERAGE_PCT:
        worst = "\n".join(files[:SOURCES_LISTED])
        raise StepFailed(f"{found} were run, {pins.MIN_COVERAGE_PCT} % are needed; test these:\n{worst}")
    return found
