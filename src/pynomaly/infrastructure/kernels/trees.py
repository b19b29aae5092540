"""Isolation forests."""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from pynomaly.infrastructure.kernels._elementary import exp
from pynomaly.infrastructure.kernels._jit import F64, MATRIX, NUMBER, inlined, kernel, table

__all__ = ["forest"]

Floats = NDArray[np.float64]

_TILE = 256
_FEW = 4  # rows that are sent down the trees one by one, before anything is laid out for many
_LN2 = 0.6931471805599453


@inlined
def _descend_three(
    columns: NDArray[np.float32],
    feature: NDArray[np.uint32],
    limits: NDArray[np.float32],
    node: NDArray[np.uint64],
) -> None:
    """Send rows through three levels at once, by asking all seven questions of all of them.

    Answers are vectors; from the fourth level on there are too many questions.
    """
    r0, r1, r2, r3 = (
        columns[feature[0]], columns[feature[1]], columns[feature[2]], columns[feature[3]],
    )  # fmt: skip
    r4, r5, r6 = columns[feature[4]], columns[feature[5]], columns[feature[6]]
    t0, t1, t2, t3, t4, t5, t6 = (
        limits[0], limits[1], limits[2], limits[3], limits[4], limits[5], limits[6],
    )  # fmt: skip
    for i in range(node.shape[0]):
        first = np.uint64(r0[i] > t0)
        left, right = np.uint64(r1[i] > t1), np.uint64(r2[i] > t2)
        a, b = np.uint64(r3[i] > t3), np.uint64(r4[i] > t4)
        c, e = np.uint64(r5[i] > t5), np.uint64(r6[i] > t6)
        second = right if first else left
        below_left = b if second else a
        below_right = e if second else c
        third = below_right if first else below_left
        node[i] = np.uint64(7) + np.uint64(4) * first + np.uint64(2) * second + third


@inlined
def _one_by_one(
    X: Floats,
    center: Floats,
    feature: NDArray[np.uint32],
    threshold: NDArray[np.float32],
    length: Floats,
    out: Floats,
) -> None:
    """Add up the path lengths of each row of (d, n)."""
    one, first_leaf = np.uint64(1), np.uint64(feature.shape[1])
    row = np.empty(X.shape[0], dtype=np.float32)
    for i in range(X.shape[1]):
        for j in range(X.shape[0]):
            row[j] = np.float32(X[j, i] - center[j])
        for t in range(feature.shape[0]):
            k = np.uint64(0)
            while k < first_leaf:
                k = k + k + one + np.uint64(row[feature[t, k]] > threshold[t, k])
            out[i] += length[t, k - first_leaf]


@kernel(
    MATRIX, F64, table(types.uint32, 2), table(types.float32, 2), MATRIX, NUMBER,
    returns=types.float64[::1],
)  # fmt: skip
def forest(
    X: Floats,
    center: Floats,
    feature: NDArray[np.uint32],
    threshold: NDArray[np.float32],
    length: Floats,
    denominator: float,
) -> Floats:
    """Return 2^(−path length / denominator).

    Every tree is complete: node k has children 2k + 1 and 2k + 2, so a step is one comparison and
    no step depends on a guess.  A leaf above the last level has infinite thresholds below it, and
    its path length waits at its leftmost descendant.  ``feature`` and ``threshold`` are
    (trees, 2^depth − 1), ``length`` is (trees, 2^depth), depth at least 3.

    ``X`` is (d, n).  Rows are compared as float32, as scikit-learn does.
    """
    d, n = X.shape
    trees, inner = feature.shape
    out = np.zeros(n)
    one, first_leaf = np.uint64(1), np.uint64(inner)
    if n < _FEW:
        _one_by_one(X, center, feature, threshold, length, out)
        for i in range(n):
            out[i] = exp(-_LN2 * (out[i] / denominator))
        return out
    columns = np.empty((d, _TILE), dtype=np.float32)
    cells = columns.reshape(d * _TILE)
    places = feature * np.uint32(_TILE)  # where the column of each split begins in cells
    # Unsigned, here and below: an index that could be negative costs a step more.
    nodes = np.empty(_TILE, dtype=np.uint64)
    for start in range(0, n, _TILE):
        size = min(_TILE, n - start)
        node, scores = nodes[:size], out[start : start + size]
        for j in range(d):
            lane, column, middle = X[j, start : start + size], columns[j], center[j]
            for i in range(size):
                column[i] = np.float32(lane[i] - middle)
        for t in range(trees):
            place, limits, lengths = places[t], threshold[t], length[t]
            _descend_three(columns, feature[t], limits, node)
            level = 8
            while level <= inner:
                for i in range(size):
                    k = node[i]
                    right = cells[place[k] + np.uint64(i)] > limits[k]
                    node[i] = k + k + one + np.uint64(right)
                level *= 2
            for i in range(size):
                scores[i] += lengths[node[i] - first_leaf]
        for i in range(size):
            scores[i] = exp(-_LN2 * (scores[i] / denominator))
    return out
