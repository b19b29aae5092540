"""The scores that hold today, whichever model gave them and wherever they are."""

from __future__ import annotations

from pynomaly.application.ports.ledger import Ledger
from pynomaly.domain.increments import INCREMENT
from pynomaly.domain.ledger import Entry, ScoreVersion

__all__ = ["entries_in_force"]

_ALL_JOBS = 10_000


def entries_in_force(ledger: Ledger, pipeline: str) -> tuple[Entry, ...]:
    """Return the committed partitions in force of every source that was ever scored.

    Of a source (file, object, table) that several versions scored, or that was scored into several
    places, those of the newest job count.  Partitions of a source follow one another in the order
    of its rows.

    Args:
        ledger: Keeps them.
        pipeline: Which pipeline.
    """
    places: dict[tuple[str, str, str], ScoreVersion] = {}
    for job in ledger.jobs(pipeline, _ALL_JOBS):  # newest first
        version = job.version
        places.setdefault((version.manifest_digest, version.policy_version, job.target), version)
    found: list[Entry] = []
    taken: set[str] = set()
    for (_, _, target), version in places.items():
        entries = ledger.current(pipeline, version, target)
        found += [entry for entry in entries if _whole(entry) not in taken]
        taken |= {_whole(entry) for entry in entries}
    return tuple(found)


def _whole(entry: Entry) -> str:
    """Return the source of which an increment may be a part."""
    return entry.partition.source.partition(INCREMENT)[0]
