"""Which stored scores may go, and which places are given up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pynomaly.application.in_force import score_versions
from pynomaly.application.orphans import orphans
from pynomaly.application.ports.ledger import Ledger
from pynomaly.application.ports.partitions import PartStore
from pynomaly.application.ports.records import Records
from pynomaly.domain.errors import ConflictError, UsageError
from pynomaly.domain.ledger import Entry

__all__ = ["ForgetPlace", "PruneScores", "Pruned"]

_ALL_JOBS = 1_000_000
_GIVEN_UP = timedelta(days=7)
"""Age from which an incomplete job that nobody works on is not expected to be taken up again."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed, or would be.

    Args:
        partitions: Forgotten by the ledger.
        rows: In their parts.
    """

    partitions: int
    rows: int


@dataclass(frozen=True, slots=True)
class PruneScores:
    """Remove scores that nothing refers to any more.

    Args:
        ledger: Knows what was committed.
        store: Keeps its parts.
        records: Know which version counts.
    """

    ledger: Ledger
    store: PartStore
    records: Records

    def __call__(
        self, pipeline: str, *, versions: int, days: float = 0.0, dry_run: bool = False
    ) -> Pruned:
        """Remove superseded scores and those of old versions.

        What is in force for the newest versions always stays, and so does what belongs to a job
        that is not complete: it will be in force once it is.  A job that nobody is at work on
        counts as given up once it is older than ``days``, at least 7.

        Args:
            pipeline: Which pipeline.
            versions: How many versions (model and policy) with committed scores to keep, at least
                1, the one that counts first.
            days: Keep whatever was committed within so many days.
            dry_run: Only count what would be removed.
        """
        now = datetime.now(UTC)
        limit = now - timedelta(days=days)
        # First: what is committed, or asked for, from now on stays.
        jobs = self.ledger.jobs(pipeline, _ALL_JOBS)
        entries = self.ledger.entries(pipeline)
        given_up = now - max(timedelta(days=days), _GIVEN_UP)
        kept = self._in_force(pipeline, {job.target for job in jobs}, versions)
        kept |= self.ledger.unfinished(pipeline, since=given_up)
        old = [
            entry
            for entry in entries
            if entry.outcome is not None
            and entry.committed_at is not None
            and entry.committed_at <= limit
            and entry.key not in kept
        ]
        if dry_run:
            return _pruned(old)
        # The ledger first: a part without an entry is an orphan, an entry without a part is a lie.
        forgotten = self.ledger.forget([entry.key for entry in old], [job.id for job in jobs])
        gone = [entry for entry in old if entry.key in forgotten]
        for entry in gone:
            for part in entry.outcome.parts if entry.outcome else ():
                self.store.remove(part.uri)
        # Nobody will ask about a place the ledger no longer knows: orphans go with what it held.
        for target in sorted({entry.target for entry in gone}):
            strays = orphans(self.ledger, self.store, target)  # before asking: others may come
            if not self.ledger.wrote(target):
                for uri in strays:
                    self.store.remove(uri)
        return _pruned(gone)

    def _in_force(self, pipeline: str, targets: set[str], versions: int) -> set[str]:
        """Return the keys in force, anywhere and in each place, of the first versions with any."""
        found: list[set[str]] = []
        for version in score_versions(self.ledger, self.records, pipeline):
            current = [self.ledger.current(pipeline, version, place) for place in (None, *targets)]
            if keys := {entry.key for entries in current for entry in entries}:
                found.append(keys)
            if len(found) == versions:
                break
        return set().union(*found)


@dataclass(frozen=True, slots=True)
class ForgetPlace:
    """Give up a place for scores that is gone for good: a bucket or a database nobody has any more.

    Args:
        ledger: Knows what was committed there.
        store: Knows how places are spelled.
    """

    ledger: Ledger
    store: PartStore

    def __call__(self, pipeline: str, place: str) -> Pruned:
        """Let the ledger forget what a pipeline wrote to a place, which is neither asked nor changed.

        What was scored there counts as never scored; of an input that was scored elsewhere as well,
        those rows count.

        Args:
            pipeline: Which pipeline.
            place: Folder, ``s3://`` prefix or table.

        Raises:
            UsageError: Nothing was written there; names the places that there are.
            ConflictError: Somebody is writing there.
        """
        target = self.store.resolve(place)
        entries = self.ledger.entries(pipeline)
        there = [entry for entry in entries if entry.target == target]
        if not there:
            places = ", ".join(sorted({entry.target for entry in entries})) or "nowhere"
            raise UsageError(
                f"pipeline '{pipeline}' has written no scores to {target}",
                hint=f"it has written to {places}",
            )
        forgotten = self.ledger.forget([entry.key for entry in there])
        if len(forgotten) < len(there):
            raise ConflictError(
                f"partitions of {target} are being written and stay: {len(there) - len(forgotten)}; "
                f"forgotten: {len(forgotten)}",
                hint="end that job, then forget the place again",
            )
        return _pruned(there)


def _pruned(entries: Sequence[Entry]) -> Pruned:
    outcomes = [entry.outcome for entry in entries if entry.outcome]
    return Pruned(len(outcomes), sum(outcome.rows_scored for outcome in outcomes))
