"""Detectors that measure distance to clusters and to small random samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynomaly.infrastructure.pyod.frozen import Frozen, RobustScaling

__all__ = ["fit_cblof", "fit_cluster", "fit_inne", "fit_subsample"]

Floats = NDArray[np.float64]

_LARGE_SHARE, _LARGE_RATIO = 0.9, 5
# Which clusters are large: alpha and beta of CBLOF (He, Xu & Deng, 2003).


def fit_cluster(params: Mapping[str, Any], X: Floats, seed: int, floors: Floats) -> Frozen:
    """Fit k-means for k = smallest, 2·smallest, …; score the mean distance to large clusters.

    With n rows k is at most n // 2, and at most the number of distinct rows.
    """
    from scipy.spatial.distance import cdist
    from sklearn.cluster import KMeans

    scaling = RobustScaling.fit(X, floors)
    Z = scaling(X)
    most = _most_clusters(Z)
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


def _most_clusters(Z: Floats) -> int:
    return min(max(1, len(Z) // 2), len(np.unique(Z, axis=0)))


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

    scaling = RobustScaling.fit(X, floors, constant=True)
    Z = scaling(X)
    count = int(params["subsamples"])
    size = min(int(params["size"]), max(1, len(Z) // 2))
    rng = np.random.default_rng(seed)
    points = Z[np.concatenate([rng.choice(len(Z), size, replace=False) for _ in range(count)])]
    arrays = {
        **scaling.arrays,
        "references": _interleaved(points.reshape(count, size, -1)),
        "groups": np.array([count], dtype=np.int64),
    }

    def expected(rows: NDArray[np.int64]) -> Floats:
        distances = cdist(Z[rows], points).reshape(len(rows), count, size)
        return np.asarray(distances.min(axis=2).mean(axis=1))

    return Frozen(arrays, expected, absolute_tolerance=1e-9)


def _interleaved(groups: Floats) -> Floats:
    """Return (groups, size, d) points as (d, size · groups), point s of every group together."""
    return groups.transpose(2, 1, 0).reshape(groups.shape[2], -1)


def fit_cblof(params: Mapping[str, Any], X: Floats, seed: int, floors: Floats) -> Frozen:
    """Fit PyOD's CBLOF on robustly scaled rows: distance to the nearest large cluster.

    PyOD measures rows of large clusters from their own centre, rows of small ones from the nearest
    large one, which is the nearest large one for all.  Where sizes separate no large clusters from
    small ones PyOD refuses; then all count as large.  With n rows there are at most n // 2
    clusters, and at most as many as distinct rows.
    """
    from pyod.models.cblof import CBLOF
    from scipy.spatial.distance import cdist

    scaling = RobustScaling.fit(X, floors)
    Z = scaling(X)
    detector = CBLOF(
        n_clusters=min(int(params["n_clusters"]), _most_clusters(Z)),
        alpha=float(params["alpha"]),
        beta=float(params["beta"]),
        random_state=seed,
    )
    try:
        detector.fit(Z)
        centers = detector.cluster_centers_[detector.large_cluster_labels_]
        score: Callable[[Floats], Floats] = detector.decision_function
    except ValueError as error:
        if "valid cluster separation" not in str(error):
            raise
        centers = detector.cluster_centers_

        def score(rows: Floats) -> Floats:
            return np.asarray(cdist(rows, centers).min(axis=1))

    arrays = {
        **scaling.arrays,
        "references": centers.T,
        "starts": np.array([0, len(centers)], dtype=np.int64),
    }
    return Frozen(arrays, lambda rows: score(Z[rows]), absolute_tolerance=1e-9)


def fit_inne(params: Mapping[str, Any], X: Floats, seed: int, floors: Floats) -> Frozen:
    """Fit PyOD's INNE on robustly scaled rows.

    PyOD draws the centres; radii and ratios are computed anew, because its squared distances
    between equal or nearly equal points are rounding errors.
    """
    from pyod.models.inne import INNE, MIN_FLOAT

    scaling = RobustScaling.fit(X, floors)
    Z = scaling(X)
    detector = INNE(
        n_estimators=int(params["n_estimators"]),
        max_samples=min(int(params["max_samples"]), max(2, len(Z) // 2)),
        random_state=seed,
    ).fit(Z)
    points = detector._centroids
    apart = ((points[:, :, None] - points[:, None]) ** 2).sum(axis=3)
    own = np.arange(points.shape[1])
    apart[:, own, own] = np.inf
    radius = apart.min(axis=2)
    neighbour = np.take_along_axis(radius, apart.argmin(axis=2), axis=1)
    ratio = 1 - (neighbour + MIN_FLOAT) / (radius + MIN_FLOAT)
    # Within a group from the largest sphere to the smallest; of equals PyOD takes the first.
    order = np.argsort(-radius[:, ::-1], axis=1, kind="stable")
    order = points.shape[1] - 1 - order
    radius, ratio = (np.take_along_axis(table, order, axis=1) for table in (radius, ratio))
    points = np.take_along_axis(points, order[:, :, None], axis=1)

    def expected(rows: NDArray[np.int64]) -> Floats:
        scores = detector.decision_function(Z[rows])
        certain = _certainly_placed(Z[rows], points, radius)
        return np.where(certain, scores, np.nan)

    arrays = {
        **scaling.arrays,
        "references": _interleaved(points),
        "groups": np.array([len(points)], dtype=np.int64),
        "radius": radius.T.reshape(-1),
        "ratio": ratio.T.reshape(-1),
    }
    return Frozen(arrays, expected, undecidable=True)


def _certainly_placed(Z: Floats, points: Floats, radius: Floats) -> NDArray[np.bool_]:
    """Return which rows no rounding of squared distances moves into or out of a sphere."""
    size = (Z**2).sum(axis=1)[:, None] + (points**2).sum(axis=2).max(initial=0.0)
    certain = np.ones(len(Z), dtype=np.bool_)
    for centers, rims in zip(points, radius, strict=True):
        squared = ((Z[:, None] - centers) ** 2).sum(axis=2)
        doubt = 1e-12 * size
        inside, maybe = squared <= rims - doubt, squared <= rims + doubt
        smallest = np.where(inside, rims, np.inf).min(axis=1)
        possible = np.where(maybe, rims, np.inf).min(axis=1)
        certain &= smallest == possible
        # The ratio of spheres that are nothing but rounding is rounding, too.
        certain &= ~(np.isfinite(possible) & (possible[:, None] < 1e3 * doubt).any(axis=1))
    return certain
