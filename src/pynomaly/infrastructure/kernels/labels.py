"""Classifiers that labels taught: grown and boosted trees, logistic regression; as log-odds."""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from pynomaly.infrastructure.kernels._elementary import asinh, log
from pynomaly.infrastructure.kernels._jit import F32, F64, I32, I64, MATRIX, NUMBER, kernel

__all__ = ["boosted_trees", "grown_forest", "logistic"]

Floats = NDArray[np.float64]


@kernel(MATRIX, F64, I32, F32, I32, F64, I64, NUMBER, returns=types.float64[::1])
def grown_forest(
    X: Floats,
    center: Floats,
    feature: NDArray[np.int32],
    threshold: NDArray[np.float32],
    child: NDArray[np.int32],
    share: Floats,
    roots: NDArray[np.int64],
    doubt: float,
) -> Floats:
    """Return log((p + doubt) / (1 − p + doubt)), p the mean share of anomalies over the trees.

    The right child follows the left one; a leaf has child 0, which is no tree's child.  Trees are
    grown to the last row and so differ in depth by far: a walk ends at its leaf.  Rows are
    compared as float32, as scikit-learn does.
    """
    n, d = X.shape
    trees = roots.shape[0]
    out = np.empty(n)
    row = np.empty(d, dtype=np.float32)
    for i in range(n):
        for j in range(d):
            row[j] = np.float32(X[i, j] - center[j])
        total = 0.0
        for t in range(trees):
            node = roots[t]
            while child[node] != 0:
                right = row[feature[node]] > threshold[node]
                node = np.int64(child[node]) + np.int64(right)
            total += share[node]
        p = total / trees
        out[i] = log((p + doubt) / (1.0 - p + doubt))
    return out


@kernel(MATRIX, I32, F64, I32, F64, I64, NUMBER, returns=types.float64[::1])
def boosted_trees(
    X: Floats,
    feature: NDArray[np.int32],
    threshold: Floats,
    child: NDArray[np.int32],
    value: Floats,
    roots: NDArray[np.int64],
    start: float,
) -> Floats:
    """Return start + Σ value of the leaf that the row reaches in each tree.

    Laid out as in :func:`grown_forest`; rows are compared as float64, as scikit-learn does here.
    """
    n = X.shape[0]
    out = np.empty(n)
    for i in range(n):
        total = start
        for t in range(roots.shape[0]):
            node = roots[t]
            while child[node] != 0:
                right = X[i, feature[node]] > threshold[node]
                node = np.int64(child[node]) + np.int64(right)
            total += value[node]
        out[i] = total
    return out


@kernel(MATRIX, F64, F64, F64, F64, NUMBER, returns=types.float64[::1])
def logistic(
    X: Floats, middle: Floats, spread: Floats, weights: Floats, slope: Floats, intercept: float
) -> Floats:
    """Return intercept + Σ weight · asinh((x − middle) / spread) + Σ slope · score.

    The first columns of X are features, as many as there are middles; scores follow.
    """
    features, scores = middle.shape[0], slope.shape[0]
    out = np.empty(X.shape[0])
    for i in range(X.shape[0]):
        total = intercept
        for j in range(features):
            if weights[j] != 0.0:
                ratio = (X[i, j] - middle[j]) / spread[j]
                total += weights[j] * asinh(min(max(ratio, -1e300), 1e300))
        for k in range(scores):
            total += slope[k] * X[i, features + k]
        out[i] = total
    return out
