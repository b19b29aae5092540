"""Divides sources of any kind into partitions, and reads those made of files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple, cast

import numpy as np
import pyarrow as pa

from pynomaly.application.ports.partitions import PartitionBatch, PartitionReader
from pynomaly.domain.errors import MalformedSourceError
from pynomaly.domain.partitions import Partition, Plan
from pynomaly.domain.sources import SourceFormat, SourceSpec
from pynomaly.infrastructure.arrow.files import (
    DataFile,
    FindFiles,
    changed,
    stamp,
    unchanged,
    unpacked,
)
from pynomaly.infrastructure.arrow.formats import check_columns, choose
from pynomaly.infrastructure.arrow.outlines import Outline, Piece, content_digest, outline
from pynomaly.infrastructure.arrow.parquet import ParquetTable, open_parquet
from pynomaly.infrastructure.arrow.sources import PARSERS, kind_of_place

__all__ = ["FilePlace", "TablePartitions"]

_SINCE = "since it was planned"


@dataclass(frozen=True, slots=True)
class FilePlace:
    """A kind of place that holds files.

    Args:
        find: Finds them behind a URI.
        pin: Returns the version of a file that was found before: of its name, URI, size in bytes
            and :attr:`DataFile.version`.
        spell: Returns the one spelling of a URI that plans keep.
    """

    find: FindFiles
    pin: Callable[[str, str, int, str], DataFile]
    spell: Callable[[str], str] = str


@dataclass(frozen=True, slots=True)
class TablePartitions:
    """Implements ``PartitionReader``: dispatches on what the URI looks like.

    Parquet is divided at row groups; other formats, packed files and Parquet that is damaged or has
    no rows come as one partition a file.  What pins a partition depends on the place:

    - On disk the digest is over the bytes of the file, of Parquet over those of the row groups
      alone: a change of one row group is none of the others.  Unless inode, size and times show
      that nobody has touched the file since, the bytes are digested again through the very handle
      that is then decoded.  The file must not be written to until the end.
    - Elsewhere it is over ETag, size and row groups, and every request names the ETag: a new
      version of an object changes all partitions of it, equal content included.

    Args:
        local: Files and folders.
        s3: Objects behind ``s3://`` URLs.
        sql: Returns what divides tables of databases.
    """

    local: FilePlace
    s3: FilePlace
    sql: Callable[[], PartitionReader]

    def place(self, spec: SourceSpec) -> str:
        """Return how plans call the source."""
        if kind_of_place(spec) == "database":
            return self.sql().place(spec)
        return self._files(spec).spell(spec.uri)

    def plan(
        self,
        spec: SourceSpec,
        *,
        partition_rows: int,
        key: str | None = None,
        watermark: str | None = None,
        above: str | None = None,
    ) -> Plan:
        """Divide a source; files have neither key nor watermark."""
        if kind_of_place(spec) == "database":
            return self.sql().plan(
                spec, partition_rows=partition_rows, key=key, watermark=watermark, above=above
            )
        place = self._files(spec)
        form, files = choose(place.find(spec.uri), spec)
        schema: pa.Schema | None = None
        first = ""
        problem: MalformedSourceError | None = None
        rows = False
        partitions: list[Partition] = []
        for file in files:
            found = outline(file, form, spec, partition_rows, look=not rows)
            rows = rows or found.rows
            problem = problem or found.problem
            if found.schema is not None:
                if schema is None:
                    schema, first = found.schema, file.uri
                check_columns(found.schema, file.uri, schema, first)
            order = schema if schema is not None and found.schema != schema else None
            partitions += [
                _partition(file, place.spell(file.uri), form, found, order, piece)
                for piece in found.pieces
            ]
        if schema is None or not rows:
            raise problem or MalformedSourceError(
                f"{spec.uri} has a header but no rows",
                hint="expected at least one row below the header",
            )
        columns = tuple((field.name, str(field.type)) for field in schema)
        return Plan(place.spell(spec.uri), columns, tuple(partitions))

    def read(
        self,
        spec: SourceSpec,
        partition: Partition,
        *,
        columns: Sequence[str] | None = None,
        batch_rows: int = 16_384,
    ) -> Iterator[PartitionBatch]:
        """Stream a partition."""
        if not partition.locator:
            return iter(())  # gone when it was planned; should it be back, the next job finds it
        if kind_of_place(spec) == "database":
            return self.sql().read(spec, partition, columns=columns, batch_rows=batch_rows)
        return _read(self._files(spec), spec, partition, columns, batch_rows)

    def _files(self, spec: SourceSpec) -> FilePlace:
        return self.local if kind_of_place(spec) == "files" else self.s3


class _Locator(NamedTuple):
    """What a partition keeps for its reader."""

    form: str
    size: int
    version: str
    start: int | None
    stop: int | None
    columns: str | None
    """JSON list of names: the plan's order where the file has another."""
    stamp: str = ""
    """Of a file on disk, when its bytes were digested."""


def _partition(
    file: DataFile,
    uri: str,
    form: SourceFormat,
    found: Outline,
    order: pa.Schema | None,
    piece: Piece,
) -> Partition:
    start, stop = (piece.groups.start, piece.groups.stop) if piece.groups else (None, None)
    columns = None if order is None else json.dumps(order.names)
    return Partition(
        uri,
        file.name,
        piece.extent,
        piece.before,
        piece.rows,
        piece.size,
        piece.digest,
        _Locator(form, found.size, file.version, start, stop, columns, found.stamp),
    )


def _read(
    place: FilePlace,
    spec: SourceSpec,
    partition: Partition,
    columns: Sequence[str] | None,
    batch_rows: int,
) -> Iterator[PartitionBatch]:
    where = _Locator(*cast("_Locator", partition.locator))
    file = place.pin(partition.name, partition.source, where.size, where.version)
    if columns is None and where.columns is not None:
        columns = json.loads(where.columns)
    with file.open() as handle, unchanged(handle, str(partition)):
        pinned = bool(file.version or (where.stamp and stamp(handle) == where.stamp))
        if where.start is not None and where.stop is not None:
            groups = range(where.start, where.stop)
            table = _reopened(file, handle, partition, groups, pinned)
            names = _known(columns, table.schema, partition)
            if not file.version:
                yield from table.pieces(groups, names, batch_rows)
                return
            with file.open(table.extents(groups, names)) as ranges:
                table = open_parquet(ranges, file, table.reader.metadata)
                yield from table.pieces(groups, names, batch_rows)
            return
        if not pinned and content_digest(handle, file, where.size) != partition.digest:
            raise changed(str(partition), _SINCE)
        handle.seek(0)
        with unpacked(handle, file) as stream:
            parsed = PARSERS[cast("SourceFormat", where.form)](stream, file, spec)
            names = _known(columns, parsed.schema, partition)
            with closing(parsed.pieces):
                yield from _regrouped(parsed.pieces, names, batch_rows)


def _reopened(
    file: DataFile, handle: BinaryIO, partition: Partition, groups: range, pinned: bool
) -> ParquetTable:
    try:
        table = open_parquet(handle, file)
        same = groups.stop <= table.reader.num_row_groups and (
            pinned or table.digest(groups) == partition.digest
        )
    except MalformedSourceError as error:
        # When it was planned it was sound.
        raise changed(str(partition), _SINCE) from error
    if not same:
        raise changed(str(partition), _SINCE)
    return table


def _known(columns: Sequence[str] | None, schema: pa.Schema, partition: Partition) -> Sequence[str]:
    names = schema.names if columns is None else columns
    for name in names:
        if name not in schema.names:
            raise MalformedSourceError(
                f"{partition.source} has no column {name!r}",
                hint=f"it has {', '.join(schema.names[:20])}",
            )
    return names


def _regrouped(
    pieces: Iterable[PartitionBatch], names: Sequence[str], rows: int
) -> Iterator[PartitionBatch]:
    """Join small pieces: what a batch costs whatever its size would else be most of the work."""
    waiting: list[PartitionBatch] = []
    count = 0
    try:
        for piece in pieces:
            size = len(piece.table) + len(piece.malformed)
            if waiting and count + size > rows:
                yield from _sliced(waiting, names, rows)
                waiting, count = [], 0
            waiting.append(piece)
            count += size
    except MalformedSourceError:
        # What stands before the damage is as good as ever.
        yield from _sliced(waiting, names, rows)
        raise
    yield from _sliced(waiting, names, rows)


def _sliced(
    pieces: Sequence[PartitionBatch], names: Sequence[str], rows: int
) -> Iterator[PartitionBatch]:
    if not pieces:
        return
    table = pa.concat_tables(piece.table.select(names) for piece in pieces)
    numbers = np.concatenate([piece.numbers for piece in pieces])
    malformed = tuple(row for piece in pieces for row in piece.malformed)
    for start in range(0, max(1, len(table)), rows):
        here, refused = numbers[start : start + rows], malformed if start == 0 else ()
        if len(here) or refused:
            yield PartitionBatch(table.slice(start, rows), here, refused)
