"""Outcomes of one expectation added up over chunks, so that chunking never changes a verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pynomaly.domain.datasets import ROW_ID
from pynomaly.domain.quality import ExpectationResult, RowFailure
from pynomaly.infrastructure.great_expectations.catalogue import Check
from pynomaly.infrastructure.great_expectations.sentences import allowed, shown, wanted

__all__ = ["Tally"]

SAMPLE_IDS = 10
EXAMPLES = 3
SHARE_NEEDS = 10
"""Fewer values than this say nothing about a share: one anomaly alone would refuse a batch."""


@dataclass(slots=True)
class Tally:
    """Counts and examples of one check.

    Args:
        check: Which.
        considered: Values judged so far.
        against: Rows against it so far.
        sample_ids: Of the first of them.
        examples: Their values.
    """

    check: Check
    considered: int = 0
    against: int = 0
    sample_ids: list[str] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)

    def add(
        self, considered: int, positions: NDArray[np.int64], chunk: pa.Table, keys: Sequence[str]
    ) -> None:
        """Count one chunk.

        Args:
            considered: Values judged in it.
            positions: Rows against the expectation, ascending.
            chunk: The rows.
            keys: Columns that identify a row.
        """
        self.considered += considered
        self.against += len(positions)
        first = positions[: SAMPLE_IDS - len(self.sample_ids)]
        self.sample_ids += _ids(chunk, keys, first)
        for value in self._values(chunk, positions[:EXAMPLES]):
            if len(self.examples) < EXAMPLES:
                self.examples.append(value)

    def failures(self, positions: NDArray[np.int64], chunk: pa.Table) -> Iterator[RowFailure]:
        """Yield a failure with its reason for every row against the expectation."""
        spec = self.check.spec
        sentence = f"{', '.join(self.check.columns)}: expected {wanted(spec.type, spec.kwargs)}"
        for position, value in zip(positions, self._values(chunk, positions), strict=True):
            yield RowFailure(int(position), f"{sentence}, found {value}")

    def _values(self, chunk: pa.Table, positions: NDArray[np.int64]) -> list[str]:
        if not len(positions):
            return []
        rows = chunk.select(list(dict.fromkeys(self.check.columns))).take(pa.array(positions))
        columns: list[list[Any]] = [rows.column(name).to_pylist() for name in rows.column_names]
        return [" and ".join(map(shown, values)) for values in zip(*columns, strict=True)]

    def result(self) -> ExpectationResult:
        """Judge the totals as Great Expectations judges one batch."""
        spec = self.check.spec
        passed = not self.considered or (
            (self.considered - self.against) / self.considered >= self.check.mostly
        )
        observed = f"{self.against} of {self.considered} values against it"
        if self.examples and set(self.examples) != {"none"}:
            observed += f", e.g. {', '.join(self.examples)}"
        result = ExpectationResult(
            expectation=spec.type,
            column=", ".join(self.check.columns) or None,
            severity=spec.severity,
            passed=passed,
            observed=observed,
            allowed=allowed(spec.type, spec.kwargs),
            failing_rows=self.against,
            sample_ids=tuple(self.sample_ids),
        )
        few = self.considered < SHARE_NEEDS and self.check.mostly < 1
        if not passed and few and spec.severity == "critical":
            return replace(
                result,
                severity="warning",
                observed=f"{observed} (too few values to refuse a share of them)",
            )
        return result


def _ids(chunk: pa.Table, keys: Sequence[str], positions: NDArray[np.int64]) -> list[str]:
    if not len(positions):
        return []
    rows = chunk.select(list(dict.fromkeys((ROW_ID, *keys)))).take(pa.array(positions))
    columns = [rows.column(name).to_pylist() for name in (ROW_ID, *keys)]
    # A row without its id can only be found by where it stood.
    return [row_id if None in key else "|".join(key) for row_id, *key in zip(*columns, strict=True)]
