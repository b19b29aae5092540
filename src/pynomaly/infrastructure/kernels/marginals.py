"""Tables over single numbers: columns for ECOD, COPOD and HBOS, projections for LODA."""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from pynomaly.infrastructure.kernels._jit import F64, I64, MATRIX, fma, inlined, kernel, table

__all__ = ["projections", "steps"]

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

_TILE = 128
_FEW = 24  # thresholds that are faster counted than searched


@inlined
def _below(numbers: Floats, values: Floats, slot: NDArray[np.uint64]) -> None:
    """Set slot to how many of the ascending values lie below each number."""
    slot[:] = 0
    one = np.uint64(1)  # unsigned: an index that could be negative costs a step more
    if values.shape[0] <= _FEW:
        for value in values:
            for i in range(slot.shape[0]):
                slot[i] += np.uint64(value < numbers[i])
        return
    # A binary search without guesses: all rows take the same steps.
    span = values.shape[0]
    while span > 1:
        half = np.uint64(span // 2)
        for i in range(slot.shape[0]):
            middle = slot[i] + half
            slot[i] = middle if values[middle - one] < numbers[i] else slot[i]
        span -= span // 2
    for i in range(slot.shape[0]):
        slot[i] += np.uint64(values[slot[i]] < numbers[i])


@kernel(MATRIX, I64, I64, F64, F64, returns=types.float64[::1])
def steps(X: Floats, columns: Whole, starts: Whole, values: Floats, heights: Floats) -> Floats:
    """Return the sum over columns of a step function.

    Column j has u ascending thresholds at ``starts[j]:starts[j + 1]`` and 2u + 1 heights: odd ones
    for a number equal to a threshold, even ones for the gaps between them.
    """
    n, d = X.shape[0], columns.shape[0]
    out = np.zeros(n)
    lanes, places = np.empty(_TILE), np.empty(_TILE, dtype=np.uint64)
    for start in range(0, n, _TILE):
        size = min(_TILE, n - start)
        numbers, slot, scores = lanes[:size], places[:size], out[start : start + size]
        rows = X[start : start + size]
        for j in range(d):
            first, last, column = starts[j], starts[j + 1], np.uint64(columns[j])
            thresholds = values[first:last]
            height = heights[2 * first + j : 2 * last + j + 1]
            for i in range(size):
                numbers[i] = rows[i, column]
            _below(numbers, thresholds, slot)
            top = np.uint64(last - first - 1)
            for i in range(size):
                equal = np.uint64(thresholds[min(slot[i], top)] == numbers[i])
                scores[i] += height[slot[i] + slot[i] + equal]
    return out


@kernel(MATRIX, table(types.int64, 2), MATRIX, MATRIX, MATRIX, returns=types.float64[::1])
def projections(
    Z: Floats, columns: Whole, weights: Floats, limits: Floats, heights: Floats
) -> Floats:
    """Return the sum over sparse projections of the height of the row's bin.

    ``Z`` is (d, n); ``columns`` and ``weights`` are (cuts, columns per cut), ``limits``
    (cuts, bins − 1) and ``heights`` (cuts, bins).
    """
    n = Z.shape[1]
    cuts, width = columns.shape
    out = np.zeros(n)
    lanes, places = np.empty(_TILE), np.empty(_TILE, dtype=np.uint64)
    for start in range(0, n, _TILE):
        size = min(_TILE, n - start)
        numbers, slot, scores = lanes[:size], places[:size], out[start : start + size]
        for c in range(cuts):
            numbers[:] = 0.0
            for k in range(width):
                row, weight = Z[columns[c, k], start : start + size], weights[c, k]
                for i in range(size):
                    numbers[i] = fma(row[i], weight, numbers[i])
            _below(numbers, limits[c], slot)
            height = heights[c]
            for i in range(size):
                scores[i] += height[slot[i]]
    return out
