"""What is in force: of every source the partitions of one job, of a table those of its chain."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from pynomaly.domain.increments import INCREMENT, Stretch, in_force
from pynomaly.infrastructure.sqlalchemy import ledger_rows as rows
from pynomaly.infrastructure.sqlalchemy.ledger_statements import ENTRIES_OF, same_version
from pynomaly.infrastructure.sqlalchemy.ledger_tables import job_partitions, jobs, partitions

if TYPE_CHECKING:
    from pynomaly.domain.ledger import Entry, ScoreVersion

__all__ = ["current", "jobs_with", "stretches"]

_asked = job_partitions.c
_done = sa.case((partitions.c.state == "committed", 1), else_=0)
_partitions_of_jobs = job_partitions.join(partitions, _asked.key == partitions.c.key).join(
    jobs, jobs.c.id == _asked.job_id
)


def jobs_with(
    pipeline: str, version: ScoreVersion, target: str | None, *columns: sa.ColumnElement[Any]
) -> sa.Select[Any]:
    """Return the query for the partitions of jobs that wrote this version to this target or any."""
    query = sa.select(*columns).select_from(_partitions_of_jobs)
    return query.where(jobs.c.pipeline == pipeline, same_version(version), _wrote_to(target))


def current(
    connection: sa.Connection, pipeline: str, version: ScoreVersion, target: str | None
) -> list[Entry]:
    """Return what ``Ledger.current`` does, in any order."""
    decided = in_force(stretches(connection, pipeline, version, target))
    found = []
    decides: dict[str, str] = {}
    query = _newest_complete(pipeline, version, target)
    for row in connection.execute(query).mappings():
        if decided.get(row["source"], row["job_id"]) == row["job_id"]:
            found.append(rows.entry(row))
            decides[row["source"]] = row["job_id"]
    # A job that an increment overtook may be newer and complete as well: rare, so asked one by one.
    elsewhere: dict[str, set[str]] = defaultdict(set)
    for source, job_id in decided.items():
        if job_id is not None and source not in decides:
            elsewhere[job_id].add(source)
    for job_id, sources in elsewhere.items():
        found += [
            rows.entry(row)
            for row in connection.execute(ENTRIES_OF, {"job": job_id}).mappings()
            if row["source"] in sources and row["state"] == "committed"
        ]
    return found


def stretches(
    connection: sa.Connection,
    pipeline: str,
    version: ScoreVersion,
    target: str | None,
    table: str | None = None,
) -> tuple[Stretch, ...]:
    """Return what ``Ledger.stretches`` does."""
    marked = sa.select(jobs.c.source_uri).where(
        jobs.c.pipeline == pipeline, jobs.c.watermark.is_not(None), _wrote_to(target)
    )
    start = jobs.c.source_uri + INCREMENT
    query = jobs_with(
        pipeline,
        version,
        target,
        jobs.c.id,
        jobs.c.run_id,
        jobs.c.target,
        jobs.c.source_uri,
        jobs.c.created_at,
        jobs.c.seq,
        jobs.c.watermark,
        _asked.source,
        sa.func.min(_done).label("complete"),
    ).where(
        jobs.c.source_uri.in_(marked),
        sa.or_(
            _asked.source == jobs.c.source_uri,
            sa.func.substr(_asked.source, 1, sa.func.length(start)) == start,
        ),
    )
    if table is not None:
        query = query.where(jobs.c.source_uri == table)
    found = connection.execute(query.group_by(jobs.c.seq, _asked.source)).mappings().all()
    return tuple(
        Stretch(
            row["id"],
            row["run_id"],
            row["target"],
            row["source_uri"],
            row["source"],
            rows.watermark(row),
            bool(row["complete"]),
        )
        for row in sorted(found, key=_asked_at, reverse=True)
    )


def _wrote_to(target: str | None) -> sa.ColumnElement[bool]:
    return sa.true() if target is None else jobs.c.target == target


def _asked_at(row: sa.RowMapping) -> tuple[datetime, int]:
    mark = rows.watermark(row)
    return row["created_at"] if mark is None else mark.asked_at, row["seq"]


def _newest_complete(pipeline: str, version: ScoreVersion, target: str | None) -> sa.Select[Any]:
    """Return the query for the committed partitions of the job that each source follows."""
    of_a_job = (_asked.source, jobs.c.seq)
    asked = jobs_with(
        pipeline,
        version,
        target,
        _asked.key,
        _asked.job_id,
        _asked.source,
        jobs.c.created_at,
        jobs.c.seq,
        sa.func.min(_done).over(partition_by=of_a_job).label("complete"),
        sa.func.max(_done).over(partition_by=of_a_job).label("begun"),
    ).subquery()
    # Per source, its jobs: those that have committed all of it first, then those that have
    # committed any, and the newest first.
    preference = (
        asked.c.complete.desc(),
        asked.c.begun.desc(),
        asked.c.created_at.desc(),
        asked.c.seq.desc(),
    )
    ranked = sa.select(
        asked.c.key,
        asked.c.job_id,
        sa.func.dense_rank().over(partition_by=asked.c.source, order_by=preference).label("place"),
    ).subquery()
    return (
        sa.select(partitions, ranked.c.job_id)
        .join(ranked, ranked.c.key == partitions.c.key)
        .where(ranked.c.place == 1, partitions.c.state == "committed")
    )
