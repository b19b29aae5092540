"""One records database: connections, transactions, and errors people can act on."""

from __future__ import annotations

import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    DisconnectionError,
    InterfaceError,
    NoSuchModuleError,
)
from sqlalchemy.pool import NullPool, QueuePool

from pynomaly.domain.errors import ConfigurationError, ConflictError, MissingExtraError
from pynomaly.infrastructure.sqlalchemy.rows import dump_json, load_json
from pynomaly.infrastructure.sqlalchemy.schema import ensure_schema

__all__ = ["Database", "insert_into", "parse_url", "shown_url"]

T = TypeVar("T")

_BUSY_TIMEOUT_SECONDS = 30
_CONNECT_TIMEOUT_SECONDS = 10
_ATTEMPTS = 10
_PATIENT_ATTEMPTS, _LONGEST_PAUSE_SECONDS = 18, 8.0
_RETRYABLE = frozenset({"40001", "40P01", "23505", "23503"})
"""Serialization failure, deadlock, and the unique index or foreign key that caught what the former
missed."""
_EXAMPLES = "use sqlite:///path/to/pynomaly.db or postgresql://user:password@host/database"


def insert_into(connection: sa.Connection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    """Return an insert that can say what to do about a row that is there already."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


class Database:
    """SQLite or PostgreSQL by URL; brought to the current schema on first use.

    Args:
        url: ``sqlite:///path`` or ``postgresql://user:password@host/database``.
        busy: Whether many transactions are to come: connections to SQLite then stay open, which
            saves 2 ms each.

    Raises:
        ConfigurationError: Not such a URL.
        MissingExtraError: PostgreSQL without psycopg.
    """

    def __init__(self, url: str, *, busy: bool = False) -> None:
        self._url = parse_url(url)
        self.name = shown_url(self._url)
        self._engine = _engine(self._url, busy=busy)
        self._reading = self._engine.execution_options(pynomaly_begin="BEGIN")
        self._ready = False
        self._lock = threading.Lock()
        # Idle connections are closed when this object goes or the process ends, whichever is first.
        weakref.finalize(self, self._engine.dispose)
        _engines.add(self._engine)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a transaction that only reads; on SQLite it never waits for a writer."""
        with self._translated():
            self._prepare()
            with self._connect(self._reading) as connection, connection.begin():
                yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Open a transaction; it commits at the end and rolls back on an exception."""
        with self._translated():
            self._prepare()
            with self._connect(self._engine) as connection, connection.begin():
                yield connection

    def decide(self, decision: Callable[[sa.Connection], T]) -> T:
        """Run ``decision`` as if no other transaction ran beside it.

        Args:
            decision: Reads, decides and writes; repeated from the start where PostgreSQL finds
                that it overlapped another one, or where the connection broke.  It must find out
                by itself that it was carried out already: the answer may have been lost.

        Raises:
            ConflictError: It overlapped others again and again.
        """
        # SQLite's BEGIN IMMEDIATE is alone by construction, whatever the level is called.
        return self._repeat(
            self._engine.execution_options(isolation_level="SERIALIZABLE")
            if self._engine.dialect.name == "postgresql"
            else self._engine,
            decision,
        )

    def carry_out(self, work: Callable[[sa.Connection], T]) -> T:
        """Run ``work`` in a transaction that waits for others only where they touch the same rows.

        Args:
            work: Reads and writes; repeated like the decision of :meth:`decide`.

        Raises:
            ConflictError: It got into others' way again and again.
        """
        return self._repeat(self._engine, work)

    def _repeat(self, engine: sa.Engine, work: Callable[[sa.Connection], T]) -> T:
        with self._translated():
            self._prepare()
            for attempt in range(1, _ATTEMPTS + 1):
                connection = self._connect(engine)
                try:
                    with connection, connection.begin():
                        return work(connection)
                except DBAPIError as error:
                    overlapped = getattr(error.orig, "sqlstate", None) in _RETRYABLE
                    broke = error.connection_invalidated
                    if not (overlapped or broke) or (attempt == _ATTEMPTS and broke):
                        raise
                time.sleep(random.uniform(0, 0.01 * 2**attempt))
        raise ConflictError(
            f"the records database {self.name} kept refusing overlapping transactions",
            hint="other runs are writing about the same pipeline: try again later",
        )

    def _connect(self, engine: sa.Engine) -> sa.Connection:
        """Connect; wait for a server that answered before: it may be restarting.

        A minute or so where it refuses, four where it says nothing at all.
        """
        for attempt in range(1, _PATIENT_ATTEMPTS):
            try:
                return engine.connect()
            except sa.exc.OperationalError:
                if engine.dialect.name != "postgresql":
                    raise
            time.sleep(random.uniform(0.5, 1.0) * min(0.01 * 2**attempt, _LONGEST_PAUSE_SECONDS))
        return engine.connect()

    def _prepare(self) -> None:
        with self._lock:
            if self._ready:
                return
            _make_folder(self._url)
            ensure_schema(self._engine, self.name)
            self._ready = True

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn trouble with the database itself into a message; bugs in statements pass."""
        try:
            yield
        except DBAPIError as error:
            cause = " ".join(str(error.orig).split())
            if "database is locked" in cause:
                raise ConflictError(
                    f"the records database {self.name} stayed locked for "
                    f"{_BUSY_TIMEOUT_SECONDS} s by another process",
                    hint="wait for the other run to end, or use PostgreSQL for many writers",
                ) from error
            if isinstance(error, sa.exc.OperationalError | InterfaceError) or (
                "not a database" in cause or "malformed" in cause
            ):
                raise ConfigurationError(
                    f"the records database {self.name} cannot be used: {cause}",
                    hint="check the records URL, that the server runs or the file is a readable "
                    "and writable SQLite database, and the credentials",
                ) from error
            raise


def parse_url(text: str) -> sa.URL:
    """Return the URL of a records database, a SQLite file by its absolute path.

    Raises:
        ConfigurationError: Not such a URL.
    """
    try:
        url = sa.make_url(text)
    except (ArgumentError, ValueError):
        # Neither the text nor the cause is repeated: both may hold the password.
        raise ConfigurationError("the records URL cannot be parsed", hint=_EXAMPLES) from None
    driver = url.drivername
    if driver in ("postgres", "postgresql", "postgresql+psycopg"):
        return url.set(drivername="postgresql+psycopg")
    if driver not in ("sqlite", "sqlite+pysqlite"):
        raise ConfigurationError(
            f"records cannot be kept in {driver!r}; SQLite and PostgreSQL (psycopg 3) can",
            hint=_EXAMPLES,
        )
    path = url.database
    if not path or path == ":memory:" or path.startswith("file:"):
        raise ConfigurationError(
            "records need a SQLite file: a database in memory would forget them", hint=_EXAMPLES
        )
    # Absolute, so that a later change of the working directory does not change the database.
    return url.set(database=str(Path(path).absolute()))


def shown_url(url: sa.URL) -> str:
    """Return a URL for messages; its query may hold secrets as well (``?sslkey=``)."""
    return url.set(query={}).render_as_string(hide_password=True)


_engines: weakref.WeakSet[sa.Engine] = weakref.WeakSet()


def _close_idle_connections() -> None:
    # Two processes must not talk through one socket, nor a child inherit what SQLite believes
    # about its parent's file locks.
    for engine in tuple(_engines):
        engine.dispose()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_close_idle_connections)


def _engine(url: sa.URL, *, busy: bool) -> sa.Engine:
    common: dict[str, Any] = {"json_serializer": dump_json, "json_deserializer": load_json}
    if url.get_backend_name() == "sqlite":
        # A connection per transaction leaves a file that can be copied at any time.
        pool: dict[str, Any] = {"poolclass": NullPool}
        if busy:
            pool = {"poolclass": QueuePool, "max_overflow": -1}
        engine = sa.create_engine(
            url, connect_args={"timeout": _BUSY_TIMEOUT_SECONDS}, **pool, **common
        )
        sa.event.listen(engine, "connect", _configure_sqlite)
        sa.event.listen(engine, "checkout", _check_sqlite_file)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        return sa.create_engine(
            url,
            poolclass=QueuePool,
            pool_pre_ping=True,
            connect_args={"connect_timeout": _CONNECT_TIMEOUT_SECONDS},
            **common,
        )
    except (ImportError, NoSuchModuleError) as error:
        raise MissingExtraError(
            "records on PostgreSQL need the driver psycopg, which is not installed",
            hint="pip install 'pynomaly-platform[postgres]'",
        ) from error


def _configure_sqlite(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # the driver must not begin or commit behind our back
    for pragma in ("foreign_keys=ON", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}").close()
    path = connection.execute("PRAGMA database_list").fetchone()[2]
    record.info["file"] = path, _identity(path)


def _check_sqlite_file(_connection: Any, record: Any, _proxy: object) -> None:
    """Give up a connection whose file was deleted or replaced: what it writes would be lost."""
    path, identity = record.info["file"]
    if _identity(path) != identity:
        raise DisconnectionError(f"{path} is another file now")


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - a tenth of the cost of pathlib's, on every use
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _begin_sqlite(connection: sa.Connection) -> None:
    # A writer that begins DEFERRED fails at once, despite the timeout, when it must upgrade.
    begin = connection.get_execution_options().get("pynomaly_begin", "BEGIN IMMEDIATE")
    if begin is not None:
        connection.exec_driver_sql(begin)


def _make_folder(url: sa.URL) -> None:
    if url.get_backend_name() != "sqlite" or url.database is None:
        return
    folder = Path(url.database).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"the folder {folder} of the records database cannot be made: {error.strerror}",
            hint="choose a writable place, e.g. with PYNOMALY_HOME",
        ) from error
