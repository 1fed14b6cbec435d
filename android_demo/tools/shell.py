"""Runs other programs, and says what they said where they fail."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path


class StepFailed(Exception):
    """A check that does not hold; the message says what was found and what to do."""


class PackageMissing(Exception):
    """A package that cannot be had here, so that a step that is not required is skipped."""


def run(command: Sequence[str | Path], cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Output of `command`, both streams; StepFailed with its last lines where it does not end in success."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, cwd=cwd, env=os.environ | (env or {}), text=True, errors="replace",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise StepFailed(
            f"{words[0]} is not on this machine; install it, or run as root so that apt-get can"
        ) from error
    if done.returncode:
        tail = "\n".join(done.stdout.strip().splitlines()[-40:])
        raise StepFailed(f"{Path(words[0]).name} ended with {done.returncode}:\n{tail}")
    return done.stdout
