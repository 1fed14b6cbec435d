"""sha256 of checkpoint files, for the manifest: which bytes an export was made from."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from edge_mtp.errors import CheckpointError

CHUNK_BYTES: Final = 4 << 20


def digest_files(
    files: Sequence[Path], on_bytes: Callable[[int], None] = lambda count: None, threads: int = 1
) -> dict[str, str]:
    """File names -> hex sha256, `threads` files at a time.

    `on_bytes` hears the number of bytes after each chunk, from the thread that read it.
    """
    with ThreadPoolExecutor(max_workers=threads) as pool:
        digests = pool.map(lambda path: _digest(path, on_bytes), files)
        return {path.name: digest for path, digest in zip(files, digests, strict=True)}


def _digest(path: Path, on_bytes: Callable[[int], None]) -> str:
    digest, chunk = hashlib.sha256(), bytearray(CHUNK_BYTES)
    try:
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(chunk):
                digest.update(memoryview(chunk)[:count])
                on_bytes(count)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}); check the disk and run again") from None
    return digest.hexdigest()
