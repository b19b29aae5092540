"""Detectors that look at one column at a time: tables looked up by binary search."""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from pynomaly.infrastructure.kernels._jit import F64, I64, MATRIX, NUMBER, kernel

__all__ = ["histograms", "tails"]

Floats = NDArray[np.float64]


@kernel(MATRIX, I64, I64, F64, F64, returns=types.float64[::1])
def tails(
    X: Floats,
    columns: NDArray[np.int64],
    starts: NDArray[np.int64],
    values: Floats,
    table: Floats,
) -> Floats:
    """Return the sum over columns of the frozen tail surprise.

    Column j has u sorted distinct training values at ``starts[j]:starts[j + 1]`` and 2u + 1
    table entries: odd ones for a value equal to a training value, even ones for the gaps.
    """
    n, d = X.shape[0], columns.shape[0]
    out = np.zeros(n)
    for j in range(d):
        first, last = starts[j], starts[j + 1]
        offset = 2 * first + j
        for i in range(n):
            x = X[i, columns[j]]
            low, high = first, last
            while low < high:
                middle = (low + high) // 2
                if values[middle] < x:
                    low = middle + 1
                else:
                    high = middle
            slot = 2 * (low - first)
            if low < last and values[low] == x:
                slot += 1
            out[i] += table[offset + slot]
    return out


@kernel(MATRIX, MATRIX, MATRIX, F64, NUMBER, returns=types.float64[::1])
def histograms(
    Z: Floats, edges: Floats, heights: Floats, lowest: Floats, tolerance: float
) -> Floats:
    """Return minus the sum over columns of the log-height of a row's bin, as PyOD defines it.

    A value outside the outer edges by at most ``tolerance`` bin widths takes the outer bin,
    farther out the lowest bin.  ``edges`` is (d, bins + 1), ``heights`` (d, bins).
    """
    n, d = Z.shape
    bins = heights.shape[1]
    out = np.zeros(n)
    for j in range(d):
        slack_below = tolerance * (edges[j, 1] - edges[j, 0])
        slack_above = tolerance * (edges[j, bins] - edges[j, bins - 1])
        for i in range(n):
            z = Z[i, j]
            low, high = 0, bins + 1
            while low < high:
                middle = (low + high) // 2
                if edges[j, middle] < z:
                    low = middle + 1
                else:
                    high = middle
            if low == 0:
                near = edges[j, 0] - z <= slack_below
                out[i] -= heights[j, 0] if near else lowest[j]
            elif low == bins + 1:
                near = z - edges[j, bins] <= slack_above
                out[i] -= heights[j, bins - 1] if near else lowest[j]
            else:
                out[i] -= heights[j, low - 1]
    return out
