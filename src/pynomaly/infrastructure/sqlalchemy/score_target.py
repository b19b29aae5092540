"""The database table that a target for scores names, and how to reach it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from pynomaly.domain.errors import (
    ConfigurationError,
    ConflictError,
    ConnectionLostError,
    MissingExtraError,
    OutputNotWritableError,
    UnsupportedFormatError,
)

__all__ = ["ScoreTarget"]

_EXAMPLES = "write sqlite:///path/to/scores.db#table or postgresql://user@host/database#table"
# Names of our second table and of its constraints must fit into 63 bytes as well.
_TABLE = re.compile(r"(?:([A-Za-z_]\w{0,62})\.)?([A-Za-z_]\w{0,47})", re.ASCII)
_SECRETS = ("password", "sslpassword")
_BUSY_SECONDS = 30
_CONNECT_SECONDS = 10
_BUSY_STATES = ("55P03", "40P01")
"""PostgreSQL: lock not available, deadlock."""


@dataclass(frozen=True, slots=True)
class ScoreTarget:
    """A table for scores.

    Args:
        url: Of the database, with the driver.
        schema: On PostgreSQL, where given.
        table: Its name.
    """

    url: sa.URL
    schema: str | None
    table: str

    @classmethod
    def parse(cls, target: str) -> ScoreTarget:
        """Return what ``<database url>#[schema.]table`` names.

        Raises:
            ConfigurationError: It holds a password, or names no table or no file.
            UnsupportedFormatError: Another database than SQLite or PostgreSQL.
        """
        address, _, name = target.partition("#")
        try:
            url = sa.make_url(address)
        except (ArgumentError, ValueError):
            # Neither the text nor the cause is repeated: both may hold the password.
            raise ConfigurationError(
                "the target for scores is no database URL", hint=_EXAMPLES
            ) from None
        if url.password is not None or any(secret in url.query for secret in _SECRETS):
            raise ConfigurationError(
                "the target for scores holds a password, which would be kept with the scores",
                hint="leave it out and set PGPASSWORD, or put it into ~/.pgpass",
            )
        match = _TABLE.fullmatch(name)
        if match is None:
            raise ConfigurationError(
                f"the target {address} names no table"
                if not name
                else f"{name!r} is no name for a table of scores",
                hint=f"{_EXAMPLES}; letters, digits and _, at most 48",
            )
        if url.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
            plain = sa.URL.create(
                "postgresql+psycopg",
                username=url.username,
                host=url.host.lower() if url.host else None,
                port=None if url.port == 5432 else url.port,
                database=url.database,
                query=url.query,
            )
            return cls(plain, *match.groups())
        if url.drivername not in ("sqlite", "sqlite+pysqlite"):
            raise UnsupportedFormatError(
                f"scores are not kept in {url.drivername!r}", hint=_EXAMPLES
            )
        path = url.database
        if not path or path == ":memory:" or path.startswith("file:") or match[1]:
            raise ConfigurationError(
                f"{address} is no SQLite file, or {name} more than a table", hint=_EXAMPLES
            )
        resolved = str(Path(path).expanduser().resolve())
        return cls(sa.URL.create("sqlite", database=resolved), None, match[2])

    def __str__(self) -> str:
        """Return the one spelling that the ledger keeps."""
        shown = self.url.set(drivername=self.url.get_backend_name())
        table = f"{self.schema}.{self.table}" if self.schema else self.table
        return f"{shown.render_as_string(hide_password=False)}#{table}"

    @property
    def is_sqlite(self) -> bool:
        """Whether it is SQLite; PostgreSQL otherwise."""
        return self.url.get_backend_name() == "sqlite"

    @property
    def exists(self) -> bool:
        """Whether there is a database to ask; connecting to SQLite would make one."""
        return not self.is_sqlite or Path(self.url.database or "").is_file()

    @contextmanager
    def connect(self, verb: str = "write", *, planned: bool = False) -> Iterator[sa.Connection]:
        """Open a connection; what is not committed when the block ends is rolled back.

        On SQLite statements are transactions by themselves until one begins a longer one.

        Args:
            verb: What is to be done, for messages.
            planned: Whether the database answered when the job was planned.

        Raises:
            ConflictError: Others kept the table locked.
            ConnectionLostError: The server ended the connection, or answers no more.
            OutputNotWritableError: The database refuses us or does not answer.
            MissingExtraError: PostgreSQL without psycopg.
        """
        engine = self._engine(verb)
        try:
            with self._translated(verb, planned=planned):
                connection = engine.connect()
            with self._translated(verb), connection:
                yield connection
        finally:
            engine.dispose()

    def _engine(self, verb: str) -> sa.Engine:
        if self.is_sqlite:
            folder = Path(self.url.database or "").parent
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputNotWritableError(
                    f"cannot {verb} {self}: {error.strerror}", hint="choose a writable folder"
                ) from error
            engine = sa.create_engine(
                self.url, poolclass=NullPool, connect_args={"timeout": _BUSY_SECONDS}
            )
            sa.event.listen(engine, "connect", _configure_sqlite)
            return engine
        try:
            return sa.create_engine(
                self.url,
                poolclass=NullPool,
                connect_args={"connect_timeout": _CONNECT_SECONDS, "options": "-c timezone=UTC"},
            )
        except ImportError as error:
            raise MissingExtraError(
                "scores on PostgreSQL need the driver psycopg, which is not installed",
                hint="pip install 'pynomaly-platform[postgres]'",
            ) from error

    @contextmanager
    def _translated(self, verb: str, *, planned: bool = False) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            reason = next(iter(str(cause).strip().splitlines()), type(cause).__name__)
            state = getattr(cause, "sqlstate", None)
            if planned and not self.is_sqlite:
                raise ConnectionLostError(
                    f"cannot {verb} {self}: no connection any more ({reason})",
                    hint="try again when the database answers, or check the user and PGPASSWORD",
                ) from error
            if isinstance(error, DBAPIError) and error.connection_invalidated:
                raise ConnectionLostError(
                    f"cannot {verb} {self}: the server ended the connection ({reason})",
                    hint="try again when the database answers",
                ) from error
            if state in _BUSY_STATES or "is locked" in reason:
                raise ConflictError(
                    f"cannot {verb} {self}: others kept it locked ({reason})",
                    hint="try again" + "; use PostgreSQL for many writers" * self.is_sqlite,
                ) from error
            raise OutputNotWritableError(
                f"cannot {verb} {self}: {reason}",
                hint="free some space"
                if "disk is full" in reason or "No space left" in reason
                else "check that the database answers, the user, PGPASSWORD and the permissions",
            ) from error


def _configure_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin or commit behind our back
    connection.execute("PRAGMA synchronous=FULL").close()
