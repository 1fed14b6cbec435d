"""What lies in a directory, to tell whether anything was written there."""

import hashlib
from pathlib import Path


def contents(directory: Path) -> dict[str, str]:
    """Every path below `directory`, with the digest of a file's content and nothing for a directory."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(directory.rglob("*"))
    }
