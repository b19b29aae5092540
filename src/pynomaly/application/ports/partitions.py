"""Dividing a source into partitions, reading them, and storing scored parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from pynomaly.application.ports.data import MalformedRow
from pynomaly.domain.ledger import Part
from pynomaly.domain.partitions import Partition, Plan
from pynomaly.domain.sources import SourceSpec

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = [
    "PartStore",
    "PartWriter",
    "PartWriters",
    "PartitionBatch",
    "PartitionReader",
    "StoredPart",
]


@dataclass(frozen=True, slots=True)
class PartitionBatch:
    """Rows of one partition, in order.

    Args:
        table: The source's columns, of those that were asked for, in that order; no ``row_id``.
        numbers: (n,) of the rows within their file, from 1, malformed ones counted.
        malformed: Lines met up to here that are no rows.
    """

    table: pa.Table
    numbers: NDArray[np.int64]
    malformed: tuple[MalformedRow, ...] = ()


class PartitionReader(Protocol):
    """Divides sources of any kind and reads the pieces, each by itself and in any process."""

    def place(self, spec: SourceSpec) -> str:
        """Return how plans of a source call it: path or URL, query included, without password."""

    def plan(
        self,
        spec: SourceSpec,
        *,
        partition_rows: int,
        key: str | None = None,
        watermark: str | None = None,
        above: str | None = None,
    ) -> Plan:
        """Divide a source.

        Parquet is divided at row groups, tables of a database by ranges of ``key``; text formats
        and Excel come as one partition a file.  A file that cannot be divided because it is
        damaged comes whole and fails when it is read, as long as another one is sound; one without
        rows comes whole as well, as long as another one has some.

        Args:
            spec: The source.
            partition_rows: Aim; a partition holds at least one row group.
            key: Column whose ranges divide a database table; one partition where None.
            watermark: Column of a database table that grows with every new row.
            above: Only rows whose watermark is greater; all where None.

        Raises:
            SourceNotFoundError: Missing, or access denied.
            UnsupportedFormatError: The format cannot be told.
            MalformedSourceError: No file is a usable table, or their columns differ.
        """

    def read(
        self,
        spec: SourceSpec,
        partition: Partition,
        *,
        columns: Sequence[str] | None = None,
        batch_rows: int = 16_384,
    ) -> Iterator[PartitionBatch]:
        """Stream a partition in bounded memory.

        Args:
            spec: The source it was planned from.
            partition: One of the plan's, or one without locator, which has no rows.
            columns: To be read, by name, in the order wanted; all where None.
            batch_rows: Rows of a batch at most.

        Raises:
            SourceChangedError: Its content is no longer what was planned.  Raised at the latest
                when the iteration ends: what was read before must not be used then.
            MalformedSourceError: It cannot be decoded; names file and row group.
            SourceNotFoundError: It vanished, or access is denied.
        """


class PartWriter(Protocol):
    """Writes the scored rows of one partition; nothing counts until the context exits cleanly."""

    parts: tuple[Part, ...]
    """What was written; empty until the context has exited, and where no row was written."""

    def write(self, table: pa.Table) -> None:
        """Append rows; all tables of one writer have the same schema."""


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part as it is found in a target, committed or not.

    Args:
        uri: Where it is.
        size_bytes: Its size.
        modified_at: UTC.
    """

    uri: str
    size_bytes: int
    modified_at: datetime


class PartWriters(Protocol):
    """Takes the scored rows of partitions."""

    def writer(
        self, target: str, name: str, *, partition_by: str | None = None
    ) -> AbstractContextManager[PartWriter]:
        """Open a new part; see :meth:`PartStore.writer`."""


class PartStore(PartWriters, Protocol):
    """Stores parts in folders, under ``s3://`` prefixes and in database tables."""

    def resolve(self, target: str) -> str:
        """Return the one spelling of a target that the ledger keeps.

        Raises:
            ConfigurationError: It holds a password, or names no table.
            UnsupportedFormatError: No such kind of target.
        """

    def occupied(self, target: str) -> bool:
        """Whether the target holds anything at all that a reader of it would take for data."""

    def writer(
        self, target: str, name: str, *, partition_by: str | None = None
    ) -> AbstractContextManager[PartWriter]:
        """Open a new part.

        Args:
            target: As resolved.
            name: Unique for this attempt (key and fence): a writer that was overtaken never
                touches the parts of the one that overtook it.
            partition_by: Column by whose values rows are divided among folders
                ``<column>=<value>``; it is not stored in the files.

        Raises:
            ConfigurationError: A column the target cannot hold, or that cannot divide the rows.
            FencedError: A table holds a part of the same key with a greater fence.
            ConflictError: Others kept a table locked.
            OutputNotWritableError: The target refuses us or is full; nothing is left behind that
                counts.
        """

    def read(
        self, parts: Sequence[Part], columns: Sequence[str] | None = None, batch_rows: int = 50_000
    ) -> Iterator[pa.Table]:
        """Stream parts in order.

        Raises:
            IntegrityError: A part is missing or cannot be read.
        """

    def check(self, part: Part) -> str | None:
        """Re-count rows and digest of a part; return what is wrong with it, or None."""

    def stored(self, target: str) -> Iterator[StoredPart]:
        """Find everything in a target that has the name of a part or of a half-written one."""

    def remove(self, uri: str) -> None:
        """Remove a part; one that is gone already is fine."""
