"""Scored parts as files in a local folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from pynomaly.application.ports.partitions import StoredPart
from pynomaly.domain.errors import OutputNotWritableError
from pynomaly.infrastructure.filesystem.targets import open_local_target

__all__ = ["FolderParts"]


class FolderParts:
    """Implements ``PartFiles`` on disk."""

    most_open = 128

    def resolve(self, target: str) -> str:
        """Return the absolute path of the folder, links followed.

        Raises:
            OutputNotWritableError: It is a file.
        """
        path = Path(os.path.realpath(Path(target).expanduser()))
        if path.exists() and not path.is_dir():
            raise OutputNotWritableError(f"{path} is no folder", hint="name a folder")
        return str(path)

    def occupied(self, target: str) -> bool:
        """Whether there is a file in the folder that is not hidden."""
        return any(not path.name.startswith((".", "_")) for path in _walk(target))

    def create(self, uri: str) -> AbstractContextManager[BinaryIO]:
        """Open a new file; it exists once the block has exited cleanly."""
        return open_local_target(uri, overwrite=True)

    def open(self, uri: str) -> BinaryIO:
        """Open for reading.

        Raises:
            FileNotFoundError: No such file.
        """
        with _refusals(uri):
            return Path(uri).open("rb")

    def stored(self, target: str) -> Iterator[StoredPart]:
        """Find every file in the folder, half-written ones included."""
        for path in _walk(target):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue  # its writer has finished or removed it meanwhile
            modified = datetime.fromtimestamp(status.st_mtime, UTC)
            yield StoredPart(str(path), status.st_size, modified)

    def remove(self, uri: str) -> None:
        """Remove a file; one that is gone already is fine."""
        with _refusals(uri):
            Path(uri).unlink(missing_ok=True)


def _walk(target: str) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    if not Path(target).exists():
        return
    with _refusals(target):
        for parent, folders, names in os.walk(target, onerror=refuse):
            folders.sort()
            yield from (Path(parent, name) for name in sorted(names))


@contextmanager
def _refusals(place: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise OutputNotWritableError(
            f"cannot use {place}: {error.strerror or error}",
            hint="give the user who runs this permission to read and write there",
        ) from error
