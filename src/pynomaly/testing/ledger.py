"""A score ledger in memory, as strict as the real one."""

from __future__ import annotations

import functools
import itertools
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import ParamSpec, TypeVar

from pynomaly.domain.errors import ConflictError, FencedError
from pynomaly.domain.increments import INCREMENT, Stretch, in_force
from pynomaly.domain.ledger import Entry, JobProgress, Lease, Outcome, ScoreJob, ScoreVersion

__all__ = ["InMemoryLedger"]

P = ParamSpec("P")
R = TypeVar("R")


def _atomic(method: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(method)
    def alone(*args: P.args, **kwargs: P.kwargs) -> R:
        with args[0]._lock:  # type: ignore[attr-defined]
            return method(*args, **kwargs)

    return alone


@dataclass(slots=True)
class _Kept:
    entry: Entry
    created_at: datetime
    leased_until: float = 0.0

    @property
    def held(self) -> bool:
        return self.entry.state == "leased" and self.leased_until > time.monotonic()

    @property
    def free(self) -> bool:
        return self.entry.state == "pending" or (self.entry.state == "leased" and not self.held)

    def change(self, **changes: object) -> None:
        self.entry = replace(self.entry, **changes)  # type: ignore[arg-type]


class InMemoryLedger:
    """Implements ``Ledger`` (application/ports/ledger.py) for one process.

    >>> InMemoryLedger().current("payments")
    ()
    """

    def __init__(self) -> None:
        self._jobs: dict[str, ScoreJob] = {}  # in the order of arrival, which breaks ties
        self._asked: dict[str, list[str]] = {}  # keys by job
        self._kept: dict[str, _Kept] = {}
        self._fences = itertools.count(1)
        self._lock = threading.RLock()

    @_atomic
    def open_job(self, job: ScoreJob, entries: Sequence[Entry]) -> None:
        """Store a job and its partitions, in order; those known by their key are shared."""
        keys = [entry.key for entry in entries]
        if len(set(keys)) < len(keys):
            raise ValueError(f"job {job.id} lists a partition twice")
        if job.created_at.tzinfo is None:
            raise ValueError(f"ScoreJob.created_at has no time zone: {job.created_at}")
        stored = self._jobs.setdefault(job.id, job)
        if stored != job:
            raise ConflictError(f"score job {job.id} is stored already, with other content")
        if job.id in self._asked:
            return
        self._asked[job.id] = keys
        for entry in entries:
            kept = self._kept.setdefault(entry.key, _Kept(entry, job.created_at))
            if kept.entry.state == "failed":
                kept.change(state="pending")

    @_atomic
    def lease(self, job_id: str, owner: str, seconds: float) -> Lease | None:
        """Take the next partition of a job that nobody is at work on; None if there is none."""
        for kept in self._of(job_id):
            if kept.free:
                kept.change(
                    state="leased",
                    owner=owner,
                    fence=next(self._fences),
                    attempts=kept.entry.attempts + 1,
                    error=None,
                )
                kept.leased_until = time.monotonic() + seconds
                return _lease(kept.entry)
        return None

    @_atomic
    def renew(self, lease: Lease, seconds: float) -> None:
        """Make a lease hold for another ``seconds`` from now, even if it had run out."""
        kept = self._under(lease)
        if kept is None:
            raise self._fenced(lease)
        kept.leased_until = time.monotonic() + seconds

    @_atomic
    def commit(self, lease: Lease, outcome: Outcome) -> None:
        """Make an outcome what readers see, if this lease's fence is still the newest."""
        kept = self._under(lease)
        if kept is not None:
            kept.change(state="committed", outcome=outcome, committed_at=datetime.now(UTC))
            return
        stored = self._kept.get(lease.key)
        if stored is None or not (
            stored.entry.state == "committed" and stored.entry.fence == lease.fence
        ):
            raise self._fenced(lease)

    @_atomic
    def give_back(self, lease: Lease, error: str | None = None) -> None:
        """End a lease without an outcome; one that was taken over is left alone."""
        kept = self._under(lease)
        if kept is not None:
            kept.change(state="pending" if error is None else "failed", error=error)

    @_atomic
    def break_lease(self, lease: Lease) -> None:
        """Let a lease run out now; its holder may still commit if nobody takes it over."""
        kept = self._under(lease)
        if kept is not None:
            kept.leased_until = time.monotonic()

    @_atomic
    def leases(self, job_id: str) -> tuple[Lease, ...]:
        """Return the leases on partitions of a job that have not run out."""
        return tuple(_lease(kept.entry) for kept in self._of(job_id) if kept.held)

    @_atomic
    def progress(self, job_id: str) -> JobProgress:
        """Return where a job stands."""
        kept = self._of(job_id)
        done = [one.entry.outcome for one in kept if one.entry.outcome is not None]
        leased = sum(one.held for one in kept)
        failed = sum(one.entry.state == "failed" for one in kept)
        return JobProgress(
            pending=len(kept) - leased - len(done) - failed,
            leased=leased,
            committed=len(done),
            failed=failed,
            rows_in=sum(outcome.rows_in for outcome in done),
            rows_scored=sum(outcome.rows_scored for outcome in done),
            rows_quarantined=sum(outcome.rows_quarantined for outcome in done),
            rows_flagged=sum(outcome.rows_flagged for outcome in done),
        )

    @_atomic
    def job(self, job_id: str) -> ScoreJob | None:
        """Return a job by id."""
        return self._jobs.get(job_id)

    @_atomic
    def jobs(self, pipeline: str, limit: int = 20) -> tuple[ScoreJob, ...]:
        """Return the latest jobs, newest first."""
        latest_first = [job for job in reversed(self._jobs.values()) if job.pipeline == pipeline]
        return tuple(sorted(latest_first, key=lambda job: job.created_at, reverse=True))[:limit]

    @_atomic
    def entries_of(self, job_id: str) -> tuple[Entry, ...]:
        """Return the partitions of a job, in order."""
        return tuple(kept.entry for kept in self._of(job_id))

    @_atomic
    def current(
        self, pipeline: str, version: ScoreVersion | None = None, target: str | None = None
    ) -> tuple[Entry, ...]:
        """Return the committed partitions that are in force, ordered by source and first row."""
        jobs = [
            job
            for job in self.jobs(pipeline, len(self._jobs))
            if (version is None or _same(job.version, version))
            and (target is None or job.target == target)
        ]
        first = next((job for job in jobs if any(map(_committed, self.entries_of(job.id)))), None)
        if first is None:
            return ()
        by_source: dict[str, dict[str, list[Entry]]] = defaultdict(dict)
        for job in self._jobs_with(pipeline, first.version, first.target):
            for source, entries in self._sources(job).items():
                by_source[source][job.id] = entries
        chosen = in_force(self.stretches(pipeline, first.version, first.target))
        found: list[Entry] = []
        for source, newest_first in by_source.items():
            complete = (j for j, entries in newest_first.items() if all(map(_committed, entries)))
            decides = chosen.get(source, next(complete, next(iter(newest_first))))
            if decides is not None:
                found += filter(_committed, newest_first[decides])
        return tuple(sorted(found, key=_place))

    @_atomic
    def stretches(
        self, pipeline: str, version: ScoreVersion, target: str, table: str | None = None
    ) -> tuple[Stretch, ...]:
        """Return what jobs scored of tables with a watermark, the one asked last first."""
        jobs = list(self._jobs_with(pipeline, version, target))
        tables = {job.source_uri for job in jobs if job.watermark is not None}
        # Sorting keeps the later of two that asked at the same time first.
        jobs.sort(key=_asked_at, reverse=True)
        return tuple(
            Stretch(
                job.id,
                job.run_id,
                job.source_uri,
                source,
                job.watermark,
                all(map(_committed, entries)),
            )
            for job in jobs
            if job.source_uri in tables and table in (None, job.source_uri)
            for source, entries in self._sources(job).items()
            if source == job.source_uri or source.startswith(job.source_uri + INCREMENT)
        )

    @_atomic
    def asked(
        self,
        pipeline: str,
        version: ScoreVersion,
        target: str,
        *,
        source_uri: str | None = None,
        run_id: str | None = None,
    ) -> frozenset[str]:
        """Return the sources of which jobs have had partitions."""
        return frozenset(
            source
            for job in self._jobs_with(pipeline, version, target)
            if source_uri in (None, job.source_uri) and run_id in (None, job.run_id)
            for source in self._sources(job)
        )

    @_atomic
    def unfinished(self, pipeline: str, since: datetime) -> frozenset[str]:
        """Return the keys of jobs that are not complete but may still become so."""
        return frozenset(
            kept.entry.key
            for job in self.jobs(pipeline, len(self._jobs))
            if not all(_committed(kept.entry) for kept in self._of(job.id))
            and (job.created_at > since or any(kept.held for kept in self._of(job.id)))
            for kept in self._of(job.id)
        )

    @_atomic
    def entries(self, pipeline: str) -> tuple[Entry, ...]:
        """Return everything the ledger keeps of a pipeline, oldest first."""
        kept = [one for one in self._kept.values() if pipeline == one.entry.pipeline]
        kept.sort(key=lambda one: (one.created_at, *_place(one.entry)))
        return tuple(one.entry for one in kept)

    @_atomic
    def reset(self, key: str, error: str) -> None:
        """Make a committed partition pending again because its output is damaged or gone."""
        kept = self._kept.get(key)
        if kept is not None and _committed(kept.entry):
            kept.change(state="pending", error=error, outcome=None, committed_at=None)

    @_atomic
    def forget(self, keys: Collection[str], known: Collection[str] | None = None) -> frozenset[str]:
        """Remove partitions nobody is at work on, and jobs left without any."""
        others = self._asked.keys() - set(known) if known is not None else set()
        wanted = {key for job_id in others for key in self._asked[job_id]}
        gone = frozenset(
            key
            for key in keys
            if key in self._kept and not self._kept[key].held and key not in wanted
        )
        for job_id, asked in list(self._asked.items()):
            # A job that has lost a partition of a source says nothing about it any more.
            broken = {self._kept[key].entry.partition.source for key in asked if key in gone}
            kept = ((key, self._kept[key]) for key in asked)
            self._asked[job_id] = [
                key for key, k in kept if k.held or k.entry.partition.source not in broken
            ]
            if asked and not self._asked[job_id]:
                del self._asked[job_id], self._jobs[job_id]
        for key in gone:
            del self._kept[key]
        return gone

    @_atomic
    def wrote(self, target: str) -> bool:
        """Whether any job of the ledger has used this target."""
        return any(job.target == target for job in self._jobs.values())

    @_atomic
    def pipelines(self, target: str) -> tuple[str, ...]:
        """Return the pipelines that have jobs with this target, sorted."""
        return tuple(sorted({j.pipeline for j in self._jobs.values() if j.target == target}))

    def _jobs_with(self, pipeline: str, version: ScoreVersion, target: str) -> Iterator[ScoreJob]:
        """Yield jobs, the newest first."""
        for job in self.jobs(pipeline, len(self._jobs)):
            if _same(job.version, version) and job.target == target:
                yield job

    def _sources(self, job: ScoreJob) -> dict[str, list[Entry]]:
        found: dict[str, list[Entry]] = defaultdict(list)
        for kept in self._of(job.id):
            found[kept.entry.partition.source].append(kept.entry)
        return found

    def _of(self, job_id: str) -> list[_Kept]:
        return [self._kept[key] for key in self._asked.get(job_id, ())]

    def _under(self, lease: Lease) -> _Kept | None:
        kept = self._kept.get(lease.key)
        if kept and kept.entry.state == "leased" and kept.entry.fence == lease.fence:
            return kept
        return None

    def _fenced(self, lease: Lease) -> FencedError:
        kept = self._kept.get(lease.key)
        now = f"{kept.entry.state} by {kept.entry.owner}" if kept else "forgotten"
        return FencedError(
            f"{lease.partition}: the lease of {lease.owner} (fence {lease.fence}) no longer "
            f"holds: the partition is {now}",
            hint="what it wrote does not count",
        )


def _lease(entry: Entry) -> Lease:
    return Lease(entry.key, entry.partition, entry.owner or "", entry.fence, entry.attempts)


def _committed(entry: Entry) -> bool:
    return entry.state == "committed"


def _same(one: ScoreVersion, other: ScoreVersion) -> bool:
    """Whether model and policy are equal; the registry number does not count."""
    return (one.manifest_digest, one.policy_version) == (
        other.manifest_digest,
        other.policy_version,
    )


def _asked_at(job: ScoreJob) -> datetime:
    return job.watermark.asked_at if job.watermark is not None else job.created_at


def _place(entry: Entry) -> tuple[str, int, str]:
    return entry.partition.source, entry.partition.first_row, entry.key
