"""Do stored scores say what the ledger says?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pynomaly.application.orphans import orphans
from pynomaly.application.ports.ledger import Ledger
from pynomaly.application.ports.partitions import PartStore
from pynomaly.application.score_again import score_again
from pynomaly.domain.errors import PynomalyError
from pynomaly.domain.ledger import Entry

__all__ = ["Damage", "Unreadable", "Verification", "VerifyScores"]

_ALL_JOBS = 1_000_000


@dataclass(frozen=True, slots=True)
class Damage:
    """A committed partition whose output is not what was committed.

    Args:
        key: Of the partition.
        fence: Of the lease that committed it.
        partition: File and extent, for people.
        problem: What is wrong with which part.
        again: The command of the newest job that asked for it; None where no job does any more.
    """

    key: str
    fence: int
    partition: str
    problem: str
    again: str | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A place that could not be looked at, as a whole or in part.

    Args:
        target: Which place.
        partitions: Committed there, that were not verified.
        problem: Why not.
    """

    target: str
    partitions: int
    problem: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What a verification found.

    Args:
        partitions: Committed ones that were looked at.
        rows: In them.
        damaged: Those whose parts do not have the committed bytes or rows.
        orphans: Files, objects and table rows named like parts that no commit refers to.
            After a repair those that were removed.
        repaired: Whether orphans were removed and damaged partitions freed for the next job.
        unreadable: Places that could not be looked at, as a whole or in part.
        refused: What a repair could not do, and why.
    """

    partitions: int
    rows: int
    damaged: tuple[Damage, ...]
    orphans: tuple[str, ...]
    repaired: bool
    unreadable: tuple[Unreadable, ...] = ()
    refused: tuple[str, ...] = ()


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
            repair: Remove orphans, and damaged parts, whose partitions the next job writes anew.
                What a worker is writing at the moment is left alone.
        """
        places = sorted({entry.target for entry in self.ledger.entries(pipeline)})
        found = [self._place(pipeline, place) for place in places]
        damaged = [damage for one in found for damage in one.damaged]
        strays = [uri for one in found for uri in one.orphans]
        refused: list[str] = []
        commands = self._commands(pipeline, {damage.key for damage in damaged})
        if repair:
            strays = []
            for place, one in zip(places, found, strict=True):
                strays += self._repair(place, one, refused)
        return Verification(
            sum(one.partitions for one in found),
            sum(one.rows for one in found),
            tuple(replace(damage, again=commands.get(damage.key)) for damage in damaged),
            tuple(dict.fromkeys(strays)),
            repair,
            tuple(unread for one in found for unread in one.unreadable),
            tuple(refused),
        )

    def _repair(self, place: str, found: Verification, refused: list[str]) -> list[str]:
        """Free damaged partitions and remove orphans; returns what was removed.

        What is refused is noted, and keeps nothing else from being done.
        """
        for damage in found.damaged:
            self.ledger.reset(damage.key, damage.fence, damage.problem)
        strays = found.orphans
        try:
            # Parts that were damaged are orphans now; beside what replaces them a plain reader of
            # the folder would see their rows twice.
            strays += orphans(self.ledger, self.store, place) if found.damaged else ()
        except PynomalyError as error:
            refused.append(str(error))
        removed = []
        for uri in dict.fromkeys(strays):
            try:
                self.store.remove(uri)
            except PynomalyError as error:
                refused.append(str(error))
            else:
                removed.append(uri)
        return removed

    def _place(self, pipeline: str, target: str) -> Verification:
        """Verify what a pipeline committed to one place."""
        try:
            strays = orphans(self.ledger, self.store, target)
        except PynomalyError as error:
            unread = Unreadable(target, len(self._committed(pipeline, target)), str(error))
            return Verification(0, 0, (), (), False, (unread,))
        seen, damaged, problems = [], [], []
        for entry in self._committed(pipeline, target):
            try:
                damage = self._damage(entry)
            except PynomalyError as error:
                problems.append(str(error))
            else:
                seen.append(entry)
                damaged += [damage] if damage else []
        rows = sum(entry.outcome.rows_scored for entry in seen if entry.outcome)
        unreadable = Unreadable(target, len(problems), "; ".join(dict.fromkeys(problems)))
        return Verification(
            len(seen), rows, tuple(damaged), strays, False, (unreadable,) if problems else ()
        )

    def _committed(self, pipeline: str, target: str) -> list[Entry]:
        entries = self.ledger.entries(pipeline)
        return [one for one in entries if one.outcome and one.target == target]

    def _commands(self, pipeline: str, keys: set[str]) -> dict[str, str]:
        """Return, by key, the command of the newest job that asked for it."""
        found: dict[str, str] = {}
        for job in self.ledger.jobs(pipeline, _ALL_JOBS):
            if keys <= found.keys():
                break
            command = score_again(job, job.target, self.scores_folder)
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
        if not problems:
            return None
        return Damage(entry.key, entry.fence, str(entry.partition), "; ".join(problems))
