"""Rhythms of the clock: which ones rows in time can tell, and blocks that leave them whole."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["DAY", "WEEK", "blocks", "told"]

Floats = NDArray[np.float64]

DAY, WEEK = 86_400.0, 604_800.0

_CYCLES = 3
"""Of fewer, what belongs to the hour or the weekday cannot be told from what happened once."""

_EDGES = (0.01, 0.99)
"""A single date of long ago makes no month of a day."""


def told(seconds: Floats, cycle: float) -> bool:
    """Whether rows cover a cycle often enough to tell its rhythm: three times.

    Args:
        seconds: (n,) since 1970; NaN where missing.
        cycle: :data:`DAY` or :data:`WEEK`.
    """
    present = seconds[~np.isnan(seconds)]
    if not len(present):
        return False
    low, high = np.quantile(present, _EDGES)
    return bool((high - low) / (_EDGES[1] - _EDGES[0]) >= _CYCLES * cycle)


def blocks(seconds: Floats, folds: int) -> NDArray[np.int64]:
    """Return a fold number per row: runs of neighbours, as equal in size as whole cycles allow.

    A model that lacks two days of a week knows less of those weekdays than of the others, and finds
    rows of them stranger than the final model will.  So a block ends between two weeks, counted
    back from the newest row, or between two days where the rows cover fewer than three weeks;
    anywhere where they cover fewer than three days, or nearly all of one of them.

    Args:
        seconds: (n,) since 1970, ascending; NaN, where missing, comes first.
        folds: How many at most, at least 2.

    >>> blocks(np.arange(5.0), 2).tolist()
    [0, 0, 0, 1, 1]
    """
    position = np.arange(len(seconds))
    cuts = np.flatnonzero(np.diff(np.sort(position % folds))) + 1
    cycle = next((cycle for cycle in (WEEK, DAY) if told(seconds, cycle)), None)
    if cycle is not None:
        ages = (seconds[-1] - seconds) / cycle
        oldest = max(round(np.nanmax(ages)), 1) - 1  # what is left of a cycle goes with a whole one
        turns = np.flatnonzero(np.diff(np.fmin(np.floor(ages), oldest))) + 1
        if len(turns):
            cuts = np.unique(turns[np.abs(turns[:, None] - cuts).argmin(axis=0)])
    return np.searchsorted(cuts, position, side="right").astype(np.int64)
