"""Detectors by name, scored by compiled kernels.

Each group of kernels is imported (and, once per machine, compiled) only when first needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from weakref import finalize

import numba  # noqa: F401  (its absence is noticed here, not at the first row)
import numpy as np
from numpy.typing import NDArray

from pynomaly.infrastructure.kernels.checks import METHODS

__all__ = ["SCORERS", "lanes", "nearest", "robust", "robust_columns"]

Floats = NDArray[np.float64]
Arrays = Mapping[str, NDArray[Any]]

_BUCKETS: dict[int, tuple[NDArray[Any], ...]] = {}
"""Of thresholds, by the identity of their array, while that lives: one row takes less time."""


def lanes(X: Floats) -> Floats:
    """Return rows (n, d) as lanes (d, n)."""
    if len(X) == 1 or not X.flags.c_contiguous:
        return np.ascontiguousarray(X.T)  # lanes already, or next to it
    from pynomaly.infrastructure.kernels import scaling

    return scaling.lanes(X)


def robust(a: Arrays, X: Floats) -> Floats:
    """Return robustly scaled lanes (d, n) of X (columns, n)."""
    from pynomaly.infrastructure.kernels import scaling

    return scaling.robust(X, a["columns"], a["center"], a["scale"])


def robust_columns(
    a: Arrays, memory: Floats, apart: int, start: int, rows: int
) -> tuple[Floats, bool]:
    """Return robustly scaled lanes (columns, rows), and whether what is scaled is finite."""
    from pynomaly.infrastructure.kernels import scaling

    found: tuple[Floats, bool] = scaling.robust_columns(
        memory, apart, start, rows, a["columns"], a["center"], a["scale"]
    )
    return found


def nearest(
    X: Floats, references: Floats, spread: Floats, limit: float, count: int
) -> NDArray[np.int64]:
    """Return positions (n, count) of the nearest of references (d, m) to each row of X (n, d)."""
    from pynomaly.infrastructure.kernels import similar

    return similar.nearest(X, references, spread, limit, count)


def _iforest(a: Arrays, params: Mapping[str, Any], X: Floats) -> Floats:
    from pynomaly.infrastructure.kernels import trees

    return trees.forest(
        X, a["center"], a["feature"], a["threshold"], a["length"], float(a["denominator"][0])
    )


def _steps(a: Arrays, params: Mapping[str, Any], X: Floats) -> Floats:
    from pynomaly.infrastructure.kernels import marginals

    values = a["values"]
    buckets = _BUCKETS.get(id(values))
    if buckets is None:
        buckets = _BUCKETS[id(values)] = marginals.buckets(a["starts"], values)
        finalize(values, _BUCKETS.pop, id(values), None)
    return marginals.steps(X, a["columns"], a["starts"], values, a["heights"], *buckets)


def _loda(a: Arrays, params: Mapping[str, Any], Z: Floats) -> Floats:
    from pynomaly.infrastructure.kernels import marginals

    return marginals.projections(Z, a["cut_columns"], a["cuts"], a["limits"], a["heights"])


def _groups(a: Arrays, params: Mapping[str, Any], Z: Floats) -> Floats:
    from pynomaly.infrastructure.kernels import distances

    return distances.nearest_per_group(Z, a["references"], a["starts"])


def _pca(a: Arrays, params: Mapping[str, Any], Z: Floats) -> Floats:
    from pynomaly.infrastructure.kernels import distances

    return distances.weighted_sum(Z, a["mean"], a["deviation"], a["components"], a["weights"])


def _projected(a: Arrays, Z: Floats) -> Floats:
    from pynomaly.infrastructure.kernels import densities

    if "projection" not in a:
        return Z
    return densities.project(Z, a["projection_mean"], a["projection"])


def _gmm(a: Arrays, params: Mapping[str, Any], Z: Floats) -> Floats:
    from pynomaly.infrastructure.kernels import densities

    return densities.mixture(_projected(a, Z), a["means"], a["factors"], a["constants"])


def _mahalanobis(a: Arrays, params: Mapping[str, Any], Z: Floats) -> Floats:
    from pynomaly.infrastructure.kernels import densities

    return densities.mahalanobis(_projected(a, Z), a["mean"], a["factor"])


def _deviation(a: Arrays, params: Mapping[str, Any], Z: Floats) -> Floats:
    from pynomaly.infrastructure.kernels import scaling

    return scaling.beyond(Z, a["shares"], a["low"], a["falls"], a["high"], a["rises"])


def _knn(a: Arrays, params: Mapping[str, Any], Z: Floats) -> Floats:
    from pynomaly.infrastructure.kernels import neighbours

    method = METHODS.index(params["method"])
    return neighbours.neighbours(Z, a["references"], int(a["neighbours"][0]), method)


def _lof(a: Arrays, params: Mapping[str, Any], Z: Floats) -> Floats:
    from pynomaly.infrastructure.kernels import references

    return references.local_outlier(
        Z, a["references"], int(a["neighbours"][0]), a["reach"], a["density"]
    )


def _subsample(a: Arrays, params: Mapping[str, Any], Z: Floats) -> Floats:
    from pynomaly.infrastructure.kernels import samples

    return samples.nearest_of_each(Z, a["references"], int(a["groups"][0]))


def _inne(a: Arrays, params: Mapping[str, Any], Z: Floats) -> Floats:
    from pynomaly.infrastructure.kernels import samples

    return samples.hyperspheres(Z, a["references"], int(a["groups"][0]), a["radius"], a["ratio"])


def _ocsvm(a: Arrays, params: Mapping[str, Any], Z: Floats) -> Floats:
    from pynomaly.infrastructure.kernels import references

    return references.support(
        Z, a["references"], a["weights"], float(a["gamma"][0]), float(a["intercept"][0])
    )


def _surrogate(a: Arrays, params: Mapping[str, Any], Z: Floats) -> Floats:
    from pynomaly.infrastructure.kernels import leaves

    return leaves.mean_leaf(
        Z, a["feature"], a["threshold"], a["child"], a["value"], a["roots"], a["depths"]
    )


def _grown_forest(a: Arrays, params: Mapping[str, Any], X: Floats) -> Floats:
    from pynomaly.infrastructure.kernels import labels

    return labels.grown_forest(
        np.ascontiguousarray(X.T), a["center"], a["feature"], a["threshold"], a["child"], a["share"], a["roots"],
        float(a["doubt"][0]),
    )  # fmt: skip


def _boosted_trees(a: Arrays, params: Mapping[str, Any], X: Floats) -> Floats:
    from pynomaly.infrastructure.kernels import labels

    return labels.boosted_trees(
        np.ascontiguousarray(X.T), a["feature"], a["threshold"], a["child"], a["value"], a["roots"],
        float(a["start"][0]),
    )  # fmt: skip


def _logistic(a: Arrays, params: Mapping[str, Any], X: Floats) -> Floats:
    from pynomaly.infrastructure.kernels import labels

    return labels.logistic(
        np.ascontiguousarray(X.T), a["middle"], a["spread"], a["weights"], a["slope"],
        float(a["intercept"][0]),
    )  # fmt: skip


SCORERS: Mapping[str, Callable[[Arrays, Mapping[str, Any], Floats], Floats]] = {
    "iforest": _iforest,
    "ecod": _steps,
    "copod": _steps,
    "hbos": _steps,
    "loda": _loda,
    "pca": _pca,
    "mcd": _mahalanobis,
    "gmm": _gmm,
    "cblof": _groups,
    "inne": _inne,
    "knn": _knn,
    "lof": _lof,
    "ocsvm": _ocsvm,
    "mahalanobis": _mahalanobis,
    "cluster": _groups,
    "subsample": _subsample,
    "deviation": _deviation,
    "surrogate": _surrogate,
    "grown_forest": _grown_forest,
    "boosted_trees": _boosted_trees,
    "logistic": _logistic,
}
"""Of a member's arrays and parameters, and lanes (d, n): scaled where it holds a scaling."""
