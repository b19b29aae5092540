"""Trees grown by learning, not by chance: they differ in depth by far.  Rows are the lanes."""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from pynomaly.infrastructure.kernels._jit import F32, F64, I32, I64, MATRIX, inlined, kernel

__all__ = ["mean_leaf"]

Floats = NDArray[np.float64]

_TILE = 256
_BETWEEN_LOOKS = 4


@inlined
def _step(
    node: np.uint64,
    cells: NDArray[np.float32],
    row: int,
    feature: NDArray[np.int32],
    threshold: NDArray[np.float32],
    child: NDArray[np.int32],
) -> np.uint64:
    # Unsigned: an index that could be negative costs a step more.
    cell = cells[np.uint64(feature[node]) * np.uint64(_TILE) + np.uint64(row)]
    return np.uint64(child[node]) + np.uint64(cell > threshold[node])


@kernel(MATRIX, I32, F32, I32, F64, I64, I64, returns=types.float64[::1])
def mean_leaf(
    Z: Floats,
    feature: NDArray[np.int32],
    threshold: NDArray[np.float32],
    child: NDArray[np.int32],
    value: Floats,
    roots: NDArray[np.int64],
    depths: NDArray[np.int64],
) -> Floats:
    """Return the mean over trees of the value of a row's leaf.

    ``Z`` is (d, n).  The right child follows the left one; a leaf is its own left child with an
    infinite threshold, so that all rows of a tile may take the same number of steps.  Rows are
    compared as float32, as scikit-learn does.
    """
    d, n = Z.shape
    trees = roots.shape[0]
    out = np.zeros(n)
    columns = np.empty((d, _TILE), dtype=np.float32)
    cells = columns.reshape(d * _TILE)
    nodes = np.empty(_TILE, dtype=np.uint64)
    for start in range(0, n, _TILE):
        size = min(_TILE, n - start)
        node, sums = nodes[:size], out[start : start + size]
        for j in range(d):
            row, column = Z[j, start : start + size], columns[j]
            for i in range(size):
                column[i] = np.float32(row[i])
        for t in range(trees):
            node[:] = np.uint64(roots[t])
            left = depths[t]
            while left > 0:
                for _ in range(min(left, _BETWEEN_LOOKS) - 1):
                    for i in range(size):
                        node[i] = _step(node[i], cells, i, feature, threshold, child)
                moved = np.uint64(0)
                for i in range(size):
                    below = _step(node[i], cells, i, feature, threshold, child)
                    moved |= below ^ node[i]
                    node[i] = below
                left -= _BETWEEN_LOOKS
                if moved == np.uint64(0):  # everybody has arrived
                    break
            for i in range(size):
                sums[i] += value[node[i]]
        for i in range(size):
            sums[i] /= trees
    return out
