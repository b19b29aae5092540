"""Mean distance to the columns' medians in interquartile ranges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynomaly.domain.detectors import Choice, Detector
from pynomaly.domain.extensions import DetectorExtension, Frozen

__all__ = ["DETECTOR"]

Floats = NDArray[np.float64]


def fit(params: Mapping[str, Any], X: Floats, seed: int, floors: Floats) -> Frozen:
    """Fit scikit-learn's RobustScaler and keep its centre and scale."""
    from sklearn.preprocessing import RobustScaler

    scaler = RobustScaler().fit(X)
    scale = np.maximum(scaler.scale_, floors)
    power = int(params["power"])

    def expected(rows: NDArray[np.int64]) -> Floats:
        return np.mean(np.abs((X[rows] - scaler.center_) / scale) ** power, axis=1)

    return Frozen({"center": scaler.center_, "scale": scale}, expected)


def score(arrays: Mapping[str, NDArray[Any]], params: Mapping[str, Any], X: Floats) -> Floats:
    """Return the mean over columns, added up one column after the other.

    A fixed order of additions makes a row's score the same in any batch.
    """
    total = np.zeros(len(X))
    for column, center, scale in zip(X.T, arrays["center"], arrays["scale"], strict=True):
        total += np.abs((column - center) / scale) ** int(params["power"])
    return total / X.shape[1]


DETECTOR = DetectorExtension(
    Detector(
        name="robust_distance",
        title="Distance to medians",
        finds="values far from the middle of their columns",
        defaults={"power": 1},
        space={"power": Choice((1, 2))},
        fit_cost="low; grows with rows × columns (a sort)",
        score_cost="very low; grows with columns",
        reference="an example",
        tolerance=1e-12,
        equals="scikit-learn's RobustScaler",
    ),
    fit,
    score,
)
"""What the entry point names."""
