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
_ORDINARY = 0.99
_LEAST_LIMIT = 3.0


def fit_deviation(params: Mapping[str, Any], X: Floats, seed: int, floors: Floats) -> Frozen:
    """Learn how far out the largest deviation of a row ordinarily lies.

    Columns are measured from their medians in the larger of robust and ordinary standard
    deviations, so that a heavy tail widens its own measure; a column whose middle half is one value
    has no measure and is left out.  The limit is ``beyond`` times what 99 % of rows stay below, and
    a row's score is the logarithm of how many times the limit its largest deviation is: nothing for
    nearly all rows.
    """
    scaling = RobustScaling.fit(X, floors)
    largest = np.arcsinh(_MOST)
    deviations = np.sinh(np.clip(scaling(X), -largest, largest))
    lower, upper = np.quantile(deviations, [0.25, 0.75], axis=0)
    shares = np.where(upper > lower, 1.0 / np.maximum(1.0, deviations.std(axis=0)), 0.0)
    farthest = (np.abs(deviations) * shares).max(axis=1)
    limit = float(params["beyond"]) * max(_LEAST_LIMIT, float(np.quantile(farthest, _ORDINARY)))
    arrays = {**scaling.arrays, "shares": shares, "limit": np.array([limit])}
    return Frozen(arrays, lambda rows: np.log(np.maximum(farthest[rows] / limit, 1.0)))
