"""Data quality: what was checked, what was found, and whether the rows may go on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pynomaly.domain.datasets import Snapshot
from pynomaly.domain.pipelines import Severity

__all__ = ["ExpectationResult", "RowFailure", "ValidationReport"]


@dataclass(frozen=True, slots=True)
class RowFailure:
    """One refused row.

    Args:
        position: Of the row within its chunk, from 0.
        reason: Column, expectation and the value found.
        unreadable: The column whose cell cannot be read; None where that is not the reason.
    """

    position: int
    reason: str
    unreadable: str | None = None


@dataclass(frozen=True, slots=True)
class ExpectationResult:
    """One expectation's outcome over the whole snapshot.

    Args:
        expectation: Its type, e.g. ``expect_column_values_to_not_be_null``.
        column: The column it concerns; None for the table.
        severity: What failing means.
        passed: Whether it holds.
        observed: What was found, for people.
        allowed: What would pass, for people.
        failing_rows: Rows against it, even where ``mostly`` lets it pass.
        sample_ids: Up to ten ids of failing rows.
    """

    expectation: str
    column: str | None
    severity: Severity
    passed: bool
    observed: str
    allowed: str
    failing_rows: int = 0
    sample_ids: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """Return what was found, for people.

        >>> ExpectationResult("values_are_ids", "id", "row", False, "2 are not", "0", 2, ("a#1", "a#7")).sentence
        'id: values_are_ids observed 2 are not, allowed 0 (rows a#1, a#7)'
        """
        rows = f" (rows {', '.join(self.sample_ids[:5])})" if self.sample_ids else ""
        place = self.column or "table"
        return f"{place}: {self.expectation} observed {self.observed}, allowed {self.allowed}{rows}"


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """Everything validation found about one snapshot.

    Args:
        id: Unique; also its file name under reports.
        pipeline: Which job.
        snapshot: Which data.
        results: One per expectation.
        accepted: Rows that go on.
        quarantined: Rows refused one by one; together with the accepted all rows, unless columns
            are missing: then no row was looked at and both are 0.
        max_quarantine_share: The allowed share.
        created_at: UTC.
    """

    id: str
    pipeline: str
    snapshot: Snapshot
    results: tuple[ExpectationResult, ...]
    accepted: int
    quarantined: int
    max_quarantine_share: float
    created_at: datetime

    @property
    def failures(self) -> tuple[ExpectationResult, ...]:
        """Failed critical expectations."""
        return tuple(r for r in self.results if not r.passed and r.severity == "critical")

    @property
    def refusals(self) -> tuple[ExpectationResult, ...]:
        """What rows were refused for, the most frequent first; a row may be refused for several."""
        found = [r for r in self.results if r.severity == "row" and r.failing_rows]
        return tuple(sorted(found, key=lambda r: -r.failing_rows))

    @property
    def quarantine_share(self) -> float:
        """Refused rows over all rows; 0 for an empty snapshot."""
        return self.quarantined / self.snapshot.rows if self.snapshot.rows else 0.0

    @property
    def too_many_quarantined(self) -> bool:
        """Whether more than the allowed share was refused."""
        return self.quarantine_share > self.max_quarantine_share

    @property
    def verdict(self) -> Literal["passed", "passed_with_quarantine", "rejected"]:
        """What happens to the snapshot."""
        if self.failures or self.too_many_quarantined or self.accepted == 0:
            return "rejected"
        return "passed_with_quarantine" if self.quarantined else "passed"
