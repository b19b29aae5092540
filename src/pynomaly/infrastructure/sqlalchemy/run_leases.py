"""Leases on runs in SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pynomaly.domain.errors import ConflictError, FencedError
from pynomaly.domain.runs import Run, RunLease, exclusive
from pynomaly.infrastructure.sqlalchemy import rows
from pynomaly.infrastructure.sqlalchemy.database import Database
from pynomaly.infrastructure.sqlalchemy.tables import run_leases, runs

__all__ = ["SqlRunLeases"]


class SqlRunLeases:
    """Implements ``RunLeases`` (application/ports/run_leases.py).

    Args:
        url: As for ``SqlRecords``, which keeps the runs themselves.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)

    def take(self, lease: RunLease, now: datetime) -> None:
        """Lease a run, new or known, to ``lease.owner``.

        Raises:
            ConflictError: Another owner's lease on the run has not ended, or another run of the
                pipeline is at work on what only one may do at a time.
        """
        self._database.decide(lambda connection: _take(connection, lease, now))

    def renew(self, lease: RunLease, until: datetime) -> None:
        """Prolong a lease.

        Raises:
            FencedError: It was taken over.
        """
        with self._database.write() as connection:
            prolonged = sa.update(run_leases).where(*_same(lease)).values(expires_at=until)
            _require_one(connection.execute(prolonged).rowcount, lease)

    def conclude(self, lease: RunLease, run: Run | None) -> None:
        """Store how a run ended, if it was stored at all, and give its lease back.

        Raises:
            FencedError: It was taken over; nothing is stored.
        """
        with self._database.write() as connection:
            deleted = connection.execute(sa.delete(run_leases).where(*_same(lease)))
            _require_one(deleted.rowcount, lease)
            if run is not None:
                ended = sa.update(runs).where(runs.c.id == run.id).values(rows.row(run))
                connection.execute(ended)

    def leases(self) -> tuple[RunLease, ...]:
        """Return all leases, ended ones included."""
        with self._database.read() as connection:
            return _leases(connection.execute(sa.select(run_leases)))


def _take(connection: sa.Connection, lease: RunLease, now: datetime) -> None:
    of_pipeline = sa.select(run_leases).where(run_leases.c.pipeline == lease.pipeline)
    for other in _leases(connection.execute(of_pipeline)):
        if other.expires_at > now:
            _require_apart(lease, other)
    connection.execute(sa.delete(run_leases).where(run_leases.c.run_id == lease.run_id))
    connection.execute(sa.insert(run_leases).values(asdict(lease)))


def _require_apart(lease: RunLease, other: RunLease) -> None:
    if other.run_id == lease.run_id:
        raise ConflictError(
            f"run {lease.run_id} is being carried out by {other.owner}",
            hint=f"follow it: pynomaly runs watch {lease.run_id}",
        )
    if both := exclusive(other.command) & exclusive(lease.command):
        raise ConflictError(
            f"{lease.pipeline}: run {other.run_id} ({other.command}) is at work, and only one at "
            f"a time may {' and '.join(sorted(both))}",
            hint=f"wait for it: pynomaly runs watch {other.run_id}",
        )


def _same(lease: RunLease) -> tuple[sa.ColumnElement[bool], ...]:
    return run_leases.c.run_id == lease.run_id, run_leases.c.owner == lease.owner


def _require_one(changed: int, lease: RunLease) -> None:
    if changed != 1:
        raise FencedError(
            f"run {lease.run_id} was taken over by another process",
            hint=f"see what it does: pynomaly runs watch {lease.run_id}",
        )


def _leases(found: Iterable[sa.Row[Any]]) -> tuple[RunLease, ...]:
    return tuple(RunLease(**row._mapping) for row in found)
