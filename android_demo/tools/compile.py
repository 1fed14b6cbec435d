"""Compiles Kotlin and the stubs, warnings being errors."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from android_demo.tools import layout
from android_demo.tools.shell import run
from android_demo.tools.toolchain import JAVA, JUNIT_JARS, Toolchain

# dx 10 reads Java 8 bytecode and knows no invokedynamic.
FLAGS = (
    "-Werror", "-jvm-target", "1.8", "-Xlambdas=class", "-Xsam-conversions=class", "-Xstring-concat=inline",
    "-no-reflect",
)  # fmt: skip


def class_path(parts: Sequence[Path]) -> str:
    """As the JVM wants it."""
    return ":".join(str(part) for part in parts)


def test_path(tools: Toolchain) -> list[Path]:
    """What the tests of :core need to compile and to run."""
    junit = [JAVA / f"{name}.jar" for name in JUNIT_JARS]
    return [layout.CORE_JAR, *tools.kotlin_jars("kotlin-stdlib", "kotlin-test", "kotlin-test-junit5"), *junit]


def compile_core(tools: Toolchain) -> str:
    """:core, without Android on the class path."""
    sources = layout.kotlin_files(layout.CORE / "main")
    _kotlin(tools, sources, [], layout.CORE_JAR)
    return f"{len(sources)} files"


def compile_tests(tools: Toolchain) -> str:
    """The tests of :core."""
    sources = layout.kotlin_files(layout.CORE / "test")
    shutil.rmtree(layout.TEST_CLASSES, ignore_errors=True)
    _kotlin(tools, sources, test_path(tools), layout.TEST_CLASSES, f"-Xfriend-paths={layout.CORE_JAR}")
    return f"{len(sources)} files"


def compile_app(tools: Toolchain) -> str:
    """Both flavours of :app, against API 23, our notes of what is newer, and (the full one) of the runtime."""
    shutil.rmtree(layout.STUB_CLASSES, ignore_errors=True)
    layout.STUB_CLASSES.mkdir(parents=True)
    stubs = sorted((layout.STUBS / "android").rglob("*.java"))
    run(
        [
            "javac",
            "-nowarn",
            "-Xlint:-options",
            "--release",
            "8",
            "-cp",
            tools.android_jar,
            "-d",
            layout.STUB_CLASSES,
            *stubs,
        ]
    )
    main = layout.APP / "main"
    flavours = {"dry": [main, layout.APP / "dry"], "full": [main, layout.APP / "full", layout.STUBS / "litertlm"]}
    for flavour, folders in flavours.items():
        path = [layout.CORE_JAR, layout.STUB_CLASSES, tools.android_jar]
        _kotlin(tools, layout.kotlin_files(*folders), path, layout.app_jar(flavour))
    return " and ".join(flavours)


def _kotlin(tools: Toolchain, sources: Sequence[Path], path: Sequence[Path], output: Path, *flags: str) -> None:
    layout.BUILD.mkdir(parents=True, exist_ok=True)
    path_flags = ["-cp", class_path(path)] if path else []
    # The compiler starts itself through its own script, which takes JAVA_OPTS.
    env = {"JAVA_OPTS": "-Xmx1g -XX:+UseSerialGC -XX:TieredStopAtLevel=1"}
    run([tools.kotlin / "bin" / "kotlinc-jvm", *FLAGS, *flags, *path_flags, *sources, "-d", output], env=env)
