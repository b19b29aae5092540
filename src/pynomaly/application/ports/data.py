"""Where tables come from and where they go.  Batches are pyarrow tables (ADR 0003)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pynomaly.domain.datasets import Snapshot
from pynomaly.domain.sources import SourceSpec

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "DatasetStore",
    "MalformedRow",
    "OutputSinks",
    "OutputWriter",
    "Source",
    "SourceBatch",
    "Sources",
]


@dataclass(frozen=True, slots=True)
class MalformedRow:
    """A line that could not be split into columns.

    Args:
        file: Name of the file relative to the source.
        line: Physical line number from 1 (CSV, JSON lines).
        text: The line itself, truncated to 500 characters.
        reason: E.g. ``expected 5 fields, found 7``.
    """

    file: str
    line: int
    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class SourceBatch:
    """A piece of a source, in order.

    Args:
        table: Columns as the source has them, in source order.  CSV columns are all strings with
            empty cells as null; typed formats keep their types.  The first column is always
            ``row_id`` (string, ``"<file>#<row>"``, row from 1 within the file, malformed rows
            counted), so that rows without an id have a stable one.
        malformed: Lines met in this piece that are no rows.
    """

    table: pa.Table
    malformed: tuple[MalformedRow, ...] = ()


class Source(Protocol):
    """An opened source, pinned by its digest."""

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """``(name, physical type)`` in source order, without ``row_id``."""

    def batches(self, batch_rows: int = 50_000) -> Iterator[SourceBatch]:
        """Stream the source in order with bounded memory.

        Raises:
            MalformedSourceError: The bytes are no usable table.
        """

    def snapshot(self) -> Snapshot:
        """Return digest, schema, rows and bytes; known only after ``batches`` was exhausted.

        The digest is computed from the very bytes that ``batches`` read.
        """


class Sources(Protocol):
    """Opens sources of any kind."""

    def open(self, spec: SourceSpec) -> Source:
        """Open ``spec`` and read its header.

        Raises:
            SourceNotFoundError: Missing, or access denied.
            UnsupportedFormatError: The format cannot be told.
            MalformedSourceError: Empty, header only, duplicate column names, undecodable.
        """


class DatasetStore(Protocol):
    """Staged Parquet datasets of the platform's own (accepted rows, quarantine)."""

    def writer(self, name: str) -> AbstractContextManager[OutputWriter]:
        """Open a new dataset ``name`` for writing; visible only after a clean exit."""

    def read(
        self, uri: str, columns: list[str] | None = None, batch_rows: int = 50_000
    ) -> Iterator[pa.Table]:
        """Stream a staged dataset in order."""

    def table(self, uri: str, columns: list[str] | None = None) -> pa.Table:
        """Read a staged dataset, or some of its columns, whole."""

    def discard(self, uri: str) -> None:
        """Remove a staged dataset that no record refers to."""


class OutputWriter(Protocol):
    """Writes tables to one place; nothing is visible there until the context exits cleanly."""

    uri: str
    """Where it will be."""

    rows: int
    """Written so far."""

    digest: str
    """sha256 of the finished bytes, hex; empty until the context has exited."""

    def write(self, table: pa.Table) -> None:
        """Append a table; all tables of one writer have the same schema."""


class OutputSinks(Protocol):
    """Opens outputs users asked for: Parquet, CSV or JSON lines, local or S3."""

    def writer(
        self, uri: str, *, overwrite: bool, announce: Callable[[str], None] | None = None
    ) -> AbstractContextManager[OutputWriter]:
        """Open ``uri`` for writing, format by extension.

        Args:
            uri: Path or ``s3://`` URL ending in .parquet, .csv, .jsonl.
            overwrite: Whether an existing object may be replaced.
            announce: Told the digest (sha256, hex) when all is written and nothing is visible yet;
                not where nothing was written.

        Raises:
            OutputExistsError: Something is there and ``overwrite`` is false; its bytes untouched.
            OutputNotWritableError: The folder or bucket refuses us.
            UnsupportedFormatError: Unknown extension.
        """

    def digest(self, uri: str) -> str | None:
        """Return sha256 (hex) of what is at ``uri`` now, or None if nothing is."""
