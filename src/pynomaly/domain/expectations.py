"""Deriving a suite of expectations from a profile.

What is derived must let a second sample of the same data pass, must never refuse the anomalies we
are looking for, and must still notice that a source has changed.  So:

- Nothing derived quarantines a row for being far out.  Rows are refused only for what the schema
  says: an id missing or repeated, a missing value in a column that had none (``nullable: false``,
  checked by the validator for every schema), a cell that cannot be read.
- Every share of values is watched twice.  The **warning** says "this has probably changed": more
  exceptions than a second sample would show (the profile's own share plus four standard errors,
  for samples of 200 rows or of the profile's size if that is smaller, plus two points).  The
  **critical** one says "this cannot be the same data" and refuses the snapshot: fewer than half of
  the usual share are where the values were, are known levels, or are there at all.
- Bell-shaped columns that shifted by two standard deviations (79 % of them still in the range)
  therefore warn and are scored; shifted by three (42 %), or euros that became cents, are refused.

What is watched: for numbers the range of the central 98 %; for categories the known levels (or the
ten most frequent of many); the share of missing values where there are any.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from pynomaly.domain.pipelines import Expectation, Severity
from pynomaly.domain.profiles import ColumnProfile, Profile

__all__ = ["derive_expectations"]

SECOND_SAMPLE = 200
"""Rows of a later batch for which the warnings still hold their word."""

_BETWEEN = "expect_column_values_to_be_between"
_IN_SET = "expect_column_values_to_be_in_set"
_NOT_NULL = "expect_column_values_to_not_be_null"


def derive_expectations(profile: Profile) -> tuple[Expectation, ...]:
    """Return the expectations a second sample of the same data meets.

    Args:
        profile: Of at least one row; only its feature columns are watched, for the schema
            already says what ids, times and labels must be.

    >>> amount = ColumnProfile(
    ...     "amount", "numeric", "feature", "", "double", 0.0, 900,
    ...     quantiles=((0.0, 1.0), (0.01, 2.0), (0.99, 102.0), (1.0, 120.0)))
    >>> for e in derive_expectations(Profile((amount,), 10_000, 10_000, 0, (0.001, 0.01))):
    ...     print(e.severity, e.kwargs["min_value"], e.kwargs["max_value"], e.kwargs["mostly"])
    warning 0.0 112.0 0.91
    critical 0.0 112.0 0.49
    """
    return tuple(
        expectation
        for column in profile.columns
        if column.role == "feature"
        for expectation in _derive(column, profile.sampled_rows)
    )


def _derive(column: ColumnProfile, rows: int) -> Iterator[Expectation]:
    present = round(rows * (1 - column.nulls))
    if column.nulls > 0:
        yield from _watched(_NOT_NULL, column, column.nulls, rows, {})
    if column.kind == "numeric" and column.quantiles and present:
        yield from _range(column, present)
    elif column.kind == "categorical" and column.top_values and present:
        yield from _levels(column, present)


def _range(column: ColumnProfile, present: int) -> Iterator[Expectation]:
    quantiles = dict(column.quantiles)
    low, high = quantiles[0.01], quantiles[0.99]
    width = high - low
    if width <= 0:  # nearly constant: what the few other values span is all we know
        low, high = quantiles[0.0], quantiles[1.0]
        width = high - low or abs(low) or 1.0
    floor = 0.0 if quantiles[0.0] >= 0 else -math.inf  # what was never negative should not be
    bounds = _bounds(max(low - 0.1 * width, floor), high + 0.1 * width)
    # Beyond the extremes of n values lie 2/(n + 1) of the next ones, on average.
    yield from _watched(_BETWEEN, column, 0.02 + 2 / (present + 1), present, bounds)


def _levels(column: ColumnProfile, present: int) -> Iterator[Expectation]:
    levels = [level for level, _ in column.top_values]
    known = sum(count for _, count in column.top_values)
    if known < 0.5 * present:
        return  # so many levels that the frequent ones say little
    # Of levels never seen we expect the share of those seen once (Good & Turing, 1953), or one.
    once = sum(count == 1 for _, count in column.top_values)
    exceptions = min(1 - known / present + (once + 1) / present, 1.0)
    yield from _watched(_IN_SET, column, exceptions, present, {"value_set": levels})


def _watched(
    kind: str,
    column: ColumnProfile,
    exceptions: float,
    rows: int,
    arguments: Mapping[str, Any],
) -> Iterator[Expectation]:
    """Yield the warning and the critical expectation about one share of exceptions."""
    usual = math.floor(100 * (1 - _tolerated(exceptions, rows))) / 100
    least = min(round((1 - exceptions) / 2, 2), usual)
    thresholds: tuple[tuple[Severity, float], ...] = (("warning", usual), ("critical", least))
    for severity, mostly in thresholds:
        if mostly > 0:
            kwargs = {"column": column.name, **arguments, "mostly": mostly}
            yield Expectation(kind, kwargs, severity)


def _tolerated(share: float, rows: int) -> float:
    """Return the largest share of exceptions that a second sample would show."""
    share = min(share, 1.0)
    variance = share * (1 - share) * (1 / rows + 1 / min(rows, SECOND_SAMPLE))
    return min(share + 4 * math.sqrt(variance) + 0.02, 1.0)


def _bounds(low: float, high: float) -> dict[str, float]:
    """Return finite bounds, rounded outwards to four digits of their distance."""
    width = high - low
    if not math.isfinite(width):
        limit = 1.7e308
        return {"min_value": max(low, -limit), "max_value": min(high, limit)}
    step = 10.0 ** (math.floor(math.log10(width)) - 4)
    if step < 1e-300:
        return {"min_value": low, "max_value": high}
    return {"min_value": _outward(low, step, -1), "max_value": _outward(high, step, 1)}


def _outward(value: float, step: float, direction: int) -> float:
    steps = math.floor(value / step) if direction < 0 else math.ceil(value / step)
    digits = max(0, -round(math.log10(step)))
    rounded = round(steps * step, min(digits, 300))
    # A value far larger than the width loses the step in float64; then leave it as it is.
    return rounded if math.isfinite(rounded) and direction * (rounded - value) >= 0 else value
