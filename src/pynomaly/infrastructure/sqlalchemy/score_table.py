"""Scored parts as rows of a database table."""

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
from sqlalchemy.sql import quoted_name

from pynomaly.application.ports.partitions import PartWriter, StoredPart
from pynomaly.domain.errors import (
    ConfigurationError,
    FencedError,
    IntegrityError,
    OutputNotWritableError,
)
from pynomaly.domain.ledger import Part
from pynomaly.infrastructure.sqlalchemy.score_columns import (
    RowDigest,
    column_type,
    dump_layout,
    from_cells,
    kept,
    load_layout,
    restored,
    to_cells,
)
from pynomaly.infrastructure.sqlalchemy.score_target import ScoreTarget

__all__ = ["TableParts"]

_NAME = re.compile(r"([0-9a-f]{8,64})-(\d+)")
_PART, _ROW = "_part", "_row"
_CHECK_ROWS = 50_000
_LOCK_SECONDS = 30
_ASLEEP_SECONDS = 10
_LONG_AGO = datetime.fromtimestamp(0, UTC)


class TableParts:
    """Implements ``PartStore`` by tables of SQLite and PostgreSQL.

    The table has the columns of the first rows, before them ``_part`` and ``_row``, and is made on
    first use.  ``<table>_parts`` beside it has one row for every part, which is written in the same
    transaction as its rows: the **fence row**.  A part supersedes those of the same key with
    smaller fences, and is refused where there is one with a greater fence.
    """

    def resolve(self, target: str) -> str:
        """Return the one spelling of a target, e.g. ``postgresql://user@host/db#scores``."""
        return str(ScoreTarget.parse(target))

    def occupied(self, target: str) -> bool:
        """Whether the table exists and has rows."""
        table = ScoreTarget.parse(target)
        if not table.exists:
            return False
        with table.connect("read") as connection:
            if not sa.inspect(connection).has_table(table.table, table.schema):
                return False
            any_row = sa.select(sa.literal(1)).select_from(_rows(table)).limit(1)
            return connection.execute(any_row).first() is not None

    @contextmanager
    def writer(
        self, target: str, name: str, *, partition_by: str | None = None
    ) -> Iterator[PartWriter]:
        """Open a part; its rows and its fence row are committed when the context exits cleanly.

        Raises:
            ConfigurationError: ``partition_by``: a table has no folders.
            FencedError: A part of the same key with a greater fence is there.
            ConflictError: Others kept the table locked.
            OutputNotWritableError: The database refuses us, or the table has other columns.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"a part is called <key prefix>-<fence>: {name!r}")
        if partition_by is not None:
            raise ConfigurationError(
                f"a table is not divided by {partition_by!r}",
                hint="leave it out, or write to a folder or an s3:// prefix",
            )
        table = ScoreTarget.parse(target)
        with table.connect() as connection:
            kind = _SqliteWriter if table.is_sqlite else _PostgresWriter
            writer = kind(table, connection, name)
            yield writer
            writer.complete()

    def read(
        self, parts: Sequence[Part], columns: Sequence[str] | None = None, batch_rows: int = 50_000
    ) -> Iterator[pa.Table]:
        """Stream parts in order, with the types that were written."""
        for part in parts:
            table, name = _address(part.uri)
            layout = _layout(table, name)
            if layout is None:
                raise _damaged(part, "is missing")
            wanted = layout.names if columns is None else list(columns)
            for column in wanted:
                if column not in layout.names:
                    raise ConfigurationError(
                        f"the scores in {part.uri} have no column {column!r}",
                        hint="they have " + ", ".join(layout.names),
                    )
            rows = 0
            for batch in _batches(
                table, name, pa.schema([layout.field(c) for c in wanted]), batch_rows
            ):
                rows += len(batch)
                yield restored(batch, layout)
            if rows != part.rows:
                raise _damaged(part, f"holds {rows:,} rows, committed were {part.rows:,}")

    def check(self, part: Part) -> str | None:
        """Count a part's rows and take their digest anew."""
        table, name = _address(part.uri)
        layout = _layout(table, name)
        if layout is None:
            return "is missing"
        digest = RowDigest(layout)
        try:
            for batch in _batches(table, name, layout, _CHECK_ROWS):
                digest.update(batch)
        except IntegrityError as error:
            return error.message.removeprefix(f"{part.uri} ")
        if digest.rows != part.rows:
            return f"holds {digest.rows:,} rows, committed were {part.rows:,}"
        found = digest.hexdigest()
        if found != part.digest:
            return f"has other rows than were committed (sha256 {found}, not {part.digest})"
        return None

    def stored(self, target: str) -> Iterator[StoredPart]:
        """Find every fence row, then rows that have none: somebody else wrote or removed them."""
        table = ScoreTarget.parse(target)
        if not table.exists:
            return
        with table.connect("read") as connection:
            if not sa.inspect(connection).has_table(_fences(table).name, table.schema):
                return
            fences = _fences(table)
            known = connection.execute(
                sa.select(fences.c.part, fences.c.size_bytes, fences.c.stored_at)
            ).all()
            part = _rows(table).c[_PART]
            others = sa.select(part).distinct()
            stray = connection.scalars(others.where(part.not_in(sa.select(fences.c.part)))).all()
        for name, size, moment in known:
            stored_at = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            yield StoredPart(f"{table}/{name}", size, stored_at)
        for name in stray:
            yield StoredPart(f"{table}/{name}", 0, _LONG_AGO)

    def remove(self, uri: str) -> None:
        """Delete rows and fence row of a part; one that is gone already is fine."""
        table, name = _address(uri)
        if not table.exists:
            return
        with table.connect("clean") as connection:
            if sa.inspect(connection).has_table(_fences(table).name, table.schema):
                _begin(table, connection)
                _delete(table, connection, name)
                connection.commit()


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
            _make_tables(self._table, self._connection, table.schema)
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
        match = _NAME.fullmatch(self._name)
        assert match is not None  # the store has looked
        fences = _fences(self._table)
        earlier = self._connection.execute(
            sa.select(fences.c.part, fences.c.fence).where(fences.c.slot == match[1])
        ).all()
        for name, fence in earlier:
            if fence >= int(match[2]):
                raise FencedError(
                    f"{self._table}/{name} was written meanwhile; {self._name} is too late",
                    hint="nothing to do: another worker has done this partition",
                )
            _delete(self._table, self._connection, name)
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
        return [_PART, _ROW, *self._layout.names]

    def _named(self, names: Sequence[str]) -> str:
        return ", ".join(map(_identifier, names))

    def _start(self) -> None:
        raise NotImplementedError

    def _load(self, rows: pa.Table, first: int) -> None:
        raise NotImplementedError

    def _finish(self) -> None:
        """Have all rows in the table, in a transaction that nobody else of this slot overlaps."""
        raise NotImplementedError


class _SqliteWriter(_Writer):
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
        names, table = self._named(self._columns), _identifier(self._table.table)
        self._connection.exec_driver_sql(
            f"INSERT INTO main.{table} ({names}) SELECT {names} FROM temp.waiting ORDER BY rowid"  # noqa: S608 - names are quoted
        )


class _PostgresWriter(_Writer):
    """Rows go up by COPY as they come; nobody sees them before the commit."""

    def _start(self) -> None:
        names = [self._table.schema, self._table.table]
        table = ".".join(_identifier(name) for name in names if name is not None)
        self._copy = f"COPY {table} ({self._named(self._columns)}) FROM STDIN (FORMAT csv)"

    def _load(self, rows: pa.Table, first: int) -> None:
        places = pa.array(np.arange(first, first + len(rows)))
        rows = rows.add_column(0, _ROW, places)
        rows = rows.add_column(0, _PART, pa.repeat(pa.scalar(self._name), len(rows)))
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
        raise sa.exc.DBAPIError.instance(None, None, error, dbapi.Error) from error


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _quoted(name: str) -> quoted_name:
    # SQLAlchemy's own list of reserved words is not complete.
    return quoted_name(name, True)


def _begin(table: ScoreTarget, connection: sa.Connection) -> None:
    if table.is_sqlite:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _rows(table: ScoreTarget, *columns: sa.Column[Any]) -> sa.Table:
    return sa.Table(
        table.table,
        sa.MetaData(),
        sa.Column(_PART, sa.Text, primary_key=True),
        sa.Column(_ROW, sa.BigInteger, primary_key=True, autoincrement=False),
        *columns,
        schema=table.schema,
        sqlite_with_rowid=False,
    )


def _fences(table: ScoreTarget) -> sa.Table:
    return sa.Table(
        f"{table.table}_parts",
        sa.MetaData(),
        sa.Column("part", sa.Text, primary_key=True),
        sa.Column("slot", sa.Text, nullable=False, unique=True),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("layout", sa.Text, nullable=False),
        sa.Column("stored_at", sa.DateTime(timezone=True), nullable=False),
        schema=table.schema,
    )


def _make_tables(table: ScoreTarget, connection: sa.Connection, layout: pa.Schema) -> None:
    """Make both tables unless they are there; refuse a table with other columns."""
    for name in layout.names:
        if name in (_PART, _ROW) or not name or len(name.encode()) > 63:
            raise ConfigurationError(
                f"a column of scores in a table cannot be called {name!r}",
                hint=f"{_PART} and {_ROW} are taken, and names have at most 63 bytes",
            )
    columns = [sa.Column(_quoted(field.name), column_type(field.type)) for field in layout]
    rows, fences = _rows(table, *columns), _fences(table)
    with connection.begin():
        inspector = sa.inspect(connection)
        if not all(inspector.has_table(made.name, table.schema) for made in (rows, fences)):
            if table.is_sqlite:
                _begin(table, connection)
            else:  # IF NOT EXISTS does not keep two from making it at once
                slot = sa.func.hashtextextended(table.table, 1)
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(slot)))
            rows.create(connection, checkfirst=True)
            fences.create(connection, checkfirst=True)
        found = {
            column["name"]: column["type"].compile(connection.dialect)
            for column in sa.inspect(connection).get_columns(table.table, table.schema)
        }
    for column in rows.columns:
        expected = column.type.compile(connection.dialect)
        if found.get(column.name) != expected:
            is_there = found.get(column.name, "not there")
            raise OutputNotWritableError(
                f"the column {column.name!r} of {table} is {is_there}, should be {expected}",
                hint="choose another table, or ALTER this one",
            )


def _delete(table: ScoreTarget, connection: sa.Connection, name: str) -> None:
    rows, fences = _rows(table), _fences(table)
    connection.execute(sa.delete(rows).where(rows.c[_PART] == name))
    connection.execute(sa.delete(fences).where(fences.c.part == name))


def _address(uri: str) -> tuple[ScoreTarget, str]:
    target, _, name = uri.rpartition("/")
    if not _NAME.fullmatch(name):
        raise ValueError(f"this is not the name of a part: {uri}")
    return ScoreTarget.parse(target), name


def _layout(table: ScoreTarget, name: str) -> pa.Schema | None:
    """Return the columns of a part, or None where its fence row is missing."""
    if not table.exists:
        return None
    fences = _fences(table)
    with table.connect("read") as connection:
        if not sa.inspect(connection).has_table(fences.name, table.schema):
            return None
        text = connection.scalar(sa.select(fences.c.layout).where(fences.c.part == name))
    return None if text is None else load_layout(text)


def _batches(
    table: ScoreTarget, name: str, layout: pa.Schema, batch_rows: int
) -> Iterator[pa.Table]:
    """Stream the rows of a part as they are kept, each batch by a statement of its own.

    A cursor that stays open would keep writers of SQLite from committing.
    """
    rows = _rows(table)
    statement = (
        sa.select(rows.c[_ROW], *(sa.column(_quoted(column)) for column in layout.names))
        .select_from(rows)
        .where(rows.c[_PART] == name, rows.c[_ROW] > sa.bindparam("last"))
        .order_by(rows.c[_ROW])
        .limit(batch_rows)
    )
    last = 0
    with table.connect("read") as connection:
        while found := connection.execute(statement, {"last": last}).all():
            connection.rollback()
            last = found[-1][0]
            cells = list(zip(*found, strict=True))[1:]
            try:
                arrays = [
                    from_cells(values, field.type)
                    for values, field in zip(cells, layout, strict=True)
                ]
            except (pa.ArrowException, ValueError) as error:
                raise IntegrityError(
                    f"{table}/{name} cannot be read: {str(error).splitlines()[0]}"
                ) from error
            yield pa.table(arrays, names=layout.names)


def _without_dictionaries(table: pa.Table) -> pa.Table:
    for index, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            plain = table.column(index).cast(field.type.value_type)
            table = table.set_column(index, field.name, plain)
    return table


def _damaged(part: Part, problem: str) -> IntegrityError:
    return IntegrityError(
        f"{part.uri} {problem}",
        hint="run `pynomaly scores verify PIPELINE --repair`, then score again",
    )
