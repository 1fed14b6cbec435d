"""The border where damaged bytes become one kind of error."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from google.protobuf.message import DecodeError

from edge_mtp.errors import BundleError


@contextmanager
def refusing_garbage(what: str) -> Iterator[None]:
    """The border: anything that reading damaged bytes can raise becomes a BundleError about `what`."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError) as error:
        raise BundleError(f"{what} is damaged ({error}); download or export the file again") from error
    except (struct.error, zlib.error, DecodeError) as error:
        raise BundleError(f"{what} is damaged ({error}); download or export the file again") from error
