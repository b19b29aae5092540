"""What the ledger asks its tables, built once: SQLAlchemy then compiles each once as well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from pynomaly.domain.ledger import ScoreVersion
from pynomaly.domain.partitions import Partition
from pynomaly.infrastructure.sqlalchemy.ledger_tables import job_partitions, jobs, partitions

if TYPE_CHECKING:
    from sqlalchemy.sql.compiler import SQLCompiler

__all__ = [
    "COMMIT",
    "ENTRIES_OF",
    "GIVE_BACK",
    "LEASES",
    "NEXT_FREE",
    "PROGRESS",
    "RENEW",
    "REOPEN",
    "RESET",
    "TAKE",
    "completed",
    "has_held",
    "has_partitions",
    "held",
    "observations",
    "same_version",
]

_COUNTS = ("rows_in", "rows_scored", "rows_quarantined", "rows_flagged")
_OUTCOME = (*_COUNTS, "parts", "observed", "committed_at")


class _Now(FunctionElement[float]):
    """Seconds since 1970 by the clock of the database, at this very moment."""

    type = sa.Double()
    inherit_cache = True


@compiles(_Now, "postgresql")
def _now_postgresql(_element: _Now, _compiler: SQLCompiler, **_: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"


@compiles(_Now, "sqlite")
def _now_sqlite(_element: _Now, _compiler: SQLCompiler, **_: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


_entry = partitions.c
_asked = job_partitions.c
_of_job = job_partitions.join(partitions, _asked.key == _entry.key)
_seconds: sa.BindParameter[float] = sa.bindparam("seconds", type_=sa.Double())

held = sa.and_(_entry.state == "leased", _entry.leased_until > _Now())
"""Whether somebody is at work on a partition."""
_free = sa.or_(
    _entry.state == "pending", sa.and_(_entry.state == "leased", _entry.leased_until <= _Now())
)

NEXT_FREE = (
    sa.select(
        _asked.position,
        _entry.key,
        _entry.fence,
        _entry.attempts,
        _Now().label("now"),
        *(_entry[name] for name in Partition.__slots__),
    )
    .select_from(_of_job)
    .where(_asked.job_id == sa.bindparam("job"), _asked.position >= sa.bindparam("start"), _free)
    .order_by(_asked.position)
    .limit(1)
    .with_for_update(of=partitions, skip_locked=True)
)

TAKE = (
    sa.update(partitions)
    .where(_entry.key == sa.bindparam("taken"))
    .values(
        state="leased",
        leased_until=_Now() + _seconds,
        error=sa.null(),
        fence=sa.bindparam("fence"),
        owner=sa.bindparam("owner"),
        attempts=sa.bindparam("attempts"),
    )
)

# Renewing, committing, giving back: only under the newest fence.
_under_lease = sa.update(partitions).where(
    _entry.key == sa.bindparam("held"),
    _entry.fence == sa.bindparam("under"),
    _entry.state == "leased",
)
RENEW = _under_lease.values(leased_until=_Now() + _seconds)
GIVE_BACK = _under_lease.values(
    state=sa.bindparam("state"), error=sa.bindparam("error"), leased_until=None
)
COMMIT = _under_lease.values(
    state="committed",
    leased_until=None,
    **{name: sa.bindparam(name) for name in _OUTCOME},
)

REOPEN = (
    sa.update(partitions)
    .where(
        _entry.state == "failed",
        _entry.key.in_(sa.select(_asked.key).where(_asked.job_id == sa.bindparam("job"))),
    )
    .values(state="pending")
)
RESET = (
    sa.update(partitions)
    .where(
        _entry.key == sa.bindparam("damaged"),
        _entry.fence == sa.bindparam("held"),
        _entry.state == "committed",
    )
    .values(state="pending", error=sa.bindparam("error"), **dict.fromkeys(_OUTCOME, sa.null()))
)

LEASES = (
    sa.select(partitions)
    .select_from(_of_job)
    .where(_asked.job_id == sa.bindparam("job"), held)
    .order_by(_asked.position)
)

ENTRIES_OF = (
    sa.select(partitions)
    .select_from(_of_job)
    .where(_asked.job_id == sa.bindparam("job"))
    .order_by(_asked.position)
)

_standing = sa.case((_free, "pending"), else_=_entry.state).label("standing")
PROGRESS = (
    sa.select(
        _standing,
        sa.func.count().label("partitions"),
        *(sa.func.coalesce(sa.func.sum(_entry[name]), 0).label(name) for name in _COUNTS),
    )
    .select_from(_of_job)
    .where(_asked.job_id == sa.bindparam("job"))
    .group_by("standing")
)


def observations(pipeline: str, release_id: str, step: int) -> sa.Select[Any]:
    """Return the query for the partitions that saw a release in a step of its rollout."""
    observed = _entry.observed
    return sa.select(partitions).where(
        _entry.pipeline == pipeline,
        _entry.state == "committed",
        observed["release_id"].as_string() == release_id,
        observed["step"].as_integer() == step,
    )


def same_version(version: ScoreVersion) -> sa.ColumnElement[bool]:
    """Whether a job used an equal model and policy; the registry number does not count."""
    return sa.and_(
        jobs.c.manifest_digest == version.manifest_digest,
        jobs.c.policy_version == version.policy_version,
    )


def has_partitions() -> sa.Exists:
    """Whether a job has any partition."""
    return sa.exists().where(_asked.job_id == jobs.c.id)


def has_held() -> sa.ColumnElement[bool]:
    """Whether somebody is at work on any partition of a job."""
    return _of_that_job(held)


def completed() -> sa.ColumnElement[bool]:
    """Whether all partitions of a job are committed."""
    return ~_of_that_job(_entry.state != "committed")


def _of_that_job(state: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    query = sa.select(_asked.key).select_from(_of_job)
    return query.where(_asked.job_id == jobs.c.id, state).correlate(jobs).exists()
