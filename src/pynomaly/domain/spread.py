"""How far the values of a column lie from its median, whatever its tails and however many are equal."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

__all__ = ["robust_spread"]

Floats = NDArray[np.float64]

_REAL, _RESIDUE = 20, 1e-9
"""Deviations below such a part of what this many rows reach are rounding: sums of amounts that should
be zero are hardly ever.  One absurd value alone must not make rounding of all others."""


def robust_spread(X: Floats) -> Floats:
    """Estimate the standard deviation of each column from its middle half.

    Where the middle half is one value, the rows that differ tell: half of their deviations are
    larger than their median, a share p/2 of all rows where p differ, and as many of a normal
    distribution lie beyond its quantile 1 − p/4 on either side.  Were all rows to differ, this is
    the median absolute deviation.  The standard deviation would put a flag that one row in a
    hundred carries ten deviations out; this puts it 2.8 out.

    Args:
        X: (n, d) finite rows.

    Returns:
        (d,) in the columns' units; 0 for constant columns only.

    >>> flag = np.arange(100) == 7
    >>> (1 / robust_spread(np.column_stack([flag, np.zeros(100)]) + 0.0)[:1]).round(1)
    array([2.8])
    """
    lower, center, upper = np.quantile(X, [0.25, 0.5, 0.75], axis=0)
    spread = (upper - lower) / 1.349
    rounding = 1e-12 * np.maximum(np.abs(lower), np.abs(upper))
    for j in np.flatnonzero(spread <= rounding):
        spread[j] = _spread_of_the_rest(np.abs(X[:, j] - center[j]), rounding[j])
    return np.asarray(spread)


def _spread_of_the_rest(deviations: Floats, rounding: float) -> float:
    differ = deviations[deviations > rounding]
    if not len(differ):
        differ = deviations[deviations > 0]
    if not len(differ):
        return 0.0
    if len(differ) > _REAL:
        differ = differ[differ > _RESIDUE * np.partition(differ, -_REAL)[-_REAL]]
    quantile = NormalDist().inv_cdf(1 - len(differ) / len(deviations) / 4)
    spread = float(np.median(differ)) / quantile
    return spread if spread > 0 else float(differ.max())  # subnormal ones vanish when divided
