"""What native libraries write to stderr while they load or compile, kept off the screen unless something fails."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keeps everything that is written to file descriptor 2 in the block; shows it where the block raises."""
    sys.stderr.flush()
    screen = os.dup(2)
    with TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(screen, kept.read())
            raise
        finally:
            os.dup2(screen, 2)
            os.close(screen)
