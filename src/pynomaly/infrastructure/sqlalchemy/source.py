"""Streams a table or query of any database SQLAlchemy speaks to."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from pynomaly.application.ports.data import MalformedRow, SourceBatch
from pynomaly.domain.datasets import ROW_ID, Fingerprint, Snapshot
from pynomaly.domain.errors import (
    ConfigurationError,
    MalformedSourceError,
    MissingExtraError,
    SourceNotFoundError,
)
from pynomaly.domain.pipelines import SourceSpec
from pynomaly.infrastructure.sqlalchemy.values import Kind, as_text, convert, tell_kind

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection

__all__ = ["SqlSource", "open_sql_source"]

_HEAD_ROWS = 1_000
_LITERALS = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)


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
        self._url = _url(spec)
        if not (query := (spec.query or "").strip().rstrip(";").strip()):
            raise ConfigurationError(
                f"the source {self._shown} names no table",
                hint="set `query:` of the source to a table name or a SELECT statement",
            )
        self._query = query
        self._is_table = re.fullmatch(r"[^\s;()]+", query) is not None
        self._name = query if self._is_table else "query"
        if not self._is_table:
            _refuse_other_than_select(query)
        self._snapshot: Snapshot | None = None
        self._columns: dict[str, Kind] = {}
        self._read_head()

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """``(name, physical type)`` in source order, without ``row_id``."""
        return tuple((name, str(kind.type)) for name, kind in self._columns.items())

    def batches(self, batch_rows: int = 50_000) -> Iterator[SourceBatch]:
        """Run the statement and stream its rows."""
        self._snapshot = None
        digest = hashlib.sha256()
        number = size = 0
        with self._running() as result:
            names = tuple(result.keys())
            if names != tuple(self._columns):
                raise MalformedSourceError(
                    f"the columns of {self._shown} changed since it was opened", hint="run again"
                )
            while rows := result.fetchmany(batch_rows):
                for row in rows:
                    canonical = json.dumps(tuple(row), ensure_ascii=False, default=as_text)
                    line = canonical.encode("utf-8", "surrogatepass") + b"\n"
                    digest.update(line)
                    size += len(line)
                yield self._batch(rows, number)
                number += len(rows)
        schema = hashlib.sha256(json.dumps(self.columns).encode()).hexdigest()
        fingerprint = Fingerprint(digest.hexdigest(), schema)
        self._snapshot = Snapshot(self._shown, fingerprint, self.columns, number, size)

    def snapshot(self) -> Snapshot:
        """Return what the last complete :meth:`batches` read."""
        if self._snapshot is None:
            raise RuntimeError("a snapshot is known only after all batches were read")
        return self._snapshot

    @property
    def _shown(self) -> str:
        secret = re.compile("pass|secret|token|key", re.IGNORECASE)
        query = {k: "***" if secret.search(k) else v for k, v in self._url.query.items()}
        return self._url.set(query=query).render_as_string(hide_password=True)

    def _read_head(self) -> None:
        with self._running() as result:
            names = tuple(result.keys())
            rows = result.fetchmany(_HEAD_ROWS)
        for name in names:
            if names.count(name) > 1:
                raise MalformedSourceError(
                    f"{self._name} of {self._shown} has two columns called {name!r}",
                    hint="give one of them another name with AS",
                )
        if ROW_ID in names:
            raise MalformedSourceError(
                f"{self._name} of {self._shown} has a column {ROW_ID!r}, a name Pynomaly gives "
                "itself",
                hint=f"write a SELECT that renames it, e.g. {ROW_ID} AS id",
            )
        if not rows:
            raise MalformedSourceError(
                f"{self._name} of {self._shown} has no rows", hint="expected at least one row"
            )
        self._columns = {
            name: tell_kind([row[i] for row in rows], numeric=name in self._numeric)
            for i, name in enumerate(names)
        }

    def _batch(self, rows: Sequence[sa.Row[Any]], before: int) -> SourceBatch:
        cells: list[list[Any]] = [[] for _ in self._columns]
        ids = []
        malformed = []
        for number, row in enumerate(rows, before + 1):
            converted = []
            for (name, kind), value in zip(self._columns.items(), row, strict=True):
                try:
                    converted.append(convert(kind, value))
                except ValueError:
                    reason = (
                        f"{name} is {type(value).__name__}, the first {_HEAD_ROWS} rows have "
                        f"{kind.type}; CAST it in the query"
                    )
                    text = repr(tuple(row))[:500]
                    malformed.append(MalformedRow(self._name, number, text, reason))
                    break
            else:
                ids.append(number)
                for column, value in zip(cells, converted, strict=True):
                    column.append(value)
        row_ids = pc.binary_join_element_wise(
            pa.scalar(self._name), pa.array(ids, pa.int64()).cast(pa.string()), "#"
        )
        arrays = [
            pa.array(column, kind.type)
            for column, kind in zip(cells, self._columns.values(), strict=True)
        ]
        table = pa.Table.from_arrays([row_ids, *arrays], names=[ROW_ID, *self._columns])
        return SourceBatch(table, tuple(malformed))

    @contextmanager
    def _running(self) -> Iterator[sa.CursorResult[Any]]:
        if self._url.get_backend_name() == "sqlite":
            _require_file(self._url)  # the driver would create an empty database
        try:
            engine = sa.create_engine(self._url, poolclass=NullPool)
        except (NoSuchModuleError, ModuleNotFoundError) as error:
            raise MissingExtraError(
                f"no driver is installed for {self._shown}",
                hint="pip install 'pynomaly-platform[postgres]' for PostgreSQL, or the driver "
                "SQLAlchemy's documentation names",
            ) from error
        try:
            connection = engine.connect()
        except SQLAlchemyError as error:
            raise SourceNotFoundError(
                f"cannot connect to {self._shown}: {_reason(error)}",
                hint="check host, port, database, user and password of `source.uri`",
            ) from error
        try:
            with connection:
                connection = _read_only(connection)
                statement = self._statement(connection)
                options = {"stream_results": True, "no_parameters": True}
                result = connection.execution_options(**options).exec_driver_sql(statement)
                with result:
                    yield result
        except DBAPIError as error:
            raise self._failed(error) from error
        finally:
            engine.dispose()

    def _statement(self, connection: Connection) -> str:
        self._numeric: set[str] = set()
        if not self._is_table:
            return self._query
        schema, _, table = self._query.rpartition(".")
        inspector = sa.inspect(connection)
        if not inspector.has_table(table, schema=schema or None):
            raise SourceNotFoundError(
                f"{self._shown} has no table {self._query!r}",
                hint="it has "
                + (", ".join(sorted(inspector.get_table_names(schema or None))[:10]) or "none"),
            )
        self._numeric = {
            column["name"]
            for column in inspector.get_columns(table, schema or None)
            if isinstance(column["type"], sa.Numeric)
        }
        quote = connection.dialect.identifier_preparer.quote_identifier
        key = inspector.get_pk_constraint(table, schema or None)["constrained_columns"]
        order = f" ORDER BY {', '.join(map(quote, key))}" if key else ""
        name = f"{quote(schema)}.{quote(table)}" if schema else quote(table)
        return f"SELECT * FROM {name}{order}"  # noqa: S608 - names quoted by the dialect

    def _failed(self, error: DBAPIError) -> Exception:
        reason = _reason(error)
        kind = type(error.orig).__name__
        where = f"{self._name} of {self._shown}"
        if kind == "InsufficientPrivilege":
            return SourceNotFoundError(
                f"access denied to {where}: {reason}", hint="grant SELECT to that user"
            )
        if kind == "UndefinedTable" or reason.startswith(("no such table", "unable to open")):
            return SourceNotFoundError(f"cannot read {where}: {reason}", hint="check `query:`")
        if "not a database" in reason or "malformed" in reason or "decode" in reason:
            return MalformedSourceError(f"cannot read {where}: {reason}")
        return ConfigurationError(
            f"cannot run {where}: {reason}", hint="try the statement in the database's own shell"
        )


def _url(spec: SourceSpec) -> URL:
    try:
        url = sa.make_url(spec.uri)
    except (ArgumentError, ValueError):
        # The text may hold a password, so it is not repeated.
        raise ConfigurationError(
            "the source is no SQLAlchemy URL", hint="e.g. postgresql://user@host/database"
        ) from None
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    return url


def _require_file(url: URL) -> None:
    name = url.database
    if not name or name == ":memory:":
        raise SourceNotFoundError(
            "a SQLite database in memory holds nothing", hint="write sqlite:///path/to/file.db"
        )
    if not name.startswith("file:") and not Path(name).is_file():
        raise SourceNotFoundError(
            f"the SQLite database {name} does not exist",
            hint="sqlite:///name.db is relative to the working directory, sqlite:////name absolute",
        )


def _read_only(connection: Connection) -> Connection:
    # A WITH statement may write; whatever it does, the database is to refuse it.
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA query_only = ON")
    elif connection.dialect.name == "postgresql":
        connection = connection.execution_options(postgresql_readonly=True)
    return connection


def _refuse_other_than_select(query: str) -> None:
    bare = _LITERALS.sub(" ", query).strip()
    if ";" in bare:
        raise ConfigurationError("the query is more than one statement", hint="keep one SELECT")
    if not re.match(r"(select|with)\b", bare, re.IGNORECASE):
        raise ConfigurationError(
            f"the query is no SELECT: {query[:60]}", hint="set a table name or one SELECT"
        )


def _reason(error: SQLAlchemyError) -> str:
    # The text of SQLAlchemy's own error carries the whole statement.
    cause = error.orig if isinstance(error, DBAPIError) else error
    return next(iter(str(cause).strip().splitlines()), type(cause).__name__)
