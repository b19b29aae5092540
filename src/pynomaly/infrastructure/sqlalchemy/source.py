"""Streams a table or query of any database SQLAlchemy speaks to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pynomaly.application.planned_source import row_ids
from pynomaly.application.ports.data import MalformedRow, SourceBatch
from pynomaly.application.ports.partitions import PartitionBatch
from pynomaly.domain.datasets import ROW_ID, Fingerprint, Snapshot
from pynomaly.domain.errors import MalformedSourceError
from pynomaly.domain.sources import SourceSpec
from pynomaly.infrastructure.sqlalchemy.selection import Relation, Selection, run
from pynomaly.infrastructure.sqlalchemy.values import Kind, as_text, convert, tell_kind

if TYPE_CHECKING:
    import sqlalchemy as sa
    from sqlalchemy.engine import Connection

__all__ = ["SqlSource", "canonical", "columns_of", "converted", "open_sql_source", "read_kinds"]

_HEAD_ROWS = 1_000


def open_sql_source(spec: SourceSpec) -> SqlSource:
    """Open a table or query, and read its first rows.

    Args:
        spec: ``uri`` is a SQLAlchemy URL (``postgresql://`` means psycopg), ``query`` a table
            name or one SELECT statement.

    Raises:
        ConfigurationError: No query, more than one statement, or not a SELECT.
        SourceNotFoundError: The database does not answer or refuses us, or has no such table.
        MalformedSourceError: No rows, or duplicate column names.
        MissingExtraError: The database's driver is not installed.
    """
    return SqlSource(spec)


class SqlSource:
    """Rows of one statement, run in a read-only transaction.

    A table is read in order of its primary key, so that equal content has an equal fingerprint;
    a query, or a table without a key, in the order the database gives.  Columns get the type of
    their first 1,000 rows; a later row with a value of another type is malformed.  Exact decimals
    are strings, which keep every digit.

    Args:
        spec: See :func:`open_sql_source`.
    """

    def __init__(self, spec: SourceSpec) -> None:
        self._selection = Selection(spec)
        self._snapshot: Snapshot | None = None
        with self._selection.connect() as connection:
            relation = self._selection.relation(connection)
            self._kinds = read_kinds(self._selection, connection, relation)

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """``(name, physical type)`` in source order, without ``row_id``."""
        return columns_of(self._kinds)

    def batches(self, batch_rows: int = 50_000) -> Iterator[SourceBatch]:
        """Run the statement and stream its rows."""
        self._snapshot = None
        selection = self._selection
        digest = hashlib.sha256()
        number = size = 0
        with (
            selection.connect() as connection,
            run(connection, selection.relation(connection).statement) as result,
        ):
            if tuple(result.keys()) != tuple(self._kinds):
                raise MalformedSourceError(
                    f"the columns of {selection.shown} changed since it was opened",
                    hint="run again",
                )
            while rows := result.fetchmany(batch_rows):
                lines = canonical(rows)
                digest.update(lines)
                size += len(lines)
                batch = converted(selection.name, self._kinds, rows, number)
                ids = row_ids(selection.name, batch.numbers)
                yield SourceBatch(batch.table.add_column(0, ROW_ID, ids), batch.malformed)
                number += len(rows)
        schema = hashlib.sha256(json.dumps(self.columns).encode()).hexdigest()
        fingerprint = Fingerprint(digest.hexdigest(), schema)
        self._snapshot = Snapshot(selection.shown, fingerprint, self.columns, number, size)

    def snapshot(self) -> Snapshot:
        """Return what the last complete :meth:`batches` read."""
        if self._snapshot is None:
            raise RuntimeError("a snapshot is known only after all batches were read")
        return self._snapshot


def read_kinds(selection: Selection, connection: Connection, relation: Relation) -> dict[str, Kind]:
    """Return what each column holds, told by the first 1,000 rows.

    Raises:
        MalformedSourceError: No rows, duplicate column names, or one called ``row_id``.
    """
    with run(connection, relation.statement) as result:
        names = tuple(result.keys())
        rows = result.fetchmany(_HEAD_ROWS)
    where = f"{selection.name} of {selection.shown}"
    for name in names:
        if names.count(name) > 1:
            raise MalformedSourceError(
                f"{where} has two columns called {name!r}",
                hint="give one of them another name with AS",
            )
    if ROW_ID in names:
        raise MalformedSourceError(
            f"{where} has a column {ROW_ID!r}, a name Pynomaly gives itself",
            hint=f"write a SELECT that renames it, e.g. {ROW_ID} AS id",
        )
    if not rows:
        raise MalformedSourceError(f"{where} has no rows", hint="expected at least one row")
    return {
        name: tell_kind([row[i] for row in rows], numeric=name in relation.numeric)
        for i, name in enumerate(names)
    }


def columns_of(kinds: Mapping[str, Kind]) -> tuple[tuple[str, str], ...]:
    """Return ``(name, physical type)`` in order."""
    return tuple((name, str(kind.type)) for name, kind in kinds.items())


def canonical(rows: Sequence[sa.Row[Any]]) -> bytes:
    """Return rows as bytes that are equal where all values are: JSON, one row a line."""
    lines = (json.dumps(tuple(row), ensure_ascii=False, default=as_text) for row in rows)
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass")


def converted(
    name: str, kinds: Mapping[str, Kind], rows: Sequence[sa.Row[Any]], before: int
) -> PartitionBatch:
    """Return rows as a table.

    Args:
        name: Of the table, for malformed rows.
        kinds: Of the columns, in order.
        rows: Those with a value of another kind are malformed.
        before: How many precede them.
    """
    cells: list[list[Any]] = [[] for _ in kinds]
    numbers = []
    malformed = []
    for number, row in enumerate(rows, before + 1):
        values = []
        for (column, kind), value in zip(kinds.items(), row, strict=True):
            try:
                values.append(convert(kind, value))
            except ValueError:
                reason = (
                    f"{column} is {type(value).__name__}, the first {_HEAD_ROWS} rows have "
                    f"{kind.type}; CAST it in the query"
                )
                malformed.append(MalformedRow(name, number, repr(tuple(row))[:500], reason))
                break
        else:
            numbers.append(number)
            for cell, value in zip(cells, values, strict=True):
                cell.append(value)
    arrays = [pa.array(cell, kind.type) for cell, kind in zip(cells, kinds.values(), strict=True)]
    table = pa.Table.from_arrays(arrays, names=list(kinds))
    return PartitionBatch(table, np.array(numbers, dtype=np.int64), tuple(malformed))
