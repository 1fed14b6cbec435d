"""`python3 -m android_demo.tools`: all checks in order, with seconds; `--only NAME …` for some of them."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from android_demo.tools import layout
from android_demo.tools.api_check import check_api
from android_demo.tools.apk import build_apk, link_resources
from android_demo.tools.catalogue import check_catalogue
from android_demo.tools.compile import compile_app, compile_core, compile_tests
from android_demo.tools.jvm_tests import measure_overhead, run_tests
from android_demo.tools.shell import PackageMissing, StepFailed, run
from android_demo.tools.toolchain import Toolchain, install_debian, open_toolchain


@dataclass(frozen=True)
class Step:
    """A check; one that is not required is skipped, and says so, where a package of its cannot be had."""

    name: str
    work: Callable[[Toolchain], str]
    required: bool = True


def lint(tools: Toolchain) -> str:
    """ktlint over all Kotlin, build files too."""
    run([tools.ktlint, "--relative", "**/*.kt", "**/*.kts", "!**/build/**"], cwd=layout.DEMO)
    return f"{len(layout.kotlin_files(layout.DEMO))} files"


def fetch(tools: Toolchain) -> str:
    """What every required step needs; the rest is fetched when it is asked for."""
    done = install_debian()
    _ = (tools.kotlin, tools.android_jar, tools.api_listing, tools.framework)
    return f"{done}; cache {tools.cache}"


STEPS = (
    Step("tools", fetch),
    Step("catalogue", lambda _: check_catalogue()),
    Step("ktlint", lint, required=False),
    Step("core", compile_core),
    Step("core-tests", compile_tests),
    Step("tests", run_tests),
    Step("overhead", measure_overhead),
    Step("aapt2", link_resources),
    Step("app", compile_app),
    Step("api", check_api),
    Step("apk", build_apk, required=False),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the steps; 0 where all hold or are skipped with a reason, 1 where one fails."""
    parser = argparse.ArgumentParser(prog="android_demo.tools", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=[step.name for step in STEPS], help="run these steps alone")
    chosen = parser.parse_args(arguments).only or [step.name for step in STEPS]
    tools = open_toolchain()
    layout.BUILD.mkdir(parents=True, exist_ok=True)
    start_s = time.monotonic()
    for step in STEPS:
        if step.name in chosen and not _run(step, tools):
            return 1
    print(f"android: {len(chosen)} steps, {time.monotonic() - start_s:.1f} s")
    return 0


def _run(step: Step, tools: Toolchain) -> bool:
    start_s = time.monotonic()
    try:
        said, held = step.work(tools), True
    except PackageMissing as error:
        said, held = f"skipped: {error}" if not step.required else f"FAILED: {error}", not step.required
    except StepFailed as error:
        said, held = f"FAILED: {error}", False
    print(f"{step.name:<12}{time.monotonic() - start_s:6.1f} s  {said}", flush=True)
    return held


if __name__ == "__main__":
    sys.exit(main())
