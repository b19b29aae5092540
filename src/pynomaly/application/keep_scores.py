"""Looking after stored scores: do they say what the ledger says, and what may go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pynomaly.application.ports.ledger import Ledger
from pynomaly.application.ports.partitions import PartStore, StoredPart
from pynomaly.domain.ledger import Entry, ScoreVersion

__all__ = ["Damage", "PruneScores", "Pruned", "Verification", "VerifyScores"]

_ALL_JOBS = 1_000_000


@dataclass(frozen=True, slots=True)
class Damage:
    """A committed partition whose output is not what was committed.

    Args:
        key: Of the partition.
        partition: File and extent, for people.
        problem: What is wrong with which part.
    """

    key: str
    partition: str
    problem: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What a verification found.

    Args:
        partitions: Committed ones.
        rows: In them.
        damaged: Those whose parts do not have the committed bytes or rows.
        orphans: Files, objects and table rows named like parts that no commit refers to.
        repaired: Whether orphans were removed and damaged partitions freed for the next job.
    """

    partitions: int
    rows: int
    damaged: tuple[Damage, ...]
    orphans: tuple[str, ...]
    repaired: bool


@dataclass(frozen=True, slots=True)
class VerifyScores:
    """Compare everything stored with the ledger, byte for byte and row for row."""

    ledger: Ledger
    store: PartStore

    def __call__(self, pipeline: str, *, repair: bool = False) -> Verification:
        """Verify every version of a pipeline's scores that is still kept.

        Args:
            pipeline: Which pipeline.
            repair: Remove orphans, and free damaged partitions so that the next job writes them
                anew.  What a worker is writing at the moment is left alone.
        """
        # Parts first: what is committed while we look is then no orphan.
        entries = self.ledger.entries(pipeline)
        stored = _stored(self.store, entries)
        everybodys = self.ledger.entries()  # pipelines may share a place
        committed = [e for e in everybodys if e.outcome is not None and e.pipeline == pipeline]
        damaged = tuple(damage for entry in committed if (damage := self._damage(entry)))
        known = {part.uri for e in everybodys if e.outcome for part in e.outcome.parts}
        busy = [f"{e.key[:32]}-{e.fence}" for e in everybodys if e.state == "leased"]
        orphans = tuple(
            part.uri
            for part in stored
            if part.uri not in known and not any(name in part.uri for name in busy)
        )
        if repair:
            for uri in orphans:
                self.store.remove(uri)
            for damage in damaged:
                self.ledger.reset(damage.key, damage.problem)
        rows = sum(entry.outcome.rows_scored for entry in committed if entry.outcome is not None)
        return Verification(len(committed), rows, damaged, orphans, repair)

    def _damage(self, entry: Entry) -> Damage | None:
        assert entry.outcome is not None  # committed
        problems = [
            f"{part.uri} {problem}"
            for part in entry.outcome.parts
            if (problem := self.store.check(part)) is not None
        ]
        return Damage(entry.key, str(entry.partition), "; ".join(problems)) if problems else None


def _stored(store: PartStore, entries: Sequence[Entry]) -> list[StoredPart]:
    targets = dict.fromkeys(entry.target for entry in entries)
    return [part for target in targets for part in store.stored(target)]


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a pruning removed.

    Args:
        partitions: Forgotten by the ledger.
        rows: In their parts.
    """

    partitions: int
    rows: int


@dataclass(frozen=True, slots=True)
class PruneScores:
    """Remove scores that nothing refers to any more."""

    ledger: Ledger
    store: PartStore

    def __call__(self, pipeline: str, *, versions: int, days: float = 0.0) -> Pruned:
        """Remove superseded scores and those of old versions.

        What is in force for the newest versions always stays, and so does what belongs to a job
        that is not complete: it will be in force once it is.

        Args:
            pipeline: Which pipeline.
            versions: How many versions (model and policy) with committed scores to keep, at least
                1, the newest first.
            days: Keep whatever was committed within so many days.
        """
        limit = datetime.now(UTC) - timedelta(days=days)
        entries = self.ledger.entries(pipeline)  # first: what is committed from now on stays
        kept = self._in_force(pipeline, versions) | self._unfinished(pipeline)
        gone = [
            entry
            for entry in entries
            if entry.outcome is not None
            and entry.committed_at is not None
            and entry.committed_at <= limit
            and entry.key not in kept
        ]
        # The ledger first: a part without an entry is an orphan, an entry without a part is a lie.
        self.ledger.forget([entry.key for entry in gone])
        for entry in gone:
            for part in entry.outcome.parts if entry.outcome else ():
                self.store.remove(part.uri)
        rows = sum(entry.outcome.rows_scored for entry in gone if entry.outcome)
        return Pruned(len(gone), rows)

    def _in_force(self, pipeline: str, versions: int) -> set[str]:
        """Return the keys in force of the newest versions that have any."""
        targets: dict[ScoreVersion, set[str]] = {}
        for job in self.ledger.jobs(pipeline, _ALL_JOBS):
            targets.setdefault(job.version, set()).add(job.target)
        found: list[set[str]] = []
        for version, places in targets.items():
            current = [self.ledger.current(pipeline, version, place) for place in places]
            if keys := {entry.key for entries in current for entry in entries}:
                found.append(keys)
            if len(found) == versions:
                break
        return set().union(*found)

    def _unfinished(self, pipeline: str) -> set[str]:
        """Return the keys of jobs some partition of which is not committed."""
        jobs = (self.ledger.entries_of(job.id) for job in self.ledger.jobs(pipeline, _ALL_JOBS))
        return {
            entry.key
            for entries in jobs
            if any(entry.outcome is None for entry in entries)
            for entry in entries
        }
