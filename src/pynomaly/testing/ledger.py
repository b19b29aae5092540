"""A score ledger in memory, as strict as the real one."""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from pynomaly.domain.errors import ConflictError, FencedError
from pynomaly.domain.ledger import Entry, Lease, Outcome, ScoreJob
from pynomaly.testing.ledger_kept import Kept, KeptPartitions, as_lease, atomic, is_committed

__all__ = ["InMemoryLedger"]


class InMemoryLedger(KeptPartitions):
    """Implements ``Ledger`` (application/ports/ledger.py) for one process.

    >>> InMemoryLedger().entries("payments")
    ()
    """

    def __init__(self) -> None:
        super().__init__()
        self._fences = itertools.count(1)

    @atomic
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
            kept = self._kept.setdefault(entry.key, Kept(entry, job.created_at))
            if kept.entry.state == "failed":
                kept.change(state="pending")

    @atomic
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
                return as_lease(kept.entry)
        return None

    @atomic
    def renew(self, lease: Lease, seconds: float) -> None:
        """Make a lease hold for another ``seconds`` from now, even if it had run out."""
        kept = self._under(lease)
        if kept is None:
            raise self._fenced(lease)
        kept.leased_until = time.monotonic() + seconds

    @atomic
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

    @atomic
    def give_back(self, lease: Lease, error: str | None = None) -> None:
        """End a lease without an outcome; one that was taken over is left alone."""
        kept = self._under(lease)
        if kept is not None:
            kept.change(state="pending" if error is None else "failed", error=error)

    @atomic
    def break_lease(self, lease: Lease) -> None:
        """Let a lease run out now; its holder may still commit if nobody takes it over."""
        kept = self._under(lease)
        if kept is not None:
            kept.leased_until = time.monotonic()

    @atomic
    def reset(self, key: str, fence: int, error: str) -> None:
        """Make a committed partition pending again because its output is damaged or gone."""
        kept = self._kept.get(key)
        if kept is not None and is_committed(kept.entry) and kept.entry.fence == fence:
            kept.change(state="pending", error=error, outcome=None, committed_at=None)

    @atomic
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

    def _under(self, lease: Lease) -> Kept | None:
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
