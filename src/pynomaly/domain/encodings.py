"""How the columns of a table become features: fitted once, frozen as numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = [
    "QUANTILE_SHARES",
    "CategoricalEncoding",
    "Encoding",
    "NumericEncoding",
    "TimeEncoding",
]

_HOURS, _WEEKDAYS = 24, 7

_ROUNDING = 1e-9

QUANTILE_SHARES = (
    0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25,
    0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0,
)  # fmt: skip
"""Where a numeric column's quantiles are kept: enough to say how far out a value lies."""


@dataclass(frozen=True, slots=True)
class NumericEncoding:
    """A numeric column.

    Args:
        column: Source column.
        fill: Value for missing cells, the training median.
        lower: Values below are clipped to it (guards float32 trees against overflow).
        upper: Values above are clipped to it.
        missing_indicator: Whether a second feature says "was missing".
        quantiles: Of the training values at ``QUANTILE_SHARES``, each a value some row has.
        missing: Share of training rows without a value.
    """

    column: str
    fill: float
    lower: float
    upper: float
    missing_indicator: bool
    quantiles: tuple[float, ...]
    missing: float

    def __post_init__(self) -> None:
        _require(len(self.quantiles) == len(QUANTILE_SHARES), self.column, "quantiles")
        if list(self.quantiles) != sorted(self.quantiles) or self.lower > self.upper:
            raise ValueError(f"the bounds of column {self.column!r} are not in order")

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features, in order."""
        return (self.column, *_indicator(self))


@dataclass(frozen=True, slots=True)
class CategoricalEncoding:
    """A categorical or boolean column as one number: how rare the cell's level is.

    The number is the normal score of the level's tail mass, the share of rows whose level is at
    most as frequent: 0.5 for a third of all rows or so, 1.6 for one in ten, 2.6 for one in a
    hundred.  So a rare level weighs what an equally rare number of deviations would.

    Args:
        column: Source column.
        levels: Training levels, most frequent first, at most 1,000; missing is the level ``None``.
        rarity: Of each level, same order.
        unseen: Rarity of a level that is not among them: above all of theirs if training had no
            other, else that of the least frequent, which none of the others exceeds.
        shares: Of training rows with each level, same order; what they lack to 1 are the rows
            whose level is not among ``levels``.
    """

    column: str
    levels: tuple[str | None, ...]
    rarity: tuple[float, ...]
    unseen: float
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        same = len(self.levels) == len(self.rarity) == len(self.shares) > 0
        _require(same, self.column, "levels")

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features, in order."""
        return (f"{self.column}:rarity",)

    @property
    def left_out(self) -> float:
        """Share of training rows whose level is not among ``levels``."""
        rest = 1.0 - math.fsum(self.shares)
        return rest if rest > _ROUNDING else 0.0


@dataclass(frozen=True, slots=True)
class TimeEncoding:
    """A datetime column: sine and cosine of the hour of day and of the weekday, in UTC.

    A rhythm that training rows do not cover often enough is not read.

    Args:
        column: Source column.
        fill: Epoch seconds for missing cells.
        missing_indicator: Whether a further feature says "was missing".
        hours: (24,) share of training times in each hour of day, UTC; () where hours are not read.
        weekdays: (7,) share of training times on each weekday, from Monday; () where weekdays are
            not read.
        missing: Share of training rows without a time.
    """

    column: str
    fill: float
    missing_indicator: bool
    hours: tuple[float, ...]
    weekdays: tuple[float, ...]
    missing: float

    def __post_init__(self) -> None:
        _require(len(self.hours) in (0, _HOURS), self.column, "hours")
        _require(len(self.weekdays) in (0, _WEEKDAYS), self.column, "weekdays")

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features, in order."""
        read = [("hour", self.hours), ("day", self.weekdays)]
        angles = [f"{self.column}:{part}_{f}" for part, of in read if of for f in ("sin", "cos")]
        return (*angles, *_indicator(self))


Encoding = NumericEncoding | CategoricalEncoding | TimeEncoding


def _indicator(encoding: NumericEncoding | TimeEncoding) -> tuple[str, ...]:
    return (f"{encoding.column}=missing",) if encoding.missing_indicator else ()


def _require(sound: bool, column: str, what: str) -> None:
    if not sound:
        raise ValueError(f"{what} of column {column!r}: not as many as there have to be")
