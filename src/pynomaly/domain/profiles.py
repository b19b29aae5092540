"""What a table looks like, column by column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pynomaly.domain.datasets import Column, ColumnKind

__all__ = ["ColumnProfile", "Profile", "Role"]

Role = Literal["feature", "id", "time", "label", "dropped"]


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """One column of a sample.

    Args:
        name: Of the column.
        kind: What its values are.
        role: What the pipeline does with it.
        reason: Why it was dropped or got its role; empty for plain features.
        physical_type: As pyarrow spells it.
        nulls: Share of missing values, 0–1.
        distinct: Distinct non-missing values in the sample.
        quantiles: ``(probability, value)`` for numeric columns and (as epoch seconds) datetimes.
        top_values: Up to ten most frequent values with their counts.
        skew: Fisher–Pearson skewness of numeric columns; None elsewhere or where undefined.
        notes: Warnings for people, e.g. integers beyond 2^53.
    """

    name: str
    kind: ColumnKind
    role: Role
    reason: str
    physical_type: str
    nulls: float
    distinct: int
    quantiles: tuple[tuple[float, float], ...] = ()
    top_values: tuple[tuple[str, int], ...] = ()
    skew: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def column(self) -> Column:
        """The column as a schema declares it."""
        return Column(self.name, self.kind, nullable=self.nulls > 0)


@dataclass(frozen=True, slots=True)
class Profile:
    """A snapshot in numbers.

    Args:
        columns: In source order.
        rows: Of the snapshot.
        sampled_rows: The statistics rest on this many, drawn uniformly.
        duplicate_rows: Rows of the sample equal to an earlier one in all but the id columns.
        contamination: Recommended range of the share of anomalies, ``(low, high)``; from the
            share of rows with a robust z-score beyond 6 and beyond 3.5 in some numeric column,
            capped to 0.001–0.2.  A starting point, not a measurement.
    """

    columns: tuple[ColumnProfile, ...]
    rows: int
    sampled_rows: int
    duplicate_rows: int
    contamination: tuple[float, float]

    def __getitem__(self, name: str) -> ColumnProfile:
        """Return the profile of the column called ``name``; raises ``KeyError``."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)
