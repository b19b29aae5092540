"""Between the ledger's values and rows of its tables."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pynomaly.domain.increments import Watermark
from pynomaly.domain.ledger import Entry, Outcome, Part, ScoreJob, ScoreVersion
from pynomaly.domain.partitions import Partition
from pynomaly.infrastructure.sqlalchemy.rows import observation

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["entry", "entry_row", "job", "job_row", "outcome_row", "partition", "watermark"]

_COUNTS = ("rows_in", "rows_scored", "rows_quarantined", "rows_flagged")


def job_row(job: ScoreJob) -> dict[str, Any]:
    """Return the columns of a job.

    Raises:
        ValueError: Its moment has no time zone: guessing one would move it.
    """
    if job.created_at.tzinfo is None:
        raise ValueError(f"ScoreJob.created_at has no time zone: {job.created_at}")
    values = {f.name: getattr(job, f.name) for f in fields(job)}
    mark: Watermark | None = values.pop("watermark")
    text = mark and json.dumps([mark.column, mark.value, mark.asked_at.isoformat()])
    return values | asdict(values.pop("version")) | {"watermark": text}


def job(found: sa.RowMapping) -> ScoreJob:
    """Return the stored job."""
    read: dict[str, Any] = {
        "version": _version(found),
        "watermark": watermark(found),
        "keep": None if found["keep"] is None else tuple(found["keep"]),
    }
    return ScoreJob(**read, **{n: found[n] for n in ScoreJob.__slots__ if n not in read})


def watermark(found: sa.RowMapping) -> Watermark | None:
    """Return the watermark of a stored job."""
    text = found["watermark"]
    if text is None:
        return None
    try:
        column, value, asked_at = json.loads(text)
        return Watermark(column, value, datetime.fromisoformat(asked_at).astimezone(UTC))
    except (ValueError, TypeError):
        # Jobs once kept the value alone: of no column that an increment could continue.
        return Watermark("", text, found["created_at"])


def entry_row(entry: Entry, job: ScoreJob) -> dict[str, Any]:
    """Return the columns of a partition nobody has worked on, asked for by a job."""
    partition = entry.partition
    return {
        **{f.name: getattr(partition, f.name) for f in fields(partition)},
        **asdict(entry.version),
        "key": entry.key,
        "pipeline": entry.pipeline,
        "target": entry.target,
        "created_at": job.created_at,
        "state": "pending",
        "fence": 0,
        "attempts": 0,
    }


def outcome_row(outcome: Outcome) -> dict[str, Any]:
    """Return the columns of what became of a partition."""
    counts = {name: getattr(outcome, name) for name in _COUNTS}
    return counts | {
        "parts": [asdict(part) for part in outcome.parts],
        "observed": asdict(outcome.observed) if outcome.observed else None,
    }


def partition(found: sa.RowMapping) -> Partition:
    """Return the partition of a stored entry."""
    values = {name: found[name] for name in Partition.__slots__ if name != "locator"}
    return Partition(locator=tuple(found["locator"]), **values)


def entry(found: sa.RowMapping) -> Entry:
    """Return the stored entry."""
    committed = found["state"] == "committed"
    return Entry(
        key=found["key"],
        partition=partition(found),
        pipeline=found["pipeline"],
        version=_version(found),
        target=found["target"],
        state=found["state"],
        fence=found["fence"],
        owner=found["owner"],
        attempts=found["attempts"],
        error=found["error"],
        outcome=_outcome(found) if committed else None,
        committed_at=found["committed_at"],
    )


def _version(found: sa.RowMapping) -> ScoreVersion:
    return ScoreVersion(found["model_version"], found["manifest_digest"], found["policy_version"])


def _outcome(found: sa.RowMapping) -> Outcome:
    counts = {name: found[name] for name in _COUNTS}
    observed = found["observed"]
    return Outcome(
        parts=tuple(Part(**part) for part in found["parts"]),
        observed=observation(observed) if observed else None,
        **counts,
    )
