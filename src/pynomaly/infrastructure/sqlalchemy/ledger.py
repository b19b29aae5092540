"""The score ledger in SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from pynomaly.domain.canaries import Comparison
from pynomaly.domain.errors import ConflictError, FencedError
from pynomaly.domain.increments import Stretch
from pynomaly.domain.ledger import Entry, JobProgress, Lease, Outcome, ScoreJob, ScoreVersion
from pynomaly.infrastructure.sqlalchemy import ledger_force as force
from pynomaly.infrastructure.sqlalchemy import ledger_retention as retention
from pynomaly.infrastructure.sqlalchemy import ledger_rows as rows
from pynomaly.infrastructure.sqlalchemy import ledger_statements as statements
from pynomaly.infrastructure.sqlalchemy.database import Database
from pynomaly.infrastructure.sqlalchemy.ledger_tables import job_partitions, jobs, partitions
from pynomaly.infrastructure.sqlalchemy.rows import comparison

__all__ = ["SqlLedger"]

_MANY = 1_000


class SqlLedger:
    """Implements ``Ledger`` (application/ports/ledger.py).

    Whatever is interrupted by a broken connection to PostgreSQL is tried again on a new one, after
    asking the database whether it had happened.

    Args:
        url: ``sqlite:///path`` or ``postgresql://user:password@host/database``.  Nothing is
            connected before the first use, which also creates or upgrades the tables.

    Raises:
        ConfigurationError: Not such a URL; on first use also an unreachable or foreign database.
        MissingExtraError: PostgreSQL without psycopg.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url, busy=True)
        # Where in a job to look for the next partition.  A hint: a job of many partitions would
        # otherwise be searched from its start, through all that is done, for each of them.
        self._next: dict[str, int] = {}

    def open_job(self, job: ScoreJob, entries: Sequence[Entry]) -> None:
        """Store a job and its partitions, in order; those known by their key are shared."""
        asked = [
            {"job_id": job.id, "position": n, "key": one.key, "source": one.partition.source}
            for n, one in enumerate(entries)
        ]
        if len({one["key"] for one in asked}) < len(asked):
            raise ValueError(f"job {job.id} lists a partition twice")
        # In the order of their keys: two equal jobs wait for each other instead of deadlocking.
        new = sorted((rows.entry_row(one, job) for one in entries), key=lambda row: row["key"])

        def store(connection: sa.Connection) -> None:
            insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
            same_id = sa.select(jobs).where(jobs.c.id == job.id)
            stored = connection.execute(same_id).mappings().one_or_none()
            if stored is not None and rows.job(stored) != job:
                raise ConflictError(
                    f"score job {job.id} of {job.pipeline} is stored already, with other content",
                    hint="jobs are written once; give a new one a new id",
                )
            if stored is not None:
                return
            # One that is stored meanwhile fails this; the next attempt finds it.
            connection.execute(sa.insert(jobs), rows.job_row(job))
            if entries:
                connection.execute(insert(partitions).on_conflict_do_nothing(), new)
                connection.execute(sa.insert(job_partitions), asked)
                connection.execute(statements.REOPEN, {"job": job.id})
            if len(entries) >= _MANY and connection.dialect.name == "postgresql":
                # Until it hears of them, PostgreSQL sorts them all for every lease.
                connection.exec_driver_sql(f"ANALYZE {partitions.name}, {job_partitions.name}")

        self._database.carry_out(store)

    def lease(self, job_id: str, owner: str, seconds: float) -> Lease | None:
        """Take the next partition of a job that nobody is at work on; None if there is none."""
        taken: Lease | None = None

        def take(connection: sa.Connection) -> Lease | None:
            nonlocal taken
            if taken and _is_newest(taken, _stored(connection, taken.key)):
                return taken  # it was committed, and only the answer was lost
            start = self._next.get(job_id, 0)
            query = {"job": job_id, "start": start}
            found = connection.execute(statements.NEXT_FREE, query).mappings().one_or_none()
            if found is None and start:
                query["start"] = 0
                found = connection.execute(statements.NEXT_FREE, query).mappings().one_or_none()
            if found is None:
                return None
            taken = Lease(
                key=found["key"],
                partition=rows.partition(found),
                owner=owner,
                # A partition that is forgotten and asked for again begins at 0; thanks to the
                # clock its fences, and the names of parts made from them, are new all the same.
                fence=max(found["fence"] + 1, int(found["now"] * 1_000)),
                attempt=found["attempts"] + 1,
            )
            values = {"fence": taken.fence, "owner": owner, "attempts": taken.attempt}
            connection.execute(statements.TAKE, {"taken": taken.key, "seconds": seconds, **values})
            self._next[job_id] = found["position"] + 1
            return taken

        return self._database.carry_out(take)

    def renew(self, lease: Lease, seconds: float) -> None:
        """Make a lease hold for another ``seconds`` from now, even if it had run out."""

        def hold(connection: sa.Connection) -> None:
            if not _update(connection, statements.RENEW, lease, {"seconds": seconds}):
                raise _fenced(lease, _stored(connection, lease.key))

        self._database.carry_out(hold)

    def commit(self, lease: Lease, outcome: Outcome) -> None:
        """Make an outcome what readers see, if this lease's fence is still the newest."""
        values = rows.outcome_row(outcome) | {"committed_at": datetime.now(UTC)}

        def settle(connection: sa.Connection) -> None:
            if _update(connection, statements.COMMIT, lease, values):
                return
            found = _stored(connection, lease.key)
            if found is None or not _is_newest(lease, found) or found["state"] != "committed":
                raise _fenced(lease, found)

        self._database.carry_out(settle)

    def give_back(self, lease: Lease, error: str | None = None) -> None:
        """End a lease without an outcome; one that was taken over is left alone."""
        values = {"state": "pending" if error is None else "failed", "error": error}
        self._database.carry_out(lambda c: _update(c, statements.GIVE_BACK, lease, values))

    def break_lease(self, lease: Lease) -> None:
        """Let a lease run out now; its holder may still commit if nobody takes it over."""
        self._database.carry_out(lambda c: _update(c, statements.RENEW, lease, {"seconds": 0.0}))

    def leases(self, job_id: str) -> tuple[Lease, ...]:
        """Return the leases on partitions of a job that have not run out."""
        return tuple(
            Lease(
                key=found["key"],
                partition=rows.partition(found),
                owner=found["owner"],
                fence=found["fence"],
                attempt=found["attempts"],
            )
            for found in self._all(statements.LEASES, job=job_id)
        )

    def progress(self, job_id: str) -> JobProgress:
        """Return where a job stands."""
        found = {one["standing"]: one for one in self._all(statements.PROGRESS, job=job_id)}
        states = ("pending", "leased", "committed", "failed")
        counts = ("rows_in", "rows_scored", "rows_quarantined", "rows_flagged")
        return JobProgress(
            **{state: found[state]["partitions"] if state in found else 0 for state in states},
            # PostgreSQL adds up big integers to decimals.
            **{name: int(sum(one[name] for one in found.values())) for name in counts},
        )

    def job(self, job_id: str) -> ScoreJob | None:
        """Return a job by id."""
        return next(map(rows.job, self._all(sa.select(jobs).where(jobs.c.id == job_id))), None)

    def jobs(self, pipeline: str, limit: int = 20) -> tuple[ScoreJob, ...]:
        """Return the latest jobs, newest first."""
        newest = (jobs.c.created_at.desc(), jobs.c.seq.desc())
        query = sa.select(jobs).where(jobs.c.pipeline == pipeline).order_by(*newest)
        found = self._all(query.limit(limit))
        return tuple(map(rows.job, found))

    def entries_of(self, job_id: str) -> tuple[Entry, ...]:
        """Return the partitions of a job, in order."""
        return tuple(map(rows.entry, self._all(statements.ENTRIES_OF, job=job_id)))

    def current(
        self, pipeline: str, version: ScoreVersion, target: str | None = None
    ) -> tuple[Entry, ...]:
        """Return the committed partitions that are in force, ordered by source and first row."""
        with self._database.read() as connection:
            found = force.current(connection, pipeline, version, target)
        return tuple(sorted(found, key=_place))  # here: the databases' collations differ

    def stretches(
        self,
        pipeline: str,
        version: ScoreVersion,
        target: str | None = None,
        table: str | None = None,
    ) -> tuple[Stretch, ...]:
        """Return what jobs scored of tables with a watermark, the one asked last first."""
        with self._database.read() as connection:
            return force.stretches(connection, pipeline, version, target, table)

    def asked(
        self,
        pipeline: str,
        version: ScoreVersion,
        target: str | None = None,
        *,
        source_uri: str | None = None,
        run_id: str | None = None,
    ) -> frozenset[str]:
        """Return the sources of which jobs have had partitions."""
        query = force.jobs_with(pipeline, version, target, job_partitions.c.source).distinct()
        if source_uri is not None:
            query = query.where(jobs.c.source_uri == source_uri)
        if run_id is not None:
            query = query.where(jobs.c.run_id == run_id)
        return frozenset(found["source"] for found in self._all(query))

    def unfinished(self, pipeline: str, since: datetime) -> frozenset[str]:
        """Return the keys of jobs that are not complete but may still become so."""
        found = self._all(retention.unfinished(pipeline, since))
        return frozenset(one["key"] for one in found)

    def observed(self, pipeline: str, release_id: str, step: int) -> dict[str, Comparison]:
        """Return what committed partitions saw of a release in a step of its rollout."""
        found = self._all(statements.observations(pipeline, release_id, step))
        return {rows.partition(one).content: comparison(one["observed"]["seen"]) for one in found}

    def entries(self, pipeline: str) -> tuple[Entry, ...]:
        """Return everything the ledger keeps of a pipeline, oldest first."""
        found = self._all(sa.select(partitions).where(partitions.c.pipeline == pipeline))
        by_age = sorted(found, key=lambda one: (one["created_at"], *_place(rows.entry(one))))
        return tuple(map(rows.entry, by_age))

    def reset(self, key: str, fence: int, error: str) -> None:
        """Make a committed partition pending again because its output is damaged or gone."""
        change = {"damaged": key, "held": fence, "error": error}
        self._database.carry_out(lambda c: c.execute(statements.RESET, change).close())

    def forget(self, keys: Collection[str], known: Collection[str] | None = None) -> frozenset[str]:
        """Remove partitions nobody is at work on, and jobs left without any."""
        asking = None if known is None else frozenset(known)
        return self._database.carry_out(lambda c: retention.forget(c, keys, asking))

    def wrote(self, target: str) -> bool:
        """Whether a job or a partition of the ledger has this target."""
        columns = (jobs.c.target, partitions.c.target)
        return any(self._all(sa.select(c).where(c == target).limit(1)) for c in columns)

    def pipelines(self, target: str) -> tuple[str, ...]:
        """Return the pipelines with partitions in this target, one below or one above, sorted."""
        place, own = sa.func.rtrim(partitions.c.target, "/") + "/", f"{target.rstrip('/')}/"
        # LIKE takes small letters for capitals in SQLite.
        below = sa.func.substr(place, 1, len(own)) == own
        above = sa.func.substr(own, 1, sa.func.length(place)) == place
        query = sa.select(partitions.c.pipeline).where(sa.or_(below, above)).distinct()
        return tuple(sorted(found["pipeline"] for found in self._all(query)))

    def _all(self, query: sa.Select[Any], **parameters: object) -> Sequence[sa.RowMapping]:
        with self._database.read() as connection:
            return connection.execute(query, parameters).mappings().all()


def _place(entry: Entry) -> tuple[str, int, str]:
    return entry.partition.source, entry.partition.first_row, entry.key


def _update(
    connection: sa.Connection, statement: sa.Update, lease: Lease, values: dict[str, Any]
) -> bool:
    """Change a partition if the lease on it is the newest; return whether it is."""
    values = {"held": lease.key, "under": lease.fence, **values}
    return connection.execute(statement, values).rowcount == 1


def _stored(connection: sa.Connection, key: str) -> sa.RowMapping | None:
    query = sa.select(partitions).where(partitions.c.key == key)
    return connection.execute(query).mappings().one_or_none()


def _is_newest(lease: Lease, found: sa.RowMapping | None) -> bool:
    return found is not None and (found["fence"], found["owner"]) == (lease.fence, lease.owner)


def _fenced(lease: Lease, found: sa.RowMapping | None) -> FencedError:
    if found is None:
        happened = "the partition was pruned from the ledger"
    elif not _is_newest(lease, found):
        happened = f"{found['owner']} has taken it over under fence {found['fence']}"
    elif found["state"] == "committed":
        happened = "its rows are committed already"
    else:
        happened = f"the lease was given up, the partition is {found['state']}"
    return FencedError(
        f"{lease.partition}: the lease of {lease.owner} (fence {lease.fence}) no longer holds: "
        f"{happened}",
        hint="what it wrote does not count and no row is lost or repeated; score the pipeline "
        "again to finish what is missing, and raise scoring.lease_seconds if workers pause for "
        "longer than that",
    )
