"""Brings a database to the schema this version of the platform was written for.

Revisions are numbered ``0001``, ``0002``… so that a newer database can be told from a foreign one.
To add one: write ``migrations/versions/<number>_<what>.py`` by hand and raise :data:`HEAD`.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Literal

import sqlalchemy as sa

from pynomaly.domain.errors import ConfigurationError
from pynomaly.infrastructure.sqlalchemy.tables import batches

__all__ = ["HEAD", "MIGRATIONS", "ensure_schema", "schema_state"]

HEAD = "0007"
"""Newest revision; known here so that a current database costs no import of Alembic."""

MIGRATIONS = Path(__file__).with_name("migrations")

_ADVISORY_LOCK = 0x50794E6F  # any constant that all our processes agree on
_WAL_DEADLINE_SECONDS = 30.0


def ensure_schema(engine: sa.Engine, name: str) -> None:
    """Create or upgrade our tables; a current database costs one query.

    Args:
        engine: SQLite or PostgreSQL.  On SQLite transactions begin IMMEDIATE, or as the execution
            option ``pynomaly_begin`` says.
        name: Of the database, for messages; without its password.

    Raises:
        ConfigurationError: The database is not ours, or newer than this version.
    """
    with engine.execution_options(pynomaly_begin="BEGIN").connect() as connection:
        state = schema_state(connection, name)
    if state == "current":
        return
    if state == "empty" and engine.dialect.name == "sqlite":
        _switch_to_wal(engine, name)
    with engine.begin() as connection:  # SQLite: IMMEDIATE, so one process at a time
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
        if schema_state(connection, name) != "current":  # else another process was faster
            _upgrade(connection)


def schema_state(connection: sa.Connection, name: str) -> Literal["current", "older", "empty"]:
    """Return whether a database has our schema; changes nothing.

    Raises:
        ConfigurationError: The database is not ours, or newer than this version.
    """
    # One query: between two, another process may commit its migration.
    tables = sa.inspect(connection).get_table_names()
    if not tables:
        return "empty"
    # Others number their revisions as well, and keep them in a table of the same name.
    if not {"alembic_version", batches.name} <= set(tables):
        raise _not_ours(name, f"it already holds the table {tables[0]!r}")
    revision = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    if revision == HEAD:
        return "current"
    if not re.fullmatch(r"\d{4}", revision or ""):
        raise _not_ours(name, f"its schema revision is {revision!r}")
    if revision > HEAD:
        raise ConfigurationError(
            f"the records database {name} has schema revision {revision}, "
            f"this version knows revisions up to {HEAD}",
            hint="it was upgraded by a newer pynomaly-platform: upgrade this installation too",
        )
    return "older"


def _not_ours(name: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"the database {name} is not a Pynomaly records database: {why}",
        hint="point the records URL at an empty database of its own (MLflow and Prefect "
        "have theirs); nothing was changed in this one",
    )


def _switch_to_wal(engine: sa.Engine, name: str) -> None:
    """Let readers and the writer work side by side; the file remembers the mode.

    SQLite answers "locked" at once, without its busy timeout, when two connections switch
    together, so the waiting is done here.
    """
    deadline = time.monotonic() + _WAL_DEADLINE_SECONDS
    outside_transactions = engine.execution_options(pynomaly_begin=None)
    mode = None
    while mode is None:
        try:
            with outside_transactions.connect() as connection:
                mode = connection.exec_driver_sql("PRAGMA journal_mode=WAL").scalar_one()
        except sa.exc.OperationalError as error:
            if "locked" not in str(error.orig) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    if mode != "wal":
        raise ConfigurationError(
            f"the records database {name} cannot use write-ahead logging (mode is {mode!r})",
            hint="put it on a local file system, or use PostgreSQL",
        )


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
