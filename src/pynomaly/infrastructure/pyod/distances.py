"""Detectors that measure distance to a bounded set of reference points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynomaly.infrastructure.pyod.frozen import Frozen, RobustScaling

__all__ = ["MAX_REFERENCES", "fit_cluster", "fit_knn", "fit_subsample"]

Floats = NDArray[np.float64]

MAX_REFERENCES = 2_048
"""Nearest neighbours are searched among at most so many training rows, drawn at random: scoring
time then depends on columns only, and a model stays small and keeps few rows of the data."""

_EXACT_DIMENSIONS = 64
# Above it PyOD's trees are slower than brute force, which loses half the digits of small distances.

_LARGE_SHARE, _LARGE_RATIO = 0.9, 5
# Which clusters are large: alpha and beta of CBLOF (He, Xu & Deng, 2003).


def fit_knn(params: Mapping[str, Any], X: Floats, seed: int, floors: Floats) -> Frozen:
    """Fit PyOD's KNN on robustly scaled reference rows.

    With m reference rows k is at most m // 2: beyond that a neighbour is no longer near.
    """
    from pyod.models.knn import KNN

    scaling = RobustScaling.fit(X, floors)
    chosen = np.arange(len(X))
    if len(X) > MAX_REFERENCES:
        draw = np.random.default_rng(seed).choice(len(X), MAX_REFERENCES, replace=False)
        chosen = np.sort(draw)
    references = scaling(X[chosen])
    k = min(int(params["n_neighbors"]), max(1, len(references) // 2))
    exact = references.shape[1] <= _EXACT_DIMENSIONS
    detector = KNN(
        n_neighbors=k, method=params["method"], algorithm="ball_tree" if exact else "auto"
    )
    detector.fit(references)
    arrays = {
        **scaling.arrays,
        "references": references.T,
        "neighbours": np.array([k], dtype=np.int64),
    }
    size = float(np.sqrt((references**2).sum(axis=1).mean()))
    return Frozen(
        arrays,
        lambda rows: detector.decision_function(scaling(X[rows])),
        absolute_tolerance=1e-9 if exact else 1e-6 * size,
    )


def fit_cluster(params: Mapping[str, Any], X: Floats, seed: int, floors: Floats) -> Frozen:
    """Fit k-means for k = smallest, 2·smallest, …; score the mean distance to large clusters.

    With n rows k is at most n // 2, and at most the number of distinct rows.
    """
    from scipy.spatial.distance import cdist
    from sklearn.cluster import KMeans

    scaling = RobustScaling.fit(X, floors)
    Z = scaling(X)
    most = min(max(1, len(Z) // 2), len(np.unique(Z, axis=0)))
    groups = []
    for level in range(int(params["levels"])):
        k = min(int(params["smallest"]) * 2**level, most)
        means = KMeans(k, n_init=1, random_state=seed + level).fit(Z)
        groups.append(means.cluster_centers_[_large(np.bincount(means.labels_, minlength=k))])
    starts = np.concatenate([[0], np.cumsum([len(group) for group in groups])])
    arrays = {
        **scaling.arrays,
        "references": np.concatenate(groups).T,
        "starts": starts.astype(np.int64),
    }
    return Frozen(
        arrays,
        lambda rows: np.mean([cdist(Z[rows], group).min(axis=1) for group in groups], axis=0),
        absolute_tolerance=1e-9,
    )


def _large(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the biggest clusters, up to where 90 % of rows are covered or sizes drop fivefold."""
    order = np.argsort(-sizes, kind="stable")
    falling = sizes[order]
    covered = np.cumsum(falling) >= _LARGE_SHARE * falling.sum()
    drops = falling[:-1] >= _LARGE_RATIO * np.maximum(falling[1:], 1)
    ends = covered.copy()
    ends[:-1] |= drops
    return order[: int(np.argmax(ends)) + 1]


def fit_subsample(params: Mapping[str, Any], X: Floats, seed: int, floors: Floats) -> Frozen:
    """Draw small random subsamples; score the mean distance to their nearest points.

    With n rows a subsample has at most n // 2 points.

    Source: Sugiyama & Borgwardt, Rapid distance-based outlier detection via sampling (2013).
    """
    from scipy.spatial.distance import cdist

    scaling = RobustScaling.fit(X, floors)
    Z = scaling(X)
    count = int(params["subsamples"])
    size = min(int(params["size"]), max(1, len(Z) // 2))
    rng = np.random.default_rng(seed)
    points = Z[np.concatenate([rng.choice(len(Z), size, replace=False) for _ in range(count)])]
    arrays = {
        **scaling.arrays,
        "references": points.T,
        "starts": np.arange(count + 1, dtype=np.int64) * size,
    }

    def expected(rows: NDArray[np.int64]) -> Floats:
        distances = cdist(Z[rows], points).reshape(len(rows), count, size)
        return np.asarray(distances.min(axis=2).mean(axis=1))

    return Frozen(arrays, expected, absolute_tolerance=1e-9)
