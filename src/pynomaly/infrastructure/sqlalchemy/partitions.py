"""Divides tables and queries by ranges of a key, and reads the ranges."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

from pynomaly.application.ports.partitions import PartitionBatch
from pynomaly.domain.errors import ConfigurationError, MalformedSourceError, SourceChangedError
from pynomaly.domain.increments import INCREMENT, Watermark
from pynomaly.domain.partitions import Partition, Plan
from pynomaly.domain.sources import SourceSpec
from pynomaly.infrastructure.sqlalchemy.ranges import New, Range, Ranges
from pynomaly.infrastructure.sqlalchemy.selection import Selection
from pynomaly.infrastructure.sqlalchemy.source import canonical, columns_of, converted, read_kinds
from pynomaly.infrastructure.sqlalchemy.values import KINDS

__all__ = ["SqlPartitions"]

_FETCH_ROWS = 10_000


class SqlPartitions:
    """Implements ``PartitionReader`` for tables and queries of PostgreSQL and SQLite.

    A plan is one state of the database: it is made in one transaction, which also digests the rows
    of every range, so that planning reads the whole source once.  Each range is read later in a
    transaction of its own and its rows are digested again; rows that were changed, removed or
    inserted between its first and last key are noticed when its last row has been read.  Rows with
    keys beyond those of the plan, or with a greater watermark, are not part of it.

    Ranges hold ``partition_rows`` distinct positions in the order of the key, more where many rows
    share a key; rows without one come last.  Within a range rows are ordered by the key, then, if
    it is not unique, by the primary key, or by the text of all columns where there is none.  Give
    the key an index: without, every range is a scan of the table.

    Tables of other databases come as one partition, in order of their primary key.
    """

    def place(self, spec: SourceSpec) -> str:
        """Return URL and query, without passwords."""
        return Selection(spec).place

    def plan(
        self,
        spec: SourceSpec,
        *,
        partition_rows: int,
        key: str | None = None,
        watermark: str | None = None,
        above: str | None = None,
    ) -> Plan:
        """Divide a table or query.

        Raises:
            ConfigurationError: The watermark is no column, or cannot be compared.
            MalformedSourceError: No rows, no such key, or, with ``above``, rows without watermark.
        """
        selection = Selection(spec)
        asked_at = datetime.now(UTC)
        with selection.connect() as connection:
            relation = selection.relation(connection)
            kinds = read_kinds(selection, connection, relation)
            ranges = Ranges(connection, relation)
            divisible = ranges.divisible
            if key is not None and key not in kinds:
                raise MalformedSourceError(
                    f"{selection.place} has no column {key!r}",
                    hint=f"it has {', '.join(list(kinds)[:20])}",
                )
            if watermark is not None and (watermark not in kinds or not divisible):
                raise ConfigurationError(
                    f"{selection.place} has no watermark {watermark!r}",
                    hint=f"name one of {', '.join(list(kinds)[:20])}"
                    if divisible
                    else "only PostgreSQL and SQLite are read by watermark",
                )
            new = New((), above, "")
            if watermark is not None:
                new = ranges.new(selection, watermark, above)
            whole = Range(
                {name: kind.name for name, kind in kinds.items()},
                key if divisible else None,
                new.conditions,
            )
            # What comes after another job does not take the place of what that one scored.
            source = selection.place if above is None else f"{selection.place}{INCREMENT}{above}"
            name = selection.name if above is None else f"{selection.name} above {above}"
            partitions: list[Partition] = []
            before = 0
            for extent, part in ranges.divide(whole, partition_rows):
                found = _Digest(part)
                for rows in ranges.read(part, _FETCH_ROWS):
                    found.update(rows)
                if found.rows:
                    partitions.append(
                        Partition(
                            source,
                            name,  # rows without an id are numbered beside it
                            ", ".join(filter(None, (extent, new.extent))),
                            before,
                            found.rows,
                            found.size,
                            found.hexdigest(),
                            (str(part),),
                        )
                    )
                    before += found.rows
        mark = None
        if watermark is not None and new.watermark is not None:
            mark = Watermark(watermark, new.watermark, asked_at)
        return Plan(selection.place, columns_of(kinds), tuple(partitions), mark)

    def read(
        self,
        spec: SourceSpec,
        partition: Partition,
        *,
        columns: Sequence[str] | None = None,
        batch_rows: int = 16_384,
    ) -> Iterator[PartitionBatch]:
        """Stream a range; all columns are fetched and digested, whatever is asked for."""
        part = Range.parse(cast("str", partition.locator[0]))
        kinds = {name: KINDS[kind] for name, kind in part.kinds.items()}
        for name in columns or ():
            if name not in kinds:
                raise MalformedSourceError(
                    f"{partition.source} has no column {name!r}",
                    hint=f"it has {', '.join(list(kinds)[:20])}",
                )
        selection = Selection(spec)
        found = _Digest(part)
        with selection.connect(planned=True) as connection:
            ranges = Ranges(connection, selection.relation(connection))
            for rows in ranges.read(part, batch_rows):
                if rows[0]._fields != tuple(kinds):
                    raise _changed(partition)
                before = partition.first_row + found.rows
                found.update(rows)
                batch = converted(selection.name, kinds, rows, before)
                yield (
                    batch if columns is None else replace(batch, table=batch.table.select(columns))
                )
        if found.hexdigest() != partition.digest:
            raise _changed(partition)


class _Digest:
    """sha256 over the columns and rows of a range, and how many rows and bytes that were."""

    def __init__(self, part: Range) -> None:
        self._hash = hashlib.sha256(json.dumps(part.kinds).encode() + b"\n")
        self.rows = self.size = 0

    def update(self, rows: Sequence[Any]) -> None:
        """Take rows."""
        lines = canonical(rows)
        self._hash.update(lines)
        self.rows += len(rows)
        self.size += len(lines)

    def hexdigest(self) -> str:
        """Return the digest so far."""
        return self._hash.hexdigest()


def _changed(partition: Partition) -> SourceChangedError:
    return SourceChangedError(
        f"{partition} changed since it was planned", hint="run again when its writer has finished"
    )
