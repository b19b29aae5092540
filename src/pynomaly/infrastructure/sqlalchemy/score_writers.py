"""Rows on their way into a table of scores."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count, repeat
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import sqlalchemy as sa

from pynomaly.domain.errors import FencedError, OutputNotWritableError
from pynomaly.domain.ledger import Part
from pynomaly.infrastructure.sqlalchemy.score_columns import RowDigest, dump_layout, kept, to_cells
from pynomaly.infrastructure.sqlalchemy.score_schema import (
    PART,
    ROW,
    delete_part,
    fences_table,
    identifier,
    make_tables,
)
from pynomaly.infrastructure.sqlalchemy.score_target import ScoreTarget

__all__ = ["NAME", "PostgresWriter", "SqliteWriter"]

NAME = re.compile(r"([0-9a-f]{8,64})-(\d+)")
_LOCK_SECONDS = 30
_ASLEEP_SECONDS = 10


class _Writer:
    """What both databases have in common."""

    def __init__(self, table: ScoreTarget, connection: sa.Connection, name: str) -> None:
        self.parts: tuple[Part, ...] = ()
        self._table = table
        self._connection = connection
        self._name = name
        self._schema: pa.Schema | None = None
        self._layout = pa.schema([])
        self._digest = RowDigest(self._layout)

    def write(self, table: pa.Table) -> None:
        """Append rows.

        Raises:
            ValueError: Another schema than the first table's.
            OutputNotWritableError: The database refuses us, or its table has other columns.
        """
        first = self._schema is None
        if first:
            self._schema = table.schema
        elif not table.schema.equals(self._schema):
            raise ValueError(f"a table for {self._name} has another schema than the first one")
        table = _without_dictionaries(table)
        if first:
            self._layout = table.schema
            self._digest = RowDigest(table.schema)
            make_tables(self._table, self._connection, table.schema)
            self._start()
        rows = kept(table, nan=not self._table.is_sqlite)
        self._load(rows, self._digest.rows + 1)
        self._digest.update(rows)

    def complete(self) -> None:
        """Commit rows and fence row, if there was any row.

        Raises:
            FencedError: A part of the same key with a greater fence is there.
        """
        if not self._digest.rows:
            return
        self._finish()
        digest, now = self._digest, datetime.now(UTC)
        match = NAME.fullmatch(self._name)
        assert match is not None  # the store has looked
        fences = fences_table(self._table)
        earlier = self._connection.execute(
            sa.select(fences.c.part, fences.c.fence).where(fences.c.slot == match[1])
        ).all()
        for name, fence in earlier:
            if fence >= int(match[2]):
                raise FencedError(
                    f"{self._table}/{name} was written meanwhile; {self._name} is too late",
                    hint="nothing to do: another worker has done this partition",
                )
            delete_part(self._table, self._connection, name)
        self._connection.execute(
            sa.insert(fences).values(
                part=self._name,
                slot=match[1],
                fence=int(match[2]),
                rows=digest.rows,
                digest=digest.hexdigest(),
                size_bytes=digest.size_bytes,
                layout=dump_layout(self._layout),
                stored_at=now,
            )
        )
        self._connection.commit()
        uri = f"{self._table}/{self._name}"
        self.parts = (Part(uri, digest.hexdigest(), digest.rows, digest.size_bytes),)

    @property
    def _columns(self) -> list[str]:
        return [PART, ROW, *self._layout.names]

    def _named(self, names: Sequence[str]) -> str:
        return ", ".join(map(identifier, names))

    def _start(self) -> None:
        raise NotImplementedError

    def _load(self, rows: pa.Table, first: int) -> None:
        raise NotImplementedError

    def _finish(self) -> None:
        """Have all rows in the table, in a transaction that nobody else of this slot overlaps."""
        raise NotImplementedError


class SqliteWriter(_Writer):
    """Rows wait in a temporary database, so that the file is locked for the commit only."""

    def _start(self) -> None:
        self._connection.exec_driver_sql("PRAGMA temp_store=FILE")
        columns = self._named(self._columns)
        self._connection.exec_driver_sql(f"CREATE TEMP TABLE waiting ({columns})")
        self._connection.exec_driver_sql("BEGIN")
        marks = ", ".join("?" * len(self._columns))
        self._insert = f"INSERT INTO temp.waiting VALUES ({marks})"  # noqa: S608 - question marks

    def _load(self, rows: pa.Table, first: int) -> None:
        cells = [to_cells(column) for column in rows.columns]
        driver: Any = self._connection.connection.driver_connection
        with _driver_errors(self._connection):
            driver.executemany(self._insert, zip(repeat(self._name), count(first), *cells))

    def _finish(self) -> None:
        self._connection.commit()
        self._connection.exec_driver_sql("BEGIN IMMEDIATE")
        names, table = self._named(self._columns), identifier(self._table.table)
        self._connection.exec_driver_sql(
            f"INSERT INTO main.{table} ({names}) SELECT {names} FROM temp.waiting ORDER BY rowid"  # noqa: S608 - names are quoted
        )


class PostgresWriter(_Writer):
    """Rows go up by COPY as they come; nobody sees them before the commit."""

    def _start(self) -> None:
        names = [self._table.schema, self._table.table]
        table = ".".join(identifier(name) for name in names if name is not None)
        self._copy = f"COPY {table} ({self._named(self._columns)}) FROM STDIN (FORMAT csv)"

    def _load(self, rows: pa.Table, first: int) -> None:
        places = pa.array(np.arange(first, first + len(rows)))
        rows = rows.add_column(0, ROW, places)
        rows = rows.add_column(0, PART, pa.repeat(pa.scalar(self._name), len(rows)))
        text = io.BytesIO()
        pc.write_csv(rows, text, pc.WriteOptions(include_header=False))
        self._connection.exec_driver_sql("SELECT 1")  # begins the transaction
        driver: Any = self._connection.connection.driver_connection
        with _driver_errors(self._connection), driver.cursor() as cursor:
            with cursor.copy(self._copy) as copy:
                copy.write(text.getbuffer())
            if cursor.rowcount != len(rows):
                raise OutputNotWritableError(
                    f"{self._table} took {cursor.rowcount:,} of {len(rows):,} rows",
                    hint="look for triggers or rules on that table",
                )

    def _finish(self) -> None:
        slot = f"{self._table.table}/{self._name.partition('-')[0]}"
        self._connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
        # The server shuts out one that holds the lock and falls asleep.
        limit = f"SET LOCAL idle_in_transaction_session_timeout = '{_ASLEEP_SECONDS}s'"
        self._connection.exec_driver_sql(limit)
        self._connection.execute(
            sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(slot, 0)))
        )


@contextmanager
def _driver_errors(connection: sa.Connection) -> Iterator[None]:
    """Give errors of the driver the form that SQLAlchemy gives them."""
    dbapi = connection.dialect.dbapi
    assert dbapi is not None
    try:
        yield
    except dbapi.Error as error:
        lost = connection.dialect.is_disconnect(error, connection.connection.dbapi_connection, None)
        if lost:
            connection.invalidate(error)  # or it would be rolled back, in vain and loudly
        raise sa.exc.DBAPIError.instance(
            None, None, error, dbapi.Error, connection_invalidated=lost
        ) from error


def _without_dictionaries(table: pa.Table) -> pa.Table:
    for index, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            plain = table.column(index).cast(field.type.value_type)
            table = table.set_column(index, field.name, plain)
    return table
