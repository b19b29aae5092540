"""Scored parts as rows of a database table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import pyarrow as pa
import sqlalchemy as sa

from pynomaly.application.ports.partitions import PartWriter, StoredPart
from pynomaly.domain.errors import ConfigurationError, IntegrityError
from pynomaly.domain.ledger import Part
from pynomaly.infrastructure.sqlalchemy.score_columns import (
    RowDigest,
    from_cells,
    load_layout,
    restored,
)
from pynomaly.infrastructure.sqlalchemy.score_schema import (
    PART,
    ROW,
    begin_writing,
    delete_part,
    fences_table,
    quoted,
    rows_table,
)
from pynomaly.infrastructure.sqlalchemy.score_target import ScoreTarget
from pynomaly.infrastructure.sqlalchemy.score_writers import NAME, PostgresWriter, SqliteWriter

__all__ = ["TableParts"]

_CHECK_ROWS = 50_000
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
            any_row = sa.select(sa.literal(1)).select_from(rows_table(table)).limit(1)
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
            ConnectionLostError: The server ended the connection, or answers no more.
            OutputNotWritableError: The database refuses us, or the table has other columns.
        """
        if not NAME.fullmatch(name):
            raise ValueError(f"a part is called <key prefix>-<fence>: {name!r}")
        if partition_by is not None:
            raise ConfigurationError(
                f"a table is not divided by {partition_by!r}",
                hint="leave it out, or write to a folder or an s3:// prefix",
            )
        table = ScoreTarget.parse(target)
        with table.connect(planned=True) as connection:
            kind = SqliteWriter if table.is_sqlite else PostgresWriter
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
        """Find every fence row, then rows named like a part that have none: it was removed."""
        table = ScoreTarget.parse(target)
        if not table.exists:
            return
        with table.connect("read") as connection:
            if not sa.inspect(connection).has_table(fences_table(table).name, table.schema):
                return
            fences = fences_table(table)
            known = connection.execute(
                sa.select(fences.c.part, fences.c.size_bytes, fences.c.stored_at)
            ).all()
            part = rows_table(table).c[PART]
            others = sa.select(part).distinct()
            stray = connection.scalars(others.where(part.not_in(sa.select(fences.c.part)))).all()
        for name, size, moment in known:
            stored_at = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            yield StoredPart(f"{table}/{name}", size, stored_at)
        for name in filter(NAME.fullmatch, stray):  # the others somebody else has written
            yield StoredPart(f"{table}/{name}", 0, _LONG_AGO)

    def remove(self, uri: str) -> None:
        """Delete rows and fence row of a part; one that is gone already is fine."""
        table, name = _address(uri)
        if not table.exists:
            return
        with table.connect("clean") as connection:
            if sa.inspect(connection).has_table(fences_table(table).name, table.schema):
                begin_writing(table, connection)
                delete_part(table, connection, name)
                connection.commit()


def _address(uri: str) -> tuple[ScoreTarget, str]:
    target, _, name = uri.rpartition("/")
    if not NAME.fullmatch(name):
        raise ValueError(f"this is not the name of a part: {uri}")
    return ScoreTarget.parse(target), name


def _layout(table: ScoreTarget, name: str) -> pa.Schema | None:
    """Return the columns of a part, or None where its fence row is missing."""
    if not table.exists:
        return None
    fences = fences_table(table)
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
    rows = rows_table(table)
    statement = (
        sa.select(rows.c[ROW], *(sa.column(quoted(column)) for column in layout.names))
        .select_from(rows)
        .where(rows.c[PART] == name, rows.c[ROW] > sa.bindparam("last"))
        .order_by(rows.c[ROW])
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


def _damaged(part: Part, problem: str) -> IntegrityError:
    return IntegrityError(
        f"{part.uri} {problem}",
        hint="free it: `pynomaly scores verify --repair` for its pipeline, then score again",
    )
