"""What a ledger in memory keeps, and what it answers about it."""

from __future__ import annotations

import functools
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ParamSpec, TypeVar

from pynomaly.domain.canaries import Comparison
from pynomaly.domain.increments import INCREMENT, Stretch, in_force
from pynomaly.domain.ledger import Entry, JobProgress, Lease, ScoreJob, ScoreVersion

__all__ = ["Kept", "KeptPartitions", "as_lease", "atomic", "is_committed"]

P = ParamSpec("P")
R = TypeVar("R")


def atomic(method: Callable[P, R]) -> Callable[P, R]:
    """Let one thread at a time into any of an object's methods."""

    @functools.wraps(method)
    def alone(*args: P.args, **kwargs: P.kwargs) -> R:
        with args[0]._lock:  # type: ignore[attr-defined]
            return method(*args, **kwargs)

    return alone


@dataclass(slots=True)
class Kept:
    """A partition, and until when it is leased."""

    entry: Entry
    created_at: datetime
    leased_until: float = 0.0

    @property
    def held(self) -> bool:
        """Whether somebody is at work on it."""
        return self.entry.state == "leased" and self.leased_until > time.monotonic()

    @property
    def free(self) -> bool:
        """Whether it can be leased."""
        return self.entry.state == "pending" or (self.entry.state == "leased" and not self.held)

    def change(self, **changes: object) -> None:
        """Replace fields of the entry."""
        self.entry = replace(self.entry, **changes)  # type: ignore[arg-type]


class KeptPartitions:
    """The half of ``Ledger`` (application/ports/ledger.py) that changes nothing."""

    def __init__(self) -> None:
        self._jobs: dict[str, ScoreJob] = {}  # in the order of arrival, which breaks ties
        self._asked: dict[str, list[str]] = {}  # keys by job
        self._kept: dict[str, Kept] = {}
        self._lock = threading.RLock()

    @atomic
    def leases(self, job_id: str) -> tuple[Lease, ...]:
        """Return the leases on partitions of a job that have not run out."""
        return tuple(as_lease(kept.entry) for kept in self._of(job_id) if kept.held)

    @atomic
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

    @atomic
    def job(self, job_id: str) -> ScoreJob | None:
        """Return a job by id."""
        return self._jobs.get(job_id)

    @atomic
    def jobs(self, pipeline: str, limit: int = 20) -> tuple[ScoreJob, ...]:
        """Return the latest jobs, newest first."""
        latest_first = [job for job in reversed(self._jobs.values()) if job.pipeline == pipeline]
        return tuple(sorted(latest_first, key=lambda job: job.created_at, reverse=True))[:limit]

    @atomic
    def entries_of(self, job_id: str) -> tuple[Entry, ...]:
        """Return the partitions of a job, in order."""
        return tuple(kept.entry for kept in self._of(job_id))

    @atomic
    def current(
        self, pipeline: str, version: ScoreVersion, target: str | None = None
    ) -> tuple[Entry, ...]:
        """Return the committed partitions that are in force, ordered by source and first row."""
        by_source: dict[str, dict[str, list[Entry]]] = defaultdict(dict)
        for job in self._jobs_with(pipeline, version, target):
            for source, entries in self._sources(job).items():
                by_source[source][job.id] = entries
        chosen = in_force(self.stretches(pipeline, version, target))
        found: list[Entry] = []
        for source, newest_first in by_source.items():
            complete = [j for j, entries in newest_first.items() if all(map(is_committed, entries))]
            begun = [j for j, entries in newest_first.items() if any(map(is_committed, entries))]
            decides = chosen.get(source, next(iter([*complete, *begun, *newest_first])))
            if decides is not None:
                found += filter(is_committed, newest_first[decides])
        return tuple(sorted(found, key=_place))

    @atomic
    def stretches(
        self,
        pipeline: str,
        version: ScoreVersion,
        target: str | None = None,
        table: str | None = None,
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
                job.target,
                job.source_uri,
                source,
                job.watermark,
                all(map(is_committed, entries)),
            )
            for job in jobs
            if job.source_uri in tables and table in (None, job.source_uri)
            for source, entries in self._sources(job).items()
            if source == job.source_uri or source.startswith(job.source_uri + INCREMENT)
        )

    @atomic
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
        return frozenset(
            source
            for job in self._jobs_with(pipeline, version, target)
            if source_uri in (None, job.source_uri) and run_id in (None, job.run_id)
            for source in self._sources(job)
        )

    @atomic
    def unfinished(self, pipeline: str, since: datetime) -> frozenset[str]:
        """Return the keys of jobs that are not complete but may still become so."""
        return frozenset(
            kept.entry.key
            for job in self.jobs(pipeline, len(self._jobs))
            if not all(is_committed(kept.entry) for kept in self._of(job.id))
            and (job.created_at > since or any(kept.held for kept in self._of(job.id)))
            for kept in self._of(job.id)
        )

    @atomic
    def observed(self, pipeline: str, release_id: str, step: int) -> dict[str, Comparison]:
        """Return what committed partitions saw of a release in a step of its rollout."""
        return {
            entry.partition.content: entry.outcome.observed.seen
            for entry in self.entries(pipeline)
            if entry.outcome and (seen := entry.outcome.observed)
            if (seen.release_id, seen.step) == (release_id, step)
        }

    @atomic
    def entries(self, pipeline: str) -> tuple[Entry, ...]:
        """Return everything the ledger keeps of a pipeline, oldest first."""
        kept = [one for one in self._kept.values() if pipeline == one.entry.pipeline]
        kept.sort(key=lambda one: (one.created_at, *_place(one.entry)))
        return tuple(one.entry for one in kept)

    @atomic
    def wrote(self, target: str) -> bool:
        """Whether a job or a partition of the ledger has this target."""
        targets = {job.target for job in self._jobs.values()}
        return target in targets | {kept.entry.target for kept in self._kept.values()}

    @atomic
    def pipelines(self, target: str) -> tuple[str, ...]:
        """Return the pipelines with partitions in this target, one below or one above, sorted."""
        own, found = f"{target.rstrip('/')}/", set()
        for kept in self._kept.values():
            place = f"{kept.entry.target.rstrip('/')}/"
            if place.startswith(own) or own.startswith(place):
                found.add(kept.entry.pipeline)
        return tuple(sorted(found))

    def _jobs_with(
        self, pipeline: str, version: ScoreVersion, target: str | None
    ) -> Iterator[ScoreJob]:
        """Yield jobs, the newest first."""
        for job in self.jobs(pipeline, len(self._jobs)):
            if _same(job.version, version) and target in (None, job.target):
                yield job

    def _sources(self, job: ScoreJob) -> dict[str, list[Entry]]:
        found: dict[str, list[Entry]] = defaultdict(list)
        for kept in self._of(job.id):
            found[kept.entry.partition.source].append(kept.entry)
        return found

    def _of(self, job_id: str) -> list[Kept]:
        return [self._kept[key] for key in self._asked.get(job_id, ())]


def as_lease(entry: Entry) -> Lease:
    """Return the newest lease of an entry."""
    return Lease(entry.key, entry.partition, entry.owner or "", entry.fence, entry.attempts)


def is_committed(entry: Entry) -> bool:
    """Whether its rows count."""
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
