"""The two tables of a target for scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.sql import quoted_name

from pynomaly.domain.errors import ConfigurationError, OutputNotWritableError
from pynomaly.infrastructure.sqlalchemy.score_columns import column_type
from pynomaly.infrastructure.sqlalchemy.score_target import ScoreTarget

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "PART",
    "ROW",
    "begin_writing",
    "delete_part",
    "fences_table",
    "identifier",
    "make_tables",
    "quoted",
    "rows_table",
]

PART, ROW = "_part", "_row"


def identifier(name: str) -> str:
    """Return a name quoted, as both databases take it."""
    return '"' + name.replace('"', '""') + '"'


def quoted(name: str) -> quoted_name:
    """Return a name that SQLAlchemy quotes always."""
    # SQLAlchemy's own list of reserved words is not complete.
    return quoted_name(name, True)


def begin_writing(table: ScoreTarget, connection: sa.Connection) -> None:
    """Begin a transaction that writes; SQLite is to know from its start."""
    if table.is_sqlite:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def rows_table(table: ScoreTarget, *columns: sa.Column[Any]) -> sa.Table:
    """Return the table of rows: part, position within it from 1, and columns."""
    return sa.Table(
        table.table,
        sa.MetaData(),
        sa.Column(PART, sa.Text, primary_key=True),
        sa.Column(ROW, sa.BigInteger, primary_key=True, autoincrement=False),
        *columns,
        schema=table.schema,
        sqlite_with_rowid=False,
    )


def fences_table(table: ScoreTarget) -> sa.Table:
    """Return the table of fence rows: one part for every slot, which is a key prefix."""
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


def make_tables(table: ScoreTarget, connection: sa.Connection, layout: pa.Schema) -> None:
    """Make both tables unless they are there; refuse a table with other columns."""
    for name in layout.names:
        if name in (PART, ROW) or not name or len(name.encode()) > 63:
            raise ConfigurationError(
                f"a column of scores in a table cannot be called {name!r}",
                hint=f"{PART} and {ROW} are taken, and names have at most 63 bytes",
            )
    columns = [sa.Column(quoted(field.name), column_type(field.type)) for field in layout]
    rows, fences = rows_table(table, *columns), fences_table(table)
    with connection.begin():
        inspector = sa.inspect(connection)
        if not all(inspector.has_table(made.name, table.schema) for made in (rows, fences)):
            if table.is_sqlite:
                begin_writing(table, connection)
            else:  # IF NOT EXISTS does not keep two from making it at once
                slot = sa.func.hashtextextended(table.table, 1)
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(slot)))
            rows.create(connection, checkfirst=True)
            fences.create(connection, checkfirst=True)
        found = {
            column["name"]: column["type"].compile(connection.dialect)
            for column in sa.inspect(connection).get_columns(table.table, table.schema)
        }
        # Inside the transaction: beside somebody else's table no table of ours stays.
        for column in rows.columns:
            expected = column.type.compile(connection.dialect)
            if found.get(column.name) != expected:
                is_there = found.get(column.name, "not there")
                raise OutputNotWritableError(
                    f"the column {column.name!r} of {table} is {is_there}, should be {expected}",
                    hint="choose another table, or ALTER this one",
                )


def delete_part(table: ScoreTarget, connection: sa.Connection, name: str) -> None:
    """Delete rows and fence row of a part."""
    rows, fences = rows_table(table), fences_table(table)
    connection.execute(sa.delete(rows).where(rows.c[PART] == name))
    connection.execute(sa.delete(fences).where(fences.c.part == name))
