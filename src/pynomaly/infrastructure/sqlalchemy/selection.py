"""A table or SELECT statement of any database SQLAlchemy speaks to, and how to run it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from pynomaly.domain.errors import (
    ConfigurationError,
    ConnectionLostError,
    MalformedSourceError,
    MissingExtraError,
    SourceNotFoundError,
)
from pynomaly.domain.sources import SourceSpec

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection

__all__ = ["VALUE", "Relation", "Selection", "run"]

VALUE = "\0"
"""Stands for a value in a statement, whatever the driver calls it."""

_CONNECT_SECONDS = 10

_LITERALS = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Relation:
    """What a database says of a table; of a statement it says nothing.

    Args:
        statement: Reads all of it: a table in order of its primary key, a query as it is.
        clause: Stands for it after FROM.
        key: Columns of its primary key.
        unique: Columns that no two rows share a value of.
        numeric: Columns declared numeric.
    """

    statement: str
    clause: str
    key: tuple[str, ...] = ()
    unique: frozenset[str] = frozenset()
    numeric: frozenset[str] = frozenset()


class Selection:
    """A table or query.

    Args:
        spec: ``uri`` is a SQLAlchemy URL (``postgresql://`` means psycopg), ``query`` a table
            name or one SELECT statement.

    Raises:
        ConfigurationError: No URL, no query, more than one statement, or not a SELECT.
    """

    def __init__(self, spec: SourceSpec) -> None:
        self._url = _url(spec)
        secret = re.compile("pass|secret|token|key", re.IGNORECASE)
        options = {k: "***" if secret.search(k) else v for k, v in self._url.query.items()}
        self._safe = self._url.set(query=options)
        self.shown = self._safe.render_as_string(hide_password=True)
        """The URL without passwords."""
        if not (query := (spec.query or "").strip().rstrip(";").strip()):
            raise ConfigurationError(
                f"the source {self.shown} names no table",
                hint="name it (URL#table), or give a table or a SELECT statement as --query or as "
                "`query:` of the pipeline's source",
            )
        self._query = query
        self._is_table = re.fullmatch(r"[^\s;()]+", query) is not None
        self.name = query if self._is_table else "query"
        """How row ids call it."""
        if not self._is_table:
            _refuse_other_than_select(query)

    @property
    def place(self) -> str:
        """URL, with the resolved path of a file and without passwords, then ``#`` and the query."""
        safe = self._safe
        if safe.get_backend_name() == "sqlite" and safe.database and safe.database[:5] != "file:":
            safe = safe.set(database=str(Path(safe.database).resolve()))
        return f"{safe.render_as_string(hide_password=True)}#{self._query}"

    @contextmanager
    def connect(self, *, planned: bool = False) -> Iterator[Connection]:
        """Open a transaction that only reads, and sees one state of the database throughout.

        That holds for PostgreSQL and SQLite; of others the isolation is their default.

        Args:
            planned: Whether the database answered when what is to be read now was planned.

        Raises:
            SourceNotFoundError: The database does not answer, refuses us or lacks the table.
            ConnectionLostError: The server ended the connection, or answers no more.
            ConfigurationError: It cannot run a statement.
            MalformedSourceError: It is damaged.
            MissingExtraError: Its driver is not installed.
        """
        if self._url.get_backend_name() == "sqlite":
            _require_file(self._url)  # the driver would create an empty database
        try:
            engine = sa.create_engine(
                self._url, poolclass=NullPool, connect_args=_patience(self._url)
            )
        except (NoSuchModuleError, ModuleNotFoundError) as error:
            raise MissingExtraError(
                f"no driver is installed for {self.shown}",
                hint="pip install 'pynomaly-platform[postgres]' for PostgreSQL, or the driver "
                "SQLAlchemy's documentation names",
            ) from error
        try:
            connection = engine.connect()
        except SQLAlchemyError as error:
            gone = planned and self._url.get_backend_name() != "sqlite"
            raise (ConnectionLostError if gone else SourceNotFoundError)(
                f"cannot connect to {self.shown}: {_reason(error)}",
                hint="check host, port, database, user and password of `source.uri`",
            ) from error
        try:
            yield _read_only(connection)
        except DBAPIError as error:
            raise self._failed(error) from error
        finally:
            with suppress(DBAPIError):  # nothing was written that a broken connection could lose
                connection.close()
            engine.dispose()

    def relation(self, connection: Connection) -> Relation:
        """Ask the database about the table.

        Raises:
            SourceNotFoundError: There is none of that name.
        """
        if not self._is_table:
            # The line break ends a comment the query may end with.
            return Relation(self._query, f"({self._query}\n) AS q")
        schema, _, table = self._query.rpartition(".")
        space = schema or None
        inspector = sa.inspect(connection)
        if not inspector.has_table(table, schema=space):
            raise SourceNotFoundError(
                f"{self.shown} has no table {self._query!r}",
                hint="it has "
                + (", ".join(sorted(inspector.get_table_names(space))[:10]) or "none"),
            )
        quote = connection.dialect.identifier_preparer.quote_identifier
        key = tuple(inspector.get_pk_constraint(table, space)["constrained_columns"])
        alone = [c["column_names"] for c in inspector.get_unique_constraints(table, space)]
        name = f"{quote(schema)}.{quote(table)}" if schema else quote(table)
        order = f" ORDER BY {', '.join(map(quote, key))}" if key else ""
        return Relation(
            f"SELECT * FROM {name}{order}",  # noqa: S608 - names quoted by the dialect
            name,
            key,
            frozenset(columns[0] for columns in (key, *alone) if len(columns) == 1),
            frozenset(
                column["name"]
                for column in inspector.get_columns(table, space)
                if isinstance(column["type"], sa.Numeric)
            ),
        )

    def _failed(self, error: DBAPIError) -> Exception:
        reason = _reason(error)
        kind = type(error.orig).__name__
        where = f"{self.name} of {self.shown}"
        if error.connection_invalidated:
            return ConnectionLostError(
                f"the connection was lost while {where} was read: {reason}",
                hint="run again when the database answers",
            )
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


def run(connection: Connection, statement: str, values: Sequence[Any] = ()) -> sa.CursorResult[Any]:
    """Run a statement and stream its rows.

    Args:
        connection: See :meth:`Selection.connect`.
        statement: As the database takes it, with :data:`VALUE` for each value.
        values: In that order.
    """
    if not values:
        options = {"stream_results": True, "no_parameters": True}
        return connection.execution_options(**options).exec_driver_sql(statement)
    if connection.dialect.paramstyle == "qmark":
        statement = statement.replace(VALUE, "?")
    else:
        statement = statement.replace("%", "%%").replace(VALUE, "%s")
    connection = connection.execution_options(stream_results=True, no_parameters=False)
    return connection.exec_driver_sql(statement, tuple(values))


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


def _patience(url: URL) -> dict[str, int]:
    """Return for how many seconds psycopg may wait for an answer, unless the URL says."""
    asked = "connect_timeout" in url.query or url.get_driver_name() != "psycopg"
    return {} if asked else {"connect_timeout": _CONNECT_SECONDS}


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
        connection.exec_driver_sql("BEGIN")  # the driver would begin with the first write
    elif connection.dialect.name == "postgresql":
        connection = connection.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
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
