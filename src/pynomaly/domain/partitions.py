"""Input snapshots, divided into pieces that are read, validated and scored as a whole."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from pynomaly.domain.datasets import Fingerprint
from pynomaly.domain.increments import Watermark

__all__ = ["Partition", "Plan"]


@dataclass(frozen=True, slots=True)
class Partition:
    """A piece of an input snapshot.

    Args:
        source: Path or URL of the file, object or table it belongs to; never holds a password.
        name: How row ids call that file: ``"<name>#<row>"``.
        extent: Which piece of it, for people; empty for all of it, else e.g. ``row groups 0-3``.
        first_row: Rows of the file before it.
        rows: In it; None where only reading tells.
        size_bytes: To be read.
        digest: Cryptographic digest (64 hex digits) of its content, as far as the source can tell
            without reading all: BLAKE3 of the bytes of files on disk, sha256 elsewhere.
        locator: What its reader needs to find it again and to notice a change; empty for a file
            that is gone and has no rows any more.
    """

    source: str
    name: str
    extent: str
    first_row: int
    rows: int | None
    size_bytes: int
    digest: str
    locator: tuple[int | str | None, ...] = ()

    @property
    def content(self) -> str:
        """What tells its rows from others', wherever they are."""
        return f"{self.digest} {self.extent}"

    def __str__(self) -> str:
        """Return file and extent, for messages."""
        return f"{self.source}, {self.extent}" if self.extent else self.source


@dataclass(frozen=True, slots=True)
class Plan:
    """An input snapshot divided into partitions.

    Args:
        uri: Where it was found; never holds a password.
        columns: ``(name, physical type)`` in order.
        partitions: In the order of the rows.
        watermark: Up to where the table was read; None without a watermark column.
        incremental: Whether only what is new is in it.
    """

    uri: str
    columns: tuple[tuple[str, str], ...]
    partitions: tuple[Partition, ...]
    watermark: Watermark | None = None
    incremental: bool = False

    @property
    def fingerprint(self) -> Fingerprint:
        """Digests of the content, whatever the place, and of the columns."""
        content = hashlib.sha256()
        for partition in self.partitions:
            content.update(f"{partition.name}\0{partition.extent}\0{partition.digest}\n".encode())
        schema = hashlib.sha256(json.dumps(self.columns).encode())
        return Fingerprint(content.hexdigest(), schema.hexdigest())

    @property
    def size_bytes(self) -> int:
        """Bytes to be read."""
        return sum(partition.size_bytes for partition in self.partitions)
