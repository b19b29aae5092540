"""What became of every row of a score job."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from pynomaly.application.ports.ledger import Ledger
from pynomaly.application.read_scores import ReadScores, is_file
from pynomaly.application.validate import Validated
from pynomaly.domain.errors import (
    IntegrityError,
    PartitionsFailedError,
    SourceChangedError,
)
from pynomaly.domain.ledger import Entry, Output, ScoreJob
from pynomaly.domain.runs import ScoredBatch

__all__ = ["account"]


def account(
    job: ScoreJob, validated: Validated, output: Output, *, ledger: Ledger, scores: ReadScores
) -> ScoredBatch:
    """Account for every row of a job that was worked off, and copy its parts into one file if asked.

    Args:
        job: Nothing of it is pending.
        validated: What was to be scored.
        output: Where the scored rows go.
        ledger: Knows what was committed.
        scores: Copies parts.

    Raises:
        PartitionsFailedError: Some partitions could not be scored; the others are committed.
        SourceChangedError: The same, and one because its source has changed.
        IntegrityError: The rows committed are not those that were validated.
        OutputExistsError: The file holds something we did not write.
    """
    entries = ledger.entries_of(job.id)
    failed = [entry for entry in entries if entry.outcome is None]
    if failed:
        raise _failure(failed, len(entries))
    outcomes = [entry.outcome for entry in entries if entry.outcome is not None]
    rows_in = sum(outcome.rows_in for outcome in outcomes)
    quarantined = sum(outcome.rows_quarantined for outcome in outcomes)
    snapshot = validated.dataset.snapshot
    if (rows_in, quarantined) != (snapshot.rows, validated.dataset.quarantined):
        raise IntegrityError(
            f"{snapshot.uri}: validated were {snapshot.rows:,} rows, "
            f"{validated.dataset.quarantined:,} of them quarantined; scored were {rows_in:,}, "
            f"{quarantined:,} of them quarantined",
            hint="run again; if it stays, check with `pynomaly scores verify`",
        )
    parts = [part for outcome in outcomes for part in outcome.parts]
    uri, digest = job.target, hashlib.sha256("".join(p.digest for p in parts).encode())
    digest_text = digest.hexdigest()
    if output.out is not None and is_file(output.out):
        uri = output.out
        digest_text = scores.copy(parts, uri, overwrite=output.overwrite)
    return ScoredBatch(
        id=job.id,
        run_id=job.run_id,
        pipeline=job.pipeline,
        snapshot_uri=job.source_uri,
        fingerprint=job.fingerprint,
        model_version=job.version.model_version,
        policy_version=job.version.policy_version,
        rows_in=rows_in,
        rows_scored=sum(outcome.rows_scored for outcome in outcomes),
        rows_quarantined=quarantined,
        rows_flagged=sum(outcome.rows_flagged for outcome in outcomes),
        output_uri=uri,
        output_digest=digest_text,
        quarantine_uri=validated.dataset.quarantine_uri,
        scored_at=datetime.now(UTC),
    )


def _failure(failed: list[Entry], of: int) -> PartitionsFailedError | SourceChangedError:
    """Return the error that tells which partitions are not scored and why."""
    causes = [f"{entry.partition}: {entry.error}" for entry in failed]
    shown = "; ".join(causes[:5]) + (f"; and {len(causes) - 5} more" if len(causes) > 5 else "")
    # Where one has changed, planning anew tells whether the others are mended as well.
    if any((entry.error or "").startswith(SourceChangedError.__name__) for entry in failed):
        return SourceChangedError(shown, hint="run again when nobody writes to the source")
    return PartitionsFailedError(
        f"{len(failed)} of {of} partitions could not be scored; the others are committed. {shown}",
        hint="mend the input and run again: only what is missing is scored",
    )
