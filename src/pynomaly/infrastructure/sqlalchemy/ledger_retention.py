"""What of the ledger may go, and its going."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from pynomaly.infrastructure.sqlalchemy.ledger_statements import (
    completed,
    has_held,
    has_partitions,
    held,
)
from pynomaly.infrastructure.sqlalchemy.ledger_tables import job_partitions, jobs, partitions

__all__ = ["forget", "unfinished"]

T = TypeVar("T")

_KEYS_AT_ONCE = 500
_asked = job_partitions.c


def unfinished(pipeline: str, since: datetime) -> sa.Select[Any]:
    """Return the query for what ``Ledger.unfinished`` returns."""
    return (
        sa.select(_asked.key)
        .join(jobs, jobs.c.id == _asked.job_id)
        .where(jobs.c.pipeline == pipeline, ~completed())
        .where(sa.or_(jobs.c.created_at > since, has_held()))
    )


def forget(
    connection: sa.Connection, keys: Collection[str], known: Collection[str] | None
) -> frozenset[str]:
    """Do what ``Ledger.forget`` does, in a transaction that writes."""
    forgotten: set[str] = set()
    for batch in _batches(sorted(keys)):
        unheld = sa.and_(partitions.c.key.in_(batch), ~held)
        query = sa.select(partitions.c.key).where(unheld).order_by(partitions.c.key)
        # From here on nobody can come to ask for these: a job that is being opened has either been
        # committed, and is found below, or waits for our end and makes them anew.
        locked = connection.scalars(query.with_for_update()).all()
        asking = sa.select(_asked.key, _asked.job_id, _asked.source).where(_asked.key.in_(locked))
        found = connection.execute(asking).all()
        wanted = {key for key, job_id, _ in found if known is not None and job_id not in known}
        gone = [key for key in locked if key not in wanted]
        # A job that has lost a partition of a source says nothing about that source any more, or
        # it would pass for one that has committed all of it.
        broken = sorted({(job_id, source) for key, job_id, source in found if key not in wanted})
        held_key = sa.exists().where(partitions.c.key == _asked.key, held)
        for pairs in _batches(broken):
            claims = sa.tuple_(_asked.job_id, _asked.source).in_(pairs)
            connection.execute(sa.delete(job_partitions).where(claims, ~held_key))
        connection.execute(sa.delete(partitions).where(partitions.c.key.in_(gone)))
        for ids in _batches(sorted({job_id for job_id, _ in broken})):
            left_empty = sa.and_(jobs.c.id.in_(ids), ~has_partitions())
            connection.execute(sa.delete(jobs).where(left_empty))
        forgotten.update(gone)
    return frozenset(forgotten)


def _batches(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), _KEYS_AT_ONCE):
        yield values[start : start + _KEYS_AT_ONCE]
