"""The plainest detector: how far the strangest single value lies outside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynomaly.infrastructure.pyod.frozen import LINEAR_LIMIT, Frozen, RobustScaling

__all__ = ["fit_deviation"]

Floats = NDArray[np.float64]


def fit_deviation(params: Mapping[str, Any], X: Floats, seed: int, floors: Floats) -> Frozen:
    """Measure columns by their median and the larger of robust and ordinary standard deviation.

    Distances over many columns drown a single extreme value, and forests need several like it;
    people expect it on top.
    """
    scaling = RobustScaling.fit(X, floors)
    U = scaling.linear(X)
    spread = np.maximum(1.0, U.std(axis=0))
    arrays = {**scaling.arrays, "spread": spread, "limit": np.array([LINEAR_LIMIT])}
    return Frozen(arrays, lambda rows: np.max(np.abs(U[rows]) / spread, axis=1))
