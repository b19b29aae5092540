"""Looking after stored scores: do they say what the ledger says, and what may go."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pynomaly.application.in_force import score_versions
from pynomaly.application.ports.ledger import Ledger
from pynomaly.application.ports.partitions import PartStore
from pynomaly.application.ports.records import Records
from pynomaly.application.score_again import score_again
from pynomaly.domain.ledger import Entry

__all__ = ["Damage", "PruneScores", "Pruned", "Verification", "VerifyScores"]

_ALL_JOBS = 1_000_000
_GIVEN_UP = timedelta(days=7)
"""Age from which an incomplete job that nobody works on is not expected to be taken up again."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A committed partition whose output is not what was committed.

    Args:
        key: Of the partition.
        partition: File and extent, for people.
        problem: What is wrong with which part.
        again: The command of the newest job that asked for it; None where no job does any more.
    """

    key: str
    partition: str
    problem: str
    again: str | None = None


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
    """Compare everything stored with the ledger, byte for byte and row for row.

    Args:
        ledger: Knows what was committed.
        store: Keeps its parts.
        scores_folder: For outputs nobody gave a place.
    """

    ledger: Ledger
    store: PartStore
    scores_folder: Path

    def __call__(self, pipeline: str, *, repair: bool = False) -> Verification:
        """Verify every version of a pipeline's scores that is still kept.

        Args:
            pipeline: Which pipeline.
            repair: Remove orphans, and free damaged partitions so that the next job writes them
                anew.  What a worker is writing at the moment is left alone.
        """
        targets = {entry.target for entry in self.ledger.entries(pipeline)}
        # Parts first: what is committed while we look is then no orphan.
        stored = [part for target in sorted(targets) for part in self.store.stored(target)]
        sharing = {name for target in targets for name in self.ledger.pipelines(target)}
        everybodys = [entry for name in sorted(sharing) for entry in self.ledger.entries(name)]
        committed = [e for e in everybodys if e.outcome is not None and e.pipeline == pipeline]
        damaged = [damage for entry in committed if (damage := self._damage(entry))]
        commands = self._commands(pipeline, {damage.key for damage in damaged})
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
        told = tuple(replace(damage, again=commands.get(damage.key)) for damage in damaged)
        return Verification(len(committed), rows, told, orphans, repair)

    def _commands(self, pipeline: str, keys: set[str]) -> dict[str, str]:
        """Return, by key, the command of the newest job that asked for it."""
        found: dict[str, str] = {}
        for job in self.ledger.jobs(pipeline, _ALL_JOBS):
            if keys <= found.keys():
                break
            command = score_again(pipeline, job.source_uri, job.target, self.scores_folder)
            for entry in self.ledger.entries_of(job.id):
                if entry.key in keys:
                    found.setdefault(entry.key, command)
        return found

    def _damage(self, entry: Entry) -> Damage | None:
        assert entry.outcome is not None  # committed
        problems = [
            f"{part.uri} {problem}"
            for part in entry.outcome.parts
            if (problem := self.store.check(part)) is not None
        ]
        return Damage(entry.key, str(entry.partition), "; ".join(problems)) if problems else None


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
    """Remove scores that nothing refers to any more.

    Args:
        ledger: Knows what was committed.
        store: Keeps its parts.
        records: Know which version counts.
    """

    ledger: Ledger
    store: PartStore
    records: Records

    def __call__(self, pipeline: str, *, versions: int, days: float = 0.0) -> Pruned:
        """Remove superseded scores and those of old versions.

        What is in force for the newest versions always stays, and so does what belongs to a job
        that is not complete: it will be in force once it is.  A job that nobody is at work on
        counts as given up once it is older than ``days``, at least 7.

        Args:
            pipeline: Which pipeline.
            versions: How many versions (model and policy) with committed scores to keep, at least
                1, the one that counts first.
            days: Keep whatever was committed within so many days.
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
        # The ledger first: a part without an entry is an orphan, an entry without a part is a lie.
        forgotten = self.ledger.forget([entry.key for entry in old], [job.id for job in jobs])
        gone = [entry.outcome for entry in old if entry.key in forgotten and entry.outcome]
        for outcome in gone:
            for part in outcome.parts:
                self.store.remove(part.uri)
        # Nobody will ask about a place the ledger no longer knows: orphans go with what it held.
        for target in sorted({entry.target for entry in old if entry.key in forgotten}):
            stored = list(self.store.stored(target))  # before asking: what comes later is no orphan
            if not self.ledger.wrote(target):
                for orphan in stored:
                    self.store.remove(orphan.uri)
        return Pruned(len(gone), sum(outcome.rows_scored for outcome in gone))

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
