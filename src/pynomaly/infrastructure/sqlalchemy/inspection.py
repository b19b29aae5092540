"""A look at the records database that neither creates nor migrates it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from pynomaly.domain.diagnosis import Check
from pynomaly.infrastructure.sqlalchemy.database import parse_url, shown_url
from pynomaly.infrastructure.sqlalchemy.schema import HEAD, schema_state

__all__ = ["inspect_records"]

_SECONDS = 5
_NOTICEABLE_SECONDS, _HARMFUL_SECONDS = 5.0, 300.0


def inspect_records(text: str) -> Iterator[Check]:
    """Look at schema and clock of the records database.

    Args:
        text: URL of the database.

    Raises:
        ConfigurationError: Not such a URL, or the database is foreign or newer than we are.
    """
    url = parse_url(text)
    name = shown_url(url)
    arguments: dict[str, object] = {"connect_timeout": _SECONDS}
    if url.get_backend_name() == "sqlite":
        path = Path(str(url.database))
        if not path.exists():
            yield Check("records", "ok", f"{path} is not there yet and is made when needed")
            return
        # A writer would move into the file what others left beside it, in its -wal; without one
        # even a reader would make files, unless it takes the file for immutable.
        waiting = path.with_name(f"{path.name}-wal").exists()
        how = {"mode": "ro"} if waiting else {"immutable": "1"}
        url = url.set(database=path.as_uri(), query={"uri": "true", **how})
        arguments = {"timeout": _SECONDS}
    try:
        engine = sa.create_engine(url, poolclass=NullPool, connect_args=arguments)
    except (ImportError, NoSuchModuleError):
        fix = "pip install 'pynomaly-platform[postgres]'"
        yield Check("records", "problem", f"{name} needs psycopg, which is not installed", fix)
        return
    try:
        with engine.connect() as connection:
            state = schema_state(connection, name)
            yield Check("records", "ok", _TELL[state].format(name=name, head=HEAD))
            if url.get_backend_name() == "postgresql":
                yield _clock(connection)
            else:
                yield Check("clock", "ok", "the records database is a file: one clock")
    except DBAPIError as error:
        cause = " ".join(str(error.orig).split())
        fix = "check that the server runs, or the file is a SQLite database, and the credentials"
        yield Check("records", "problem", f"{name} cannot be used: {cause}", fix)
    finally:
        engine.dispose()


_TELL = {
    "current": "{name} has the current schema ({head})",
    "older": "{name} has an older schema and is migrated to {head} by the next command",
    "empty": "{name} is empty and gets its schema ({head}) when needed",
}


def _clock(connection: sa.Connection) -> Check:
    before = datetime.now(UTC)
    there: datetime = connection.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
    middle = before + (datetime.now(UTC) - before) / 2
    seconds = (there - middle).total_seconds()
    if abs(seconds) <= _NOTICEABLE_SECONDS:
        return Check("clock", "ok", f"within {abs(seconds):.1f} s of the records database")
    seen = (
        f"the records database is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} "
        "this machine"
    )
    harmful = abs(seconds) > _HARMFUL_SECONDS
    return Check(
        "clock",
        "problem" if harmful else "warning",
        f"{seen}: approvals expire, and S3 checks requests, by clocks that disagree",
        "let both machines follow a time server (NTP)",
    )
