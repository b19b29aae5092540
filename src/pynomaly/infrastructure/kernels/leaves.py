"""Trees grown by learning, not by chance: they differ in depth by far.  Rows are the lanes."""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from pynomaly.infrastructure.kernels._jit import F32, F64, I32, I64, MATRIX, inlined, kernel

__all__ = ["mean_leaf"]

Floats = NDArray[np.float64]

_TILE = 256
_BEFORE_LOOKING, _BETWEEN_LOOKS = 12, 4  # steps: hardly a row has arrived before


@inlined
def _step(
    node: np.uint64,
    cells: NDArray[np.float32],
    row: np.uint64,
    feature: NDArray[np.int32],
    threshold: NDArray[np.float32],
    child: NDArray[np.int32],
) -> np.uint64:
    # Unsigned: an index that could be negative costs a step more.
    cell = cells[np.uint64(feature[node]) * np.uint64(_TILE) + row]
    return np.uint64(child[node]) + np.uint64(cell > threshold[node])


@inlined
def _to_leaves(
    root: int,
    depth: int,
    leaf: NDArray[np.uint64],
    node: NDArray[np.uint64],
    lane: NDArray[np.uint64],
    cells: NDArray[np.float32],
    feature: NDArray[np.int32],
    threshold: NDArray[np.float32],
    child: NDArray[np.int32],
) -> None:
    """Set the leaf of each row of a tile; ``node`` and ``lane`` are as long, for own use."""
    size, zero = leaf.shape[0], np.uint64(0)
    leaf[:] = np.uint64(root)
    if depth <= _BEFORE_LOOKING + _BETWEEN_LOOKS:
        for _ in range(depth):
            for i in range(size):
                leaf[i] = _step(leaf[i], cells, np.uint64(i), feature, threshold, child)
        return
    node[:] = np.uint64(root)
    for i in range(size):
        lane[i] = np.uint64(i)
    steps, going = _BEFORE_LOOKING, np.uint64(size)
    while going > zero:
        for _ in range(steps - 1):
            for i in range(going):
                node[i] = _step(node[i], cells, lane[i], feature, threshold, child)
        # One more, after which only those that moved go on.
        moved = zero
        for i in range(going):
            here, at = lane[i], node[i]
            below = _step(at, cells, here, feature, threshold, child)
            leaf[here] = node[moved] = below
            lane[moved] = here
            moved += np.uint64(below != at)
        going, steps = moved, _BETWEEN_LOOKS


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
    infinite threshold, so that rows may take more steps than they need.  In deep trees only those that
    are still on their way are kept from time to time.  Rows are compared as float32, as
    scikit-learn does.
    """
    d, n = Z.shape
    trees = roots.shape[0]
    out = np.zeros(n)
    columns = np.empty((d, _TILE), dtype=np.float32)
    cells = columns.reshape(d * _TILE)
    leaves, nodes, lanes = np.empty((3, _TILE), dtype=np.uint64)
    for start in range(0, n, _TILE):
        size = min(_TILE, n - start)
        sums, leaf = out[start : start + size], leaves[:size]
        for j in range(d):
            row, column = Z[j, start : start + size], columns[j]
            for i in range(size):
                column[i] = np.float32(row[i])
        for t in range(trees):
            _to_leaves(
                roots[t], depths[t], leaf, nodes[:size], lanes[:size], cells,
                feature, threshold, child,
            )  # fmt: skip
            for i in range(size):
                sums[i] += value[leaf[i]]
        for i in range(size):
            sums[i] /= trees
    return out
