"""Tables as the platform sees them: snapshots of a source and staged datasets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "EXPECTED_SCORE",
    "FITTED",
    "ROW_ID",
    "SCORED_COLUMNS",
    "VERDICT",
    "Column",
    "ColumnKind",
    "Dataset",
    "Fingerprint",
    "Schema",
    "Snapshot",
]

ROW_ID = "row_id"
"""Column given to rows of a source without an id column: ``"<file>#<row>"``, row from 1."""

SCORED_COLUMNS = (
    "score",
    "p_value",
    "is_anomaly",
    "severity",
    "reasons",
    "model_version",
    "policy_version",
    "scored_at",
)
"""Columns of scored output beside the ids."""

EXPECTED_SCORE = "expected_score"
"""Column of golden rows that holds the score to reproduce."""

VERDICT = "pynomaly_verdict"
"""Column of rows to learn from: 1 = judged an anomaly, 0 = judged normal, NaN = no verdict."""

FITTED = "pynomaly_fitted"
"""Column of rows to learn from: whether what is ordinary is learnt from the row."""

ColumnKind = Literal["numeric", "categorical", "boolean", "datetime", "id", "text", "constant"]


@dataclass(frozen=True, slots=True)
class Column:
    """A declared column.

    Args:
        name: As it stands in the source.
        kind: How its values are read and what they mean to a detector.
        nullable: Whether a missing value is acceptable.
    """

    name: str
    kind: ColumnKind
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class Schema:
    """Ordered columns a pipeline expects; every one of them must be present in the data."""

    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(column.name for column in self.columns)

    def __getitem__(self, name: str) -> Column:
        """Return the column called ``name``; raises ``KeyError``."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What identifies the content of a snapshot.

    Args:
        content: sha256 over the names and bytes of its files (or rows of a query), hex.
        schema: sha256 over column names and physical types in order, hex.
    """

    content: str
    schema: str

    def __str__(self) -> str:
        """Return a short form for people: twelve hex digits of the content."""
        return self.content[:12]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One state of a source, pinned by its digest.

    Args:
        uri: Where it was read from.
        fingerprint: Digest of content and schema.
        columns: ``(name, physical type)`` in order, types as pyarrow spells them.
        rows: Data rows, malformed ones included.
        size_bytes: Bytes read.
    """

    uri: str
    fingerprint: Fingerprint
    columns: tuple[tuple[str, str], ...]
    rows: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Dataset:
    """Accepted rows of a snapshot, typed by the pipeline's schema and staged as Parquet.

    Args:
        uri: Parquet file that later steps read; gone where the rows were only to be scored.
        snapshot: What it came from.
        rows: Accepted rows.
        quarantine_uri: Parquet file of refused rows with a reason each; None if there are none.
        quarantined: Refused rows; ``rows + quarantined == snapshot.rows``.
    """

    uri: str
    snapshot: Snapshot
    rows: int
    quarantine_uri: str | None
    quarantined: int
