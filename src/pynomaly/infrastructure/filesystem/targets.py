"""Writes a local file so that it is there complete or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pynomaly.domain.errors import OutputExistsError, OutputNotWritableError

__all__ = ["LocalTarget", "open_local_target", "require_writable"]

_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class LocalTarget:
    """Outputs on disk: called to open one for writing."""

    @contextmanager
    def __call__(self, uri: str, *, overwrite: bool) -> Iterator[BinaryIO]:
        """Give a file to write to; it takes the name ``uri`` only when the block exits cleanly.

        The bytes go to a hidden file in the same folder, are forced to disk, and are then renamed.
        Whatever ends the block early, Ctrl-C included, removes the hidden file.  A block that writes
        nothing at all leaves no file.

        Args:
            uri: Path; missing folders are created.
            overwrite: Whether an existing file may be replaced.

        Raises:
            OutputExistsError: Something is there, or appeared while we wrote, and ``overwrite`` is
                false.
            OutputNotWritableError: The folder refuses us, or the disk is full.
        """
        path = Path(uri).expanduser()
        temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.tmp")
        with _refusals(path):
            if path.is_dir():
                raise OutputNotWritableError(f"{path} is a folder", hint="name a file in it")
            if not overwrite and os.path.lexists(path):
                raise _exists(path)
            _make_folder(path.parent)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        handle = os.fdopen(descriptor, "wb")
        try:
            yield handle
            with _refusals(path):
                handle.flush()
                os.fsync(handle.fileno())
                written = handle.tell()
                handle.close()
                if written:
                    _commit(temporary, path, overwrite=overwrite)
        finally:
            # Closing flushes, which must not hide what ended the block (a full disk, say).
            with contextlib.suppress(OSError):
                handle.close()
            # After a commit by rename it is gone already.
            temporary.unlink(missing_ok=True)

    def digest(self, uri: str) -> str | None:
        """Return sha256 (hex) of the file at ``uri``, or None if there is no file.

        Raises:
            OutputNotWritableError: It may not be read, so nobody can say whose it is.
        """
        path = Path(uri).expanduser()
        with _refusals(path):
            if not path.is_file():
                return None
            with path.open("rb") as handle:
                return hashlib.file_digest(handle, "sha256").hexdigest()


open_local_target = LocalTarget()


def require_writable(place: str) -> None:
    """Look whether something can be written to a folder, or as a file, before it is made.

    What permissions say is not all: a folder may be read-only mounted.  So an empty hidden file is
    made and removed there, or in the nearest folder above that exists.

    Args:
        place: Path of either; nothing of it needs to exist.

    Raises:
        OutputNotWritableError: It cannot.
    """
    path = Path(place).expanduser().absolute()
    with _refusals(path):
        folder = next(one for one in (path, *path.parents) if one.exists())
        if folder == path and not path.is_dir():
            folder = path.parent
        probe = folder / f".{secrets.token_hex(6)}.tmp"
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        probe.unlink()


def _commit(temporary: Path, path: Path, *, overwrite: bool) -> None:
    if overwrite:
        temporary.replace(path)
    else:
        try:
            # Unlike rename, link fails when somebody else took the name meanwhile.
            os.link(temporary, path)
        except FileExistsError:
            raise _exists(path) from None
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            # FAT and some network mounts have no hard links; only the instant between this look
            # and the rename stays unguarded there.
            if os.path.lexists(path):
                raise _exists(path) from None
            temporary.replace(path)
    _sync_folder(path.parent)


def _make_folder(folder: Path) -> None:
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        _sync_folder(made.parent)


def _sync_folder(folder: Path) -> None:
    # Some file systems cannot sync a folder; the file's own bytes are on disk already.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise OutputNotWritableError(
            f"cannot write {path}: {error.strerror or error}",
            hint="free some space, or write elsewhere"
            if full
            else "choose a folder that exists or can be created, writable by you",
        ) from error


def _exists(path: Path) -> OutputExistsError:
    return OutputExistsError(
        f"{path} exists already; it was left as it is",
        hint="choose another name, or allow replacing it (--overwrite; in Python overwrite=True)",
    )
