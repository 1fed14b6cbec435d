"""Directories and files that commands write: tried before the work, written aside and renamed after it."""

import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryFile

from edge_mtp.errors import EdgeMtpError


def make_directory(output: Path) -> None:
    """Makes it and writes there once, so that hours of work do not end in a directory that takes no file."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise EdgeMtpError(
            f"cannot write to the directory {output} ({error.strerror}); give another --output"
        ) from None


def write_files(output: Path, texts: Mapping[str, str]) -> None:
    """Writes every text under its name in the directory `output`, each aside first."""
    for name, text in texts.items():
        write_file(output / name, text)


def write_file(path: Path, text: str) -> None:
    """Writes `text` aside and renames it; EdgeMtpError where that cannot be done."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise EdgeMtpError(f"cannot write {path} ({error.strerror}); give another --output") from None
    finally:
        part.unlink(missing_ok=True)
