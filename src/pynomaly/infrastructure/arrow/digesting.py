"""Takes the digest of bytes on their way to a handle."""

from __future__ import annotations

import hashlib
import io
from typing import Any, BinaryIO

from pynomaly.domain.errors import OutputNotWritableError

__all__ = ["Digesting"]


class Digesting(io.RawIOBase):
    """A handle that knows what was written to it.

    Args:
        handle: Receives the bytes.
        uri: How messages call it.
    """

    def __init__(self, handle: BinaryIO, uri: str) -> None:
        self._handle = handle
        self._uri = uri
        self._hash = hashlib.sha256()
        self._dropping = False
        self.size_bytes = 0

    def writable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self.size_bytes

    def write(self, data: Any) -> int:
        """Pass bytes on.

        Raises:
            OutputNotWritableError: The disk is full, for example.
        """
        size = memoryview(data).nbytes
        if not self._dropping:
            try:
                self._handle.write(data)
            except BaseException as error:
                # Encoders would try to write the rest all the same.
                self._dropping = True
                if not isinstance(error, OSError):
                    raise
                raise OutputNotWritableError(
                    f"cannot write {self._uri}: {error.strerror or error}",
                    hint="free some space, or write elsewhere",
                ) from error
            self._hash.update(data)
        self.size_bytes += size
        return size

    def drop(self) -> None:
        """Swallow what still comes: an encoder writes when it is closed, wanted or not."""
        self._dropping = True

    def hexdigest(self) -> str:
        """Return the sha256, or an empty string while nothing was written."""
        return self._hash.hexdigest() if self.size_bytes else ""
