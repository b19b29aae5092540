"""The score ledger: which piece of which input was scored by what, and where its rows are.

A **partition** is read, scored and committed as a whole.  Its **key** says everything its output
depends on, so that equal work is never done twice and different work never shares a place.  Whoever
works on a key holds a **lease** with a **fence**, a number that grows with every lease; only the
holder of the newest fence may commit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pynomaly.domain.canaries import Observation
from pynomaly.domain.increments import Watermark
from pynomaly.domain.partitions import Partition

__all__ = [
    "OUTPUT_FORMAT",
    "Entry",
    "EntryState",
    "JobProgress",
    "Lease",
    "Outcome",
    "Output",
    "Part",
    "ScoreJob",
    "ScoreVersion",
    "partition_key",
]

OUTPUT_FORMAT = 3
"""Grows when equal input, model and policy would give other output rows."""

EntryState = Literal["pending", "leased", "committed", "failed"]


@dataclass(frozen=True, slots=True)
class ScoreVersion:
    """What turns rows into scores and alerts.

    Args:
        model_version: Registry version.
        manifest_digest: sha256 of the model's manifest, hex.
        policy_version: Of the decision policy.
    """

    model_version: int
    manifest_digest: str
    policy_version: str


@dataclass(frozen=True, slots=True)
class Output:
    """Where scored rows go, and what they carry.

    Args:
        out: A folder, ``s3://`` prefix or database table that receives the parts, or one file
            (.parquet, .csv, .jsonl) that all of them are copied into; the platform's own folder
            where None.
        overwrite: Use a place that holds something we did not write.
        keep: Source columns passed through; None of jobs of versions that did not note it.
        partition_by: Divide the parts among folders by a column's values.
    """

    out: str | None = None
    overwrite: bool = False
    keep: tuple[str, ...] = ()
    partition_by: str | None = None

    @property
    def passed_through(self) -> tuple[str, ...]:
        """Source columns that are read for the output alone."""
        return tuple(dict.fromkeys((*self.keep, *filter(None, (self.partition_by,)))))

    def kept_beside(self, keys: Collection[str]) -> tuple[str, ...]:
        """Return the columns passed through that are not written anyway, as keys of the rows."""
        return tuple(name for name in self.passed_through if name not in keys)


def partition_key(
    partition: Partition, version: ScoreVersion, settings: Mapping[str, object]
) -> str:
    """Return the sha256 (hex) of all that the output of a partition depends on.

    Args:
        partition: Its place counts as well: equal files at two places are two inputs.  So does its
            name, which rows are called by: a file found in a folder and one given by itself.
        version: Model and policy; its registry number does not count, its manifest does.
        settings: Whatever else shapes the output (target, kept columns, refused rows…), JSON-able.
    """
    document = {
        "format": OUTPUT_FORMAT,
        "source": partition.source,
        "extent": partition.extent,
        "name": partition.name,
        "digest": partition.digest,
        "manifest": version.manifest_digest,
        "policy": version.policy_version,
        **settings,
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ScoreJob:
    """One request to score an input snapshot.

    Args:
        id: Unique, sortable by time.
        run_id: Of the run record.
        pipeline: Which pipeline.
        source_uri: What is scored; never holds a password.
        fingerprint: Content digest of the plan.
        version: Model and policy.
        target: Folder, ``s3://`` prefix or database table that receives the parts.
        created_at: UTC.
        watermark: Up to where the table was read; None without a watermark column.
        keep: Source columns passed through.
        partition_by: Column that divided the output; None where nothing did.
    """

    id: str
    run_id: str
    pipeline: str
    source_uri: str
    fingerprint: str
    version: ScoreVersion
    target: str
    created_at: datetime
    watermark: Watermark | None = None
    keep: tuple[str, ...] | None = ()
    partition_by: str | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a partition and, as long as nobody leases it anew, to commit it.

    Args:
        key: Of the partition.
        partition: What to read.
        owner: Who holds it: ``"<host>:<process id>:<random>"``.
        fence: Grows with every lease of this key, whatever happens in between.
        attempt: Counts the leases of this key from 1.
    """

    key: str
    partition: Partition
    owner: str
    fence: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Part:
    """A file (object, set of table rows) of committed output.

    Args:
        uri: Where it is.
        digest: sha256 (hex) of its bytes; of its rows in a table.
        rows: In it.
        size_bytes: Its size.
    """

    uri: str
    digest: str
    rows: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the rows of one partition.

    Args:
        rows_in: Read, malformed ones included.
        rows_scored: In the parts.
        rows_quarantined: Refused.
        rows_flagged: Alerts among the scored.
        parts: Where the scored rows are; none where every row was refused.
        observed: How a challenger did on the same rows, while one is rolled out.

    Raises:
        ValueError: Rows do not add up.
    """

    rows_in: int
    rows_scored: int
    rows_quarantined: int
    rows_flagged: int
    parts: tuple[Part, ...]
    observed: Observation | None = None

    def __post_init__(self) -> None:
        """Refuse an outcome in which a row was lost or repeated."""
        written = sum(part.rows for part in self.parts)
        if self.rows_in != self.rows_scored + self.rows_quarantined or written != self.rows_scored:
            raise ValueError(
                f"{self.rows_in:,} rows in, {self.rows_scored:,} scored, "
                f"{self.rows_quarantined:,} quarantined and {written:,} written do not add up"
            )


@dataclass(frozen=True, slots=True)
class Entry:
    """A partition as the ledger keeps it.

    Args:
        key: See :func:`partition_key`.
        partition: What is read.
        pipeline: Which pipeline.
        version: Model and policy.
        target: Where its parts go.
        state: Where it stands.
        fence: Of its newest lease; 0 if it never had one.
        owner: Of its newest lease.
        attempts: Leases so far.
        error: Why it failed last, or what is wrong with the output it had; None once it is
            leased again.
        outcome: Once committed.
        committed_at: UTC, once committed.
    """

    key: str
    partition: Partition
    pipeline: str
    version: ScoreVersion
    target: str
    state: EntryState
    fence: int = 0
    owner: str | None = None
    attempts: int = 0
    error: str | None = None
    outcome: Outcome | None = None
    committed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class JobProgress:
    """Where a job stands: how many of its partitions are in which state, and rows so far.

    Args:
        pending: Free to be leased, an expired lease included.
        leased: Somebody is at work.
        committed: Done.
        failed: Given up in this job.
        rows_in: Of committed partitions; so are the other counts.
        rows_scored: In the output.
        rows_quarantined: Refused.
        rows_flagged: Alerts.
    """

    pending: int
    leased: int
    committed: int
    failed: int
    rows_in: int
    rows_scored: int
    rows_quarantined: int
    rows_flagged: int

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return not self.pending and not self.leased
