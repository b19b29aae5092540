"""Isolation forests."""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from pynomaly.infrastructure.kernels._jit import F32, F64, I32, I64, MATRIX, NUMBER, kernel

__all__ = ["forest"]

Floats = NDArray[np.float64]


@kernel(MATRIX, F64, I32, F32, I32, F64, I64, I64, NUMBER, returns=types.float64[::1])
def forest(
    X: Floats,
    center: Floats,
    feature: NDArray[np.int32],
    threshold: NDArray[np.float32],
    child: NDArray[np.int32],
    length: Floats,
    roots: NDArray[np.int64],
    depths: NDArray[np.int64],
    denominator: float,
) -> Floats:
    """Return 2^(−path length / denominator).

    Rows are compared as float32, as scikit-learn does.  Children are neighbours, so a step is
    one comparison and one addition; a leaf points at itself with an infinite threshold, so every
    row takes the same number of steps in a tree and no step depends on a guess.
    """
    n, d = X.shape
    block = 128
    out = np.zeros(n)
    rows = np.empty((block, d), dtype=np.float32)
    for start in range(0, n, block):
        size = min(block, n - start)
        for i in range(size):
            for j in range(d):
                rows[i, j] = np.float32(X[start + i, j] - center[j])
        for t in range(roots.shape[0]):
            root, depth = roots[t], depths[t]
            for i in range(size):
                node = root
                for _ in range(depth):
                    node = np.int64(child[node]) + np.int64(
                        rows[i, feature[node]] > threshold[node]
                    )
                out[start + i] += length[node]
        for i in range(size):
            out[start + i] = 2.0 ** (-out[start + i] / denominator)
    return out
