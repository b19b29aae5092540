"""A guard for what no ensemble may overlook: one value absurdly far outside its column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynomaly.infrastructure.pyod.frozen import Frozen, RobustScaling

__all__ = ["fit_deviation"]

Floats = NDArray[np.float64]

_MOST = 1e6  # deviations beyond are as good as that
_ORDINARY, _FEW = 0.99, 0.01
_LEAST_LIMIT = 3.0


def fit_deviation(params: Mapping[str, Any], X: Floats, seed: int, floors: Floats) -> Frozen:
    """Learn how far out the largest deviation of a row ordinarily lies.

    Columns are measured from their medians in the larger of robust and ordinary standard
    deviations, so that a heavy tail widens its own measure.  Where the middle half is one value, as
    in counts of errors, three quarters of the rows that differ lie within a measure, so that a rare
    flag by itself is nothing absurd; where hardly a row differs that is all the measure, because
    the first absurd value would widen a standard deviation and hide the next.  The limit is
    ``beyond`` times what 99 % of rows stay below in the other columns, or half of what they stay
    below in all columns, whichever is more.  A row's score is the logarithm of how many times the limit its largest deviation is:
    nothing for nearly all rows.
    """
    scaling = RobustScaling.fit(X, floors)
    largest = np.arcsinh(_MOST)
    deviations = np.sinh(np.clip(scaling(X), -largest, largest))
    measures = np.maximum(1.0, deviations.std(axis=0))
    lower, upper = np.quantile(deviations, [0.25, 0.75], axis=0)
    distances = np.abs(deviations)
    mostly_one_value = upper <= lower
    for j in np.flatnonzero(mostly_one_value):
        differ = distances[distances[:, j] > 0, j]
        least = measures[j] if len(differ) > _FEW * len(X) else 0.0
        measures[j] = max(least, float(np.quantile(differ, 0.75)))
    distances /= measures
    farthest = distances.max(axis=1)
    ordinary = distances[:, ~mostly_one_value].max(axis=1, initial=0.0)
    limit = float(params["beyond"]) * max(
        _LEAST_LIMIT, np.quantile(ordinary, _ORDINARY), np.quantile(farthest, _ORDINARY) / 2
    )
    arrays = {**scaling.arrays, "shares": 1.0 / measures, "limit": np.array([limit])}
    return Frozen(arrays, lambda rows: np.log(np.maximum(farthest[rows] / limit, 1.0)))
