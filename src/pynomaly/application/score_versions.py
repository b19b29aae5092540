"""Which models and policies have scored a pipeline, and which of them counts now."""

from __future__ import annotations

from collections.abc import Iterator

from pynomaly.application.ports.ledger import Ledger
from pynomaly.application.ports.records import Records
from pynomaly.domain.ledger import ScoreVersion

__all__ = ["score_versions"]

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


def _asked_for(ledger: Ledger, records: Records, pipeline: str) -> Iterator[ScoreVersion]:
    digests = {one.version: one.manifest_digest for one in records.versions(pipeline)}
    for batch in records.batches(pipeline, _ALL):
        if batch.model_version in digests:
            digest = digests[batch.model_version]
            yield ScoreVersion(batch.model_version, digest, batch.policy_version)
    for job in ledger.jobs(pipeline, _ALL):
        yield job.version
