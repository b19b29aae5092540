"""The same detectors in numpy, for machines without numba: slower, scores equal to 1e-9.

No sum runs along rows and none is left to BLAS, so a row's score is its own here as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SCORERS", "lanes", "nearest", "robust"]

Floats = NDArray[np.float64]
Arrays = Mapping[str, NDArray[Any]]
Params = Mapping[str, Any]

_DISTANCES = 32_768  # held at a time

LARGEST = 14.508657738524219  # asinh of a million, as in the compiled kernel


def lanes(X: Floats) -> Floats:
    """Return rows (n, d) as lanes (d, n)."""
    return np.ascontiguousarray(X.T)


def robust(a: Arrays, X: Floats) -> Floats:
    """Return robustly scaled lanes (d, n) of X (columns, n)."""
    with np.errstate(over="ignore"):
        ratio = (X[a["columns"]] - a["center"][:, None]) / a["scale"][:, None]
    return np.asarray(np.arcsinh(np.clip(ratio, -1e300, 1e300)))


def nearest(
    X: Floats, references: Floats, spread: Floats, limit: float, count: int
) -> NDArray[np.int64]:
    """Return positions (n, count) of the nearest of references (d, m) to each row of X (n, d)."""
    found = np.empty((len(X), count), dtype=np.int64)
    rows_at_once = max(1, _DISTANCES // references.shape[1])
    for start in range(0, len(X), rows_at_once):
        rows = X[start : start + rows_at_once]
        distance = np.zeros((len(rows), references.shape[1]))
        for feature, (column, unit) in enumerate(zip(references, spread, strict=True)):
            with np.errstate(over="ignore"):
                apart = np.abs(rows[:, feature, None] - column) / unit
            distance += np.minimum(apart, limit)
        order = np.argsort(distance, axis=1, kind="stable")
        found[start : start + rows_at_once] = order[:, :count]
    return found


def _iforest(a: Arrays, params: Params, X: Floats) -> Floats:
    with np.errstate(over="ignore"):
        rows = (X - a["center"][:, None]).astype(np.float32)
    every, inner = np.arange(X.shape[1]), a["feature"].shape[1]
    total = np.zeros(X.shape[1])
    for feature, threshold, length in zip(a["feature"], a["threshold"], a["length"], strict=True):
        node = np.zeros(X.shape[1], dtype=np.int64)
        for _ in range(inner.bit_length()):
            node = 2 * node + 1 + (rows[feature[node], every] > threshold[node])
        total += length[node - inner]
    return np.asarray(2.0 ** (-total / a["denominator"][0]))


def _steps(a: Arrays, params: Params, X: Floats) -> Floats:
    total = np.zeros(X.shape[1])
    for j, column in enumerate(a["columns"]):
        first, last = a["starts"][j], a["starts"][j + 1]
        values, numbers = a["values"][first:last], X[column]
        slot = np.searchsorted(values, numbers)
        equal = values[np.minimum(slot, len(values) - 1)] == numbers
        total += a["heights"][2 * (first + slot) + j + equal]
    return total


def _loda(a: Arrays, params: Params, Z: Floats) -> Floats:
    total = np.zeros(Z.shape[1])
    for columns, weights, limits, heights in zip(
        a["cut_columns"], a["cuts"], a["limits"], a["heights"], strict=True
    ):
        seen = np.zeros(Z.shape[1])
        for column, weight in zip(columns, weights, strict=True):
            seen += Z[column] * weight
        total += heights[np.searchsorted(limits, seen)]
    return total


def _squared(Z: Floats, references: Floats) -> Floats:
    """Return squared distances (n, references)."""
    total = np.zeros((Z.shape[1], references.shape[1]))
    for column, reference in zip(Z, references, strict=True):
        total += (column[:, None] - reference) ** 2
    return total


def _combine(gaps: Floats, weights: Floats) -> Floats:
    """Return gaps (d, n) times weights (d, k), as (k, n)."""
    total = np.zeros((weights.shape[1], gaps.shape[1]))
    for gap, weight in zip(gaps, weights, strict=True):
        total += weight[:, None] * gap
    return total


def _added(parts: Floats) -> Floats:
    """Return the sum of (k, n) over k, one after the other."""
    total = np.zeros(parts.shape[1])
    for part in parts:
        total += part
    return total


def _groups(a: Arrays, params: Params, Z: Floats) -> Floats:
    nearest = np.sqrt(np.minimum.reduceat(_squared(Z, a["references"]), a["starts"][:-1], axis=1))
    return np.asarray(_added(nearest.T) / nearest.shape[1])


def _pca(a: Arrays, params: Params, Z: Floats) -> Floats:
    standard = (Z - a["mean"][:, None]) / a["deviation"][:, None]
    return _added(a["weights"][:, None] * np.sqrt(_squared(standard, a["components"])).T)


def _projected(a: Arrays, Z: Floats) -> Floats:
    if "projection" not in a:
        return Z
    return _combine(Z - a["projection_mean"][:, None], a["projection"])


def _gmm(a: Arrays, params: Params, Z: Floats) -> Floats:
    Z = _projected(a, Z)
    logs = np.stack([
        constant - 0.5 * _added(_combine(Z - mean[:, None], factor) ** 2)
        for mean, factor, constant in zip(a["means"], a["factors"], a["constants"], strict=True)
    ])  # fmt: skip
    peak = logs.max(axis=0)
    return np.asarray(-(peak + np.log(_added(np.exp(logs - peak)))))


def _mahalanobis(a: Arrays, params: Params, Z: Floats) -> Floats:
    Z = _projected(a, Z)
    return _added(_combine(Z - a["mean"][:, None], a["factor"]) ** 2)


def _deviation(a: Arrays, params: Params, Z: Floats) -> Floats:
    grown = np.sinh(np.clip(Z, -LARGEST, LARGEST)).T
    times = np.maximum(np.abs(grown) * a["shares"], (grown - a["high"]) * a["rises"])
    times = np.maximum(times, (a["low"] - grown) * a["falls"])
    return np.asarray(np.log(np.maximum(times.max(axis=1), 1.0)))


def _nearest(a: Arrays, Z: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Return distances and numbers (k, n) of the nearest references, nearest first."""
    squared = _squared(Z, a["references"])
    place = np.argsort(squared, axis=1, kind="stable")[:, : int(a["neighbours"][0])]
    return np.sqrt(np.take_along_axis(squared, place, axis=1)).T, place.T


def _knn(a: Arrays, params: Params, Z: Floats) -> Floats:
    distances, _ = _nearest(a, Z)
    k = len(distances)
    match params["method"]:
        case "largest":
            return np.asarray(distances[-1])
        case "median":
            return np.asarray(0.5 * (distances[(k - 1) // 2] + distances[k // 2]))
        case _:
            return _added(distances) / k


def _lof(a: Arrays, params: Params, Z: Floats) -> Floats:
    distances, place = _nearest(a, Z)
    reached = _added(np.maximum(distances, a["reach"][place])) / len(place)
    return _added(a["density"][place]) / len(place) * (reached + 1e-10)


def _subsample(a: Arrays, params: Params, Z: Floats) -> Floats:
    groups = int(a["groups"][0])
    squared = _squared(Z, a["references"]).reshape(Z.shape[1], -1, groups)
    return _added(np.sqrt(squared.min(axis=1)).T) / groups


def _inne(a: Arrays, params: Params, Z: Floats) -> Floats:
    groups = int(a["groups"][0])
    inside = _squared(Z, a["references"]) <= a["radius"]
    value = np.ones((Z.shape[1], groups))
    for first in range(0, len(a["radius"]), groups):
        here = slice(first, first + groups)
        value = np.where(inside[:, here], a["ratio"][here], value)
    return _added(value.T) / groups


def _ocsvm(a: Arrays, params: Params, Z: Floats) -> Floats:
    similar = np.exp(-a["gamma"][0] * _squared(Z, a["references"]))
    return np.asarray(-(_added((similar * a["weights"]).T) + a["intercept"][0]))


def _surrogate(a: Arrays, params: Params, Z: Floats) -> Floats:
    rows, every = Z.astype(np.float32), np.arange(Z.shape[1])
    total = np.zeros(Z.shape[1])
    for root, depth in zip(a["roots"], a["depths"], strict=True):
        node = np.full(Z.shape[1], root)
        for _ in range(depth):
            right = rows[a["feature"][node], every] > a["threshold"][node]
            node = a["child"][node] + right
        total += a["value"][node]
    return total / len(a["roots"])


def _leaves(a: Arrays, rows: NDArray[Any]) -> Iterator[NDArray[np.int64]]:
    """Yield, tree by tree, the leaf that each row reaches."""
    every = np.arange(rows.shape[1])
    for root in a["roots"]:
        node = np.full(rows.shape[1], root)
        while np.any(inside := a["child"][node] != 0):
            right = rows[a["feature"][node], every] > a["threshold"][node]
            node = np.where(inside, a["child"][node] + right, node)
        yield node


def _grown_forest(a: Arrays, params: Params, X: Floats) -> Floats:
    with np.errstate(over="ignore"):
        rows = (X - a["center"][:, None]).astype(np.float32)
    total = np.zeros(X.shape[1])
    for leaf in _leaves(a, rows):
        total += a["share"][leaf]
    p, doubt = total / len(a["roots"]), a["doubt"][0]
    return np.asarray(np.log((p + doubt) / (1.0 - p + doubt)))


def _boosted_trees(a: Arrays, params: Params, X: Floats) -> Floats:
    total = np.full(X.shape[1], a["start"][0])
    for leaf in _leaves(a, X):
        total += a["value"][leaf]
    return total


def _logistic(a: Arrays, params: Params, X: Floats) -> Floats:
    total = np.full(X.shape[1], a["intercept"][0])
    features = len(a["middle"])
    for j in np.flatnonzero(a["weights"]):
        with np.errstate(over="ignore"):
            ratio = (X[j] - a["middle"][j]) / a["spread"][j]
        total += a["weights"][j] * np.arcsinh(np.clip(ratio, -1e300, 1e300))
    for k, slope in enumerate(a["slope"]):
        total += slope * X[features + k]
    return total


SCORERS: Mapping[str, Callable[[Arrays, Params, Floats], Floats]] = {
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
