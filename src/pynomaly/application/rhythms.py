"""Rhythms of the clock: which ones rows in time can tell, and blocks that leave them whole."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["DAY", "WEEK", "blocks", "told"]

Floats = NDArray[np.float64]

DAY, WEEK = 86_400.0, 604_800.0

_CYCLES = 2.75
"""Of fewer, what belongs to the hour or the weekday cannot be told from what happened once."""

_FEWEST_BLOCKS, _MOST_UNEQUAL = 3, 1.5


def told(seconds: Floats, cycle: float) -> bool:
    """Whether rows are spread over about three cycles, so that they can tell a rhythm.

    Counted is the effective number of cycles, 1/Σp² with the share p of the rows in each (Hill's
    number of order 2, 1973): of rows that nearly all fall on one day it is one, whatever the others
    do.  Three equal cycles count three, two and a half 2.8.

    Args:
        seconds: (n,) since 1970; NaN where missing.
        cycle: :data:`DAY` or :data:`WEEK`.
    """
    present = seconds[~np.isnan(seconds)]
    if not len(present):
        return False
    _, counts = np.unique(np.floor((present.max() - present) / cycle), return_counts=True)
    return bool(1 / np.sum((counts / len(present)) ** 2) >= _CYCLES)


def blocks(seconds: Floats, folds: int) -> NDArray[np.int64]:
    """Return a fold number per row: runs of neighbours, as equal in size as whole cycles allow.

    A model that lacks two days of a week knows less of those weekdays than of the others, and finds
    rows of them stranger than the final model will.  So a block ends between two weeks, counted
    back from the newest row, where rows tell weekdays; else between two days, where they tell
    hours; and anywhere where that would leave fewer than three blocks, or one with more than half
    again its share of the rows.

    Args:
        seconds: (n,) since 1970, ascending; NaN, where missing, comes first.
        folds: How many at most, at least 2.

    >>> blocks(np.arange(5.0), 2).tolist()
    [0, 0, 0, 1, 1]
    """
    n = len(seconds)
    cuts = np.flatnonzero(np.diff(np.sort(np.arange(n) % folds))) + 1
    for cycle in (WEEK, DAY):
        if not told(seconds, cycle):
            continue
        ages = (seconds[-1] - seconds) / cycle
        oldest = max(round(np.nanmax(ages)), 1) - 1  # what is left of a cycle goes with a whole one
        turns = np.flatnonzero(np.diff(np.fmin(np.floor(ages), oldest))) + 1
        snapped = np.unique(turns[np.abs(turns[:, None] - cuts).argmin(axis=0)])
        sizes = np.diff([0, *snapped, n])
        few = len(sizes) < min(folds, _FEWEST_BLOCKS)
        if not few and sizes.max() <= _MOST_UNEQUAL * sizes.mean():
            cuts = snapped
            break
    return np.searchsorted(cuts, np.arange(n), side="right").astype(np.int64)
