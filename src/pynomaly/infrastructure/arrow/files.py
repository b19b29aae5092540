"""What a source needs of a file, and reading it so that its digest is that of the bytes read."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, Protocol, cast

from pynomaly.domain.errors import MalformedSourceError, SourceChangedError

__all__ = [
    "BLOCK",
    "ContentDigest",
    "DataFile",
    "FindFiles",
    "changed",
    "random_access",
    "sequential",
    "stamp",
    "state",
    "unchanged",
    "unpacked",
]

BLOCK = 2**20
"""Bytes digested at a time."""


class DataFile(Protocol):
    """A file or object that can be opened any number of times."""

    @property
    def name(self) -> str:
        """Relative to the source."""

    @property
    def uri(self) -> str:
        """Where it is, for messages."""

    @property
    def version(self) -> str:
        """What pins its content (an ETag); empty where only the bytes tell."""

    def open(self, wanted: Sequence[tuple[int, int]] = ()) -> BinaryIO:
        """Open for reading; seekable, and one version of the bytes throughout.

        Args:
            wanted: Byte ranges ``(start, stop)`` beyond which nothing is to be read ahead; what
                lies outside can be read all the same.
        """


_SETTLED_NS = 2_000_000_000
"""No file system's clock is coarser: whoever writes later than this leaves another time."""

FindFiles = Callable[[str], Sequence[DataFile]]
"""Returns every file behind a URI, sorted by name; raises ``SourceNotFoundError``."""


class ContentDigest:
    """sha256 over names and bytes of files, and how many bytes that were."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size = 0

    def begin(self, name: str) -> None:
        """Start a file; what follows belongs to it."""
        # NUL ends the name and the size ends the bytes, so that no two lists of files collide.
        self._hash.update(name.encode() + b"\0")

    def update(self, data: bytes | memoryview) -> None:
        """Take bytes of the current file."""
        self._hash.update(data)
        self.size += len(data)

    def end(self) -> None:
        """Finish the current file."""
        self._hash.update(b"\0%d\0" % self.size)

    def hexdigest(self) -> str:
        """Return the digest so far."""
        return self._hash.hexdigest()


@contextmanager
def sequential(file: DataFile, digest: ContentDigest | None) -> Iterator[BinaryIO]:
    """Open a file to be read from start to end, unpacking ``.gz``.

    Args:
        file: What to read.
        digest: Takes the bytes as stored (packed, if they are); whatever the reader leaves
            unread when it exits cleanly is read then.

    Raises:
        MalformedSourceError: A damaged ``.gz``.
    """
    with file.open() as handle:
        stored = handle if digest is None else _digesting(handle, digest, file.name)
        with unpacked(stored, file) as stream:
            yield stream
            if digest is not None:
                while stored.read(BLOCK):
                    pass
                digest.end()


@contextmanager
def unpacked(handle: BinaryIO, file: DataFile) -> Iterator[BinaryIO]:
    """Read through the packing of a ``.gz``; anything else is read as it is.

    Raises:
        MalformedSourceError: A damaged ``.gz``.
    """
    packed = file.name.lower().endswith(".gz")
    try:
        stream = gzip.GzipFile(fileobj=handle, mode="rb") if packed else handle
        yield cast("BinaryIO", stream)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise MalformedSourceError(
            f"{file.uri} cannot be unpacked: {error}",
            hint="the .gz is damaged or cut short; copy it again",
        ) from error


@contextmanager
def random_access(file: DataFile, digest: ContentDigest | None) -> Iterator[BinaryIO]:
    """Open a file for seeking.

    A local file is digested through the handle that is then used, and must not change meanwhile;
    anything else is copied to a temporary file while it is digested.

    Raises:
        SourceChangedError: The file changed while it was read.
    """
    with file.open() as handle:
        if digest is None:
            yield handle
            return
        stored = _digesting(handle, digest, file.name)
        if state(handle) is None:
            with tempfile.TemporaryFile(prefix="pynomaly-") as copy:
                while block := stored.read(BLOCK):
                    copy.write(block)
                copy.seek(0)
                digest.end()
                yield cast("BinaryIO", copy)
            return
        with unchanged(handle, file.uri):
            while stored.read(BLOCK):
                pass
            handle.seek(0)
            digest.end()
            yield handle


@contextmanager
def unchanged(handle: BinaryIO, what: str) -> Iterator[None]:
    """Refuse a file on disk that is written to while it is read.

    Args:
        handle: Open; what is not on disk passes, since it is pinned by its version.
        what: For the message.

    Raises:
        SourceChangedError: Its size or time of modification is another when the context ends.
    """
    before = state(handle)
    try:
        yield
    except MalformedSourceError as error:
        if state(handle) != before:
            raise changed(what) from error
        raise
    if state(handle) != before:
        raise changed(what)


def changed(what: str, since: str = "while it was read") -> SourceChangedError:
    """Return the error for content that is no longer what it was."""
    return SourceChangedError(
        f"{what} changed {since}", hint="run again when its writer has finished"
    )


def state(handle: BinaryIO) -> tuple[int, int] | None:
    """Return size in bytes and time of modification in ns; None where it is not on disk."""
    try:
        status = os.fstat(handle.fileno())
    except io.UnsupportedOperation:
        return None
    return status.st_size, status.st_mtime_ns


class _Digesting(io.RawIOBase):
    def __init__(self, handle: BinaryIO, digest: ContentDigest) -> None:
        self._handle = handle
        self._digest = digest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._handle.read(len(buffer))
        buffer[: len(data)] = data
        self._digest.update(data)
        return len(data)


def _digesting(handle: BinaryIO, digest: ContentDigest, name: str) -> BinaryIO:
    digest.begin(name)
    return cast("BinaryIO", io.BufferedReader(_Digesting(handle, digest), buffer_size=BLOCK))


def stamp(handle: BinaryIO) -> str:
    """Return what shows later, if it is still the same, that nobody has touched a file on disk.

    That is its inode, size, and times of modification and of change; the last one moves whenever
    the file is written to and cannot be set back.  Empty where they prove nothing: not on disk, no
    such times, or touched so lately that the next write might leave the same ones.
    """
    if os.name != "posix" or state(handle) is None:
        return ""
    found = os.fstat(handle.fileno())
    touched = max(found.st_mtime_ns, found.st_ctime_ns)
    if touched > time.time_ns() - _SETTLED_NS:
        return ""
    return f"{found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"
