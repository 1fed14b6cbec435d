"""Where Swift cannot be had, the reason is told before anything is fetched, and CI tells that from a failed check."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ASKED = Path(__file__).parents[2] / "ios_demo/tools/permitted.sh"
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv")


def asked(path: Path, *before: str) -> tuple[int, str]:
    """Exit code and what was said, with `path` in front of the machine's PATH."""
    words = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}"}
    words.pop("SWIFT_ROOT", None)
    done = subprocess.run([*before, str(ASKED)], env=words, text=True, capture_output=True, timeout=30, check=False)
    return done.returncode, done.stdout


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_swift_on_the_path_is_enough(tmp_path: Path) -> None:
    program(tmp_path, "swift", "exit 0")
    program(tmp_path, "id", "echo 1000")
    assert asked(tmp_path) == (0, "")


@pytest.mark.skipif(shutil.which("swift") is not None, reason="swift is on PATH here, so nothing else is asked for")
@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("id", "echo 1000", "not root"),
        (
            "unshare",
            "echo 'unshare: unshare failed: Operation not permitted' >&2; exit 1",
            "cannot mount /proc (unshare:",
        ),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, name: str, text: str, said: str) -> None:
    for one, words in {"id": "echo 0", "apt-get": "exit 0", "unshare": "exit 0", name: text}.items():
        program(tmp_path, one, words)
    code, told = asked(tmp_path)
    assert code == 1 and said in told and "needed: Swift" in told


@NEEDS_ROOT
@pytest.mark.skipif(shutil.which("swift") is not None, reason="swift is on PATH here, so nothing else is asked for")
def test_a_root_that_may_not_mount_is_told_so(tmp_path: Path) -> None:
    program(tmp_path, "apt-get", "exit 0")
    code, told = asked(tmp_path, "setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin")
    assert code == 1 and "cannot mount /proc" in told
