"""Bundles as zip files of which there is one way to write them.

Any tool opens them.  Ours reads only what it could have written itself: stored entries in order
with fixed times and attributes, a directory that repeats them, and nothing else.  So there is no
compression that could be a bomb, no link, no second entry of a name, no path out of a folder and
no byte that could be changed without notice; and nothing is ever unpacked by name.

Source: PKWARE, APPNOTE.TXT, ZIP File Format Specification 6.3, sections 4.3.7, 4.3.12 and 4.3.16.
"""

from __future__ import annotations

import os
import secrets
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from pynomaly.domain.errors import (
    IntegrityError,
    OutputExistsError,
    OutputNotWritableError,
    SourceNotFoundError,
)
from pynomaly.domain.evidence import PART_NAME

__all__ = ["ZipBundles"]

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_VERSION = 20
_UNIX = 3 << 8
_EPOCH = 0x21  # 1980-01-01, the earliest there is
_REGULAR = 0o100644 << 16
_MOST_BYTES = 2 << 30
_MOST_PARTS = 10_000
_LONGEST_NAME = 255
_HINT = (
    "verify the file as it was exported, never one that was packed again; if it is that one, do "
    "not rely on it"
)


class _Entry(NamedTuple):
    name: str
    crc: int
    size: int
    offset: int

    @property
    def header(self) -> bytes:
        name = self.name.encode()
        return (
            _LOCAL.pack(
                b"PK\3\4", _VERSION, 0, 0, 0, _EPOCH, self.crc, self.size, self.size, len(name), 0
            )
            + name
        )

    @property
    def directory(self) -> bytes:
        name = self.name.encode()
        return (
            _CENTRAL.pack(
                b"PK\1\2", _UNIX | _VERSION, _VERSION, 0, 0, 0, _EPOCH, self.crc, self.size,
                self.size, len(name), 0, 0, 0, 0, _REGULAR, self.offset,
            )
            + name
        )  # fmt: skip


def _end(entries: Sequence[_Entry], start: int) -> bytes:
    size = sum(len(entry.directory) for entry in entries)
    return _END.pack(b"PK\5\6", 0, 0, len(entries), len(entries), size, start, 0)


class ZipBundles:
    """Implements ``Bundles`` (application/ports/evidence.py)."""

    def write(self, parts: Sequence[tuple[str, bytes]], path: Path, *, overwrite: bool) -> None:
        """Write a bundle; see the port.

        Raises:
            ValueError: A part's name is not allowed or comes twice, or there is too much.
        """
        content = _encoded(parts)
        if path.exists() and not overwrite:
            if path.is_file() and path.read_bytes() == content:
                return
            raise OutputExistsError(
                f"{path} exists already and is another file; it was left as it is",
                hint="choose another name, or allow replacing it with --overwrite",
            )
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise OutputNotWritableError(
                f"{path} cannot be written: {error.strerror}",
                hint="check the folder's owner, permissions and free space, or choose another",
            ) from error

    def read(self, path: Path) -> list[tuple[str, bytes]]:
        """Read a bundle; see the port."""
        try:
            with path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(0)
                if size > _MOST_BYTES:
                    raise _damaged(path, f"has {size:,} bytes, {_MOST_BYTES:,} are the most")
                return _decoded(file, size, path)
        except OSError as error:
            raise SourceNotFoundError(
                f"{path} cannot be read: {error.strerror}", hint="check the path of the bundle"
            ) from error


def _encoded(parts: Sequence[tuple[str, bytes]]) -> bytes:
    entries: list[_Entry] = []
    pieces: list[bytes] = []
    offset = 0
    for name, content in parts:
        if not PART_NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
            raise ValueError(f"a part cannot be called {name!r}")
        entry = _Entry(name, zlib.crc32(content), len(content), offset)
        entries.append(entry)
        pieces += [entry.header, content]
        offset += len(entry.header) + entry.size
    if len({entry.name for entry in entries}) < len(entries) or len(entries) > _MOST_PARTS:
        raise ValueError("a part comes twice, or there are too many")
    pieces += [*(entry.directory for entry in entries), _end(entries, offset)]
    if sum(map(len, pieces)) > _MOST_BYTES:
        raise ValueError(f"a bundle has at most {_MOST_BYTES:,} bytes")
    return b"".join(pieces)


def _decoded(file: BinaryIO, size: int, path: Path) -> list[tuple[str, bytes]]:
    parts: dict[str, bytes] = {}
    entries: list[_Entry] = []
    while True:
        offset = file.tell()
        head = file.read(_LOCAL.size)
        if not head.startswith(b"PK\3\4") or len(head) < _LOCAL.size:
            break
        *_, crc, _, stored, length, _ = _LOCAL.unpack(head)
        if length > _LONGEST_NAME or stored > size - file.tell() or len(entries) >= _MOST_PARTS:
            raise _at(path, file, offset, "its header is not as it was written")
        raw = file.read(length)
        name = raw.decode("ascii", "replace")
        entry = _Entry(name, crc, stored, offset)
        if not PART_NAME.fullmatch(name) or head + raw != entry.header:
            raise _at(path, file, offset, "its header is not as it was written")
        if name in parts:
            raise _damaged(path, f"{name} comes twice")
        content = file.read(stored)
        if zlib.crc32(content) != crc:
            raise _damaged(path, f"{name} is damaged: its checksum does not fit its bytes")
        parts[name] = content
        entries.append(entry)
    file.seek(offset)
    _check_directory(file, entries, offset, path)
    return list(parts.items())


def _check_directory(file: BinaryIO, entries: list[_Entry], start: int, path: Path) -> None:
    """Refuse a directory that does not repeat exactly the entries that were read."""
    for entry in entries:
        expected = entry.directory
        found = file.read(len(expected))
        if found != expected:
            if entry is entries[0] and not found.startswith(b"PK\1\2"):
                raise _at(path, file, start, "its header is not as it was written")
            other = _name_at(file, start, entry.offset)
            called = f", which it calls {other}" if other and other != entry.name else ""
            raise _damaged(path, f"the directory is damaged at {entry.name}{called}")
    if file.read(_END.size) != _end(entries, start) or not entries:
        raise _damaged(path, "the end of the directory is damaged, or this is no evidence bundle")
    if file.read(1):
        raise _damaged(path, "something was appended after the end")


def _at(path: Path, file: BinaryIO, offset: int, problem: str) -> IntegrityError:
    name = _name_at(file, offset, offset) or f"the part at byte {offset}"
    return _damaged(path, f"{name} is damaged: {problem}")


def _name_at(file: BinaryIO, start: int, offset: int) -> str | None:
    """Return how the directory, wherever it is, calls the part that begins at ``offset``."""
    file.seek(start)
    rest = file.read()
    place = rest.find(b"PK\1\2")
    while place >= 0:
        record = rest[place : place + _CENTRAL.size]
        if len(record) == _CENTRAL.size:
            fields = _CENTRAL.unpack(record)
            if fields[-1] == offset:
                begin = place + _CENTRAL.size
                name = rest[begin : begin + fields[10]].decode("ascii", "replace")
                if PART_NAME.fullmatch(name):
                    return name
        place = rest.find(b"PK\1\2", place + 4)
    return None


def _damaged(path: Path, problem: str) -> IntegrityError:
    return IntegrityError(f"{path.name}: {problem}", hint=_HINT)
