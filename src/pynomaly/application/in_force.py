"""What counts of all that was ever scored: which models and policies, and which partitions."""

from __future__ import annotations

from collections.abc import Iterator

from pynomaly.application.ports.ledger import Ledger
from pynomaly.application.ports.records import Records
from pynomaly.domain.increments import INCREMENT
from pynomaly.domain.ledger import Entry, ScoreVersion

__all__ = ["entries_in_force", "score_versions", "whole_source"]

_ALL = 1_000_000


def score_versions(ledger: Ledger, records: Records, pipeline: str) -> Iterator[ScoreVersion]:
    """Yield the versions that have scored a pipeline, each once, the one that counts first.

    That is the one of the newest batch: a batch is recorded when its job is complete, so what a
    new model has scored so far hides nothing of what the former one did.  Versions none of whose
    jobs was ever complete come last.

    Args:
        ledger: Knows jobs.
        records: Know batches.
        pipeline: Which pipeline.
    """
    # A model that was registered twice is one.
    seen: set[tuple[str, str]] = set()
    for version in _asked_for(ledger, records, pipeline):
        name = version.manifest_digest, version.policy_version
        if name not in seen:
            seen.add(name)
            yield version


def entries_in_force(ledger: Ledger, records: Records, pipeline: str) -> tuple[Entry, ...]:
    """Return the committed partitions in force of every source that was ever scored.

    Of a source (file, object, table) that several versions scored, those of the version count that
    comes first.  Partitions of a source follow one another in the order of its rows.

    Args:
        ledger: Keeps them.
        records: Know batches.
        pipeline: Which pipeline.
    """
    found: list[Entry] = []
    taken: set[str] = set()
    for version in score_versions(ledger, records, pipeline):
        entries = ledger.current(pipeline, version)
        found += [entry for entry in entries if whole_source(entry) not in taken]
        taken |= {whole_source(entry) for entry in entries}
    return tuple(found)


def _asked_for(ledger: Ledger, records: Records, pipeline: str) -> Iterator[ScoreVersion]:
    digests = {one.version: one.manifest_digest for one in records.versions(pipeline)}
    for batch in records.batches(pipeline, _ALL):
        if batch.model_version in digests:
            digest = digests[batch.model_version]
            yield ScoreVersion(batch.model_version, digest, batch.policy_version)
    for job in ledger.jobs(pipeline, _ALL):
        yield job.version


def whole_source(entry: Entry) -> str:
    """Return the source of which an increment may be a part."""
    return entry.partition.source.partition(INCREMENT)[0]
