"""Isolation forests."""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from pynomaly.infrastructure.kernels._elementary import exp
from pynomaly.infrastructure.kernels._jit import F64, MATRIX, NUMBER, kernel, table

__all__ = ["forest"]

Floats = NDArray[np.float64]

_TILE = 128
_LN2 = 0.6931471805599453


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
    (trees, 2^depth − 1), ``length`` is (trees, 2^depth).

    Rows are compared as float32, as scikit-learn does.
    """
    n, d = X.shape
    trees, inner = feature.shape
    out = np.zeros(n)
    rows = np.empty(_TILE * d, dtype=np.float32)
    # Unsigned, here and below: an index that could be negative costs a step more.
    nodes = np.empty(_TILE, dtype=np.uint64)
    one, first_leaf = np.uint64(1), np.uint64(inner)
    for start in range(0, n, _TILE):
        size = min(_TILE, n - start)
        node, scores = nodes[:size], out[start : start + size]
        for i in range(size):
            for j in range(d):
                rows[i * d + j] = np.float32(X[start + i, j] - center[j])
        for t in range(trees):
            splits, limits, lengths = feature[t], threshold[t], length[t]
            node[:] = 0
            level = 1
            while level <= inner:
                for i in range(size):
                    k = node[i]
                    right = rows[np.uint64(i * d) + splits[k]] > limits[k]
                    node[i] = k + k + one + np.uint64(right)
                level *= 2
            for i in range(size):
                scores[i] += lengths[node[i] - first_leaf]
        for i in range(size):
            scores[i] = exp(-_LN2 * (scores[i] / denominator))
    return out
