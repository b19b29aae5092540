"""The score ledger: leases, fenced commits, and what may be read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from pynomaly.domain.canaries import Comparison
from pynomaly.domain.increments import Stretch
from pynomaly.domain.ledger import Entry, JobProgress, Lease, Outcome, ScoreJob, ScoreVersion

__all__ = ["Ledger"]


class Ledger(Protocol):
    """Keeps which partitions were scored, shared by all processes.  Every method is atomic.

    Time is that of the database, where it has a clock of its own: leases hold on machines whose
    clocks differ.
    """

    def open_job(self, job: ScoreJob, entries: Sequence[Entry]) -> None:
        """Store a job and its partitions, in order.

        Partitions that the ledger knows by their key are shared: committed ones stay committed
        (their work is done), leased ones stay with their holder, failed ones become pending.

        Args:
            job: A new one.  An equal one may exist already; its partitions are then left as is.
            entries: State ``pending``.

        Raises:
            ConflictError: A job of that id with other content exists.
            ValueError: A partition comes twice, or the job's moment has no time zone.
        """

    def lease(self, job_id: str, owner: str, seconds: float) -> Lease | None:
        """Take the next partition of a job that nobody is at work on; None if there is none.

        In the order of the plan; those given back or left behind by a dead worker may come after
        all others.  A lease that ran out counts as none.

        Args:
            job_id: Of the job.
            owner: Who asks.
            seconds: How long the lease holds unless renewed.
        """

    def renew(self, lease: Lease, seconds: float) -> None:
        """Make a lease hold for another ``seconds`` from now.

        A lease that ran out but was not taken over is revived.

        Raises:
            FencedError: Somebody else has taken the partition over, or it is committed.
        """

    def commit(self, lease: Lease, outcome: Outcome) -> None:
        """Make an outcome what readers see, if this lease's fence is still the newest.

        Repeating a commit that succeeded changes nothing, so that one whose answer was lost can
        be tried again.

        Raises:
            FencedError: Somebody else has taken the partition over; nothing changed.
        """

    def give_back(self, lease: Lease, error: str | None = None) -> None:
        """End a lease without an outcome; one that was taken over is left alone.

        Args:
            lease: Held by the caller.
            error: Why the partition failed; None makes it free for the next at once.
        """

    def break_lease(self, lease: Lease) -> None:
        """Let a lease run out now because its holder is known to be dead; harmless if it is not.

        Nothing happens where the fence is no longer the newest.
        """

    def leases(self, job_id: str) -> tuple[Lease, ...]:
        """Return the leases on partitions of a job that have not run out."""

    def progress(self, job_id: str) -> JobProgress:
        """Return where a job stands."""

    def job(self, job_id: str) -> ScoreJob | None:
        """Return a job by id."""

    def jobs(self, pipeline: str, limit: int = 20) -> tuple[ScoreJob, ...]:
        """Return the latest jobs, newest first."""

    def entries_of(self, job_id: str) -> tuple[Entry, ...]:
        """Return the partitions of a job, in order."""

    def current(
        self, pipeline: str, version: ScoreVersion, target: str | None = None
    ) -> tuple[Entry, ...]:
        """Return the committed partitions that are in force, ordered by source and first row.

        For every source (file, object, table) these are the partitions of the newest job of that
        version that has committed all its partitions of the source; where no job has, the
        committed ones of the newest job that has any.  So the rows of a source change from one
        state to the next in one step and are never mixed.  Of a table that is scored in
        increments, those in its chain count (:func:`pynomaly.domain.increments.in_force`).

        Args:
            pipeline: Which pipeline.
            version: Model and policy, whose registry number does not count.
            target: Where the parts are; all places count where None.
        """

    def stretches(
        self,
        pipeline: str,
        version: ScoreVersion,
        target: str | None = None,
        table: str | None = None,
    ) -> tuple[Stretch, ...]:
        """Return what jobs scored of tables with a watermark, the one asked last first.

        Args:
            pipeline: Which pipeline.
            version: Model and policy; the registry number does not count.
            target: Where the parts are; anywhere where None.
            table: As a job's ``source_uri``; all tables where None.
        """

    def asked(
        self,
        pipeline: str,
        version: ScoreVersion,
        target: str | None = None,
        *,
        source_uri: str | None = None,
        run_id: str | None = None,
    ) -> frozenset[str]:
        """Return the sources (files, objects, tables) of which jobs have had partitions.

        Args:
            pipeline: Which pipeline.
            version: Model and policy; the registry number does not count.
            target: Where the parts are; anywhere where None.
            source_uri: Of jobs over this input alone.
            run_id: Of jobs of this run alone.
        """

    def unfinished(self, pipeline: str, since: datetime) -> frozenset[str]:
        """Return the keys of jobs that are not complete but may still become so.

        Args:
            pipeline: Which pipeline.
            since: Older jobs count as given up unless somebody is at work on them.
        """

    def observed(self, pipeline: str, release_id: str, step: int) -> dict[str, Comparison]:
        """Return what committed partitions saw of a release in a step of its rollout.

        Args:
            pipeline: Which pipeline.
            release_id: Of which release.
            step: Of its rollout.

        Returns:
            By what was read: content that was scored for several places, or with other columns
            beside it, is there once.
        """

    def entries(self, pipeline: str) -> tuple[Entry, ...]:
        """Return everything the ledger keeps of a pipeline, oldest first."""

    def reset(self, key: str, fence: int, error: str) -> None:
        """Make a committed partition pending again because its output is damaged or gone.

        The next job that needs it writes it anew.  Output that another lease committed since is
        left alone.

        Args:
            key: Of the partition.
            fence: Of the lease that committed the output.
            error: What is wrong with its output.
        """

    def forget(self, keys: Collection[str], known: Collection[str] | None = None) -> frozenset[str]:
        """Remove partitions nobody is at work on, and jobs left without any.

        Fences keep growing where a partition comes back later.

        Args:
            keys: Of partitions; leased ones are left alone.
            known: Ids of the jobs that the decision to remove them rests on: what another one has
                come to ask for meanwhile is left alone.  None removes them whoever asks.

        Returns:
            The keys of those that were removed.
        """

    def wrote(self, target: str) -> bool:
        """Whether a job or a partition of the ledger has this target."""

    def pipelines(self, target: str) -> tuple[str, ...]:
        """Return the pipelines with partitions in this target, one below or one above, sorted.

        Any of them may have parts there: places may lie in one another, and a part that is divided
        by a column lies in a folder below its target.
        """
