"""Rows that resemble others, by a distance that no single feature can dominate."""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from pynomaly.infrastructure.kernels._jit import F64, MATRIX, NUMBER, WHOLE, kernel

__all__ = ["nearest"]

Floats = NDArray[np.float64]


@kernel(MATRIX, MATRIX, F64, NUMBER, WHOLE, returns=types.int64[:, ::1])
def nearest(
    X: Floats, references: Floats, spread: Floats, limit: float, count: int
) -> NDArray[np.int64]:
    """Return (n, count) positions of the nearest references, ascending; of equal ones the first.

    The distance is the sum over features of min(|difference| / spread, limit).  ``references`` is
    (d, m): they are the lanes.
    """
    n, d = X.shape
    m = references.shape[1]
    out = np.empty((n, count), dtype=np.int64)
    distance, least = np.empty(m), np.empty(count)
    for row in range(n):
        distance[:] = 0.0
        for j in range(d):
            number, unit, lanes = X[row, j], spread[j], references[j]
            for r in range(m):
                # Divided here: a huge number over a tiny spread is no number any more.
                distance[r] += min(abs(number - lanes[r]) / unit, limit)
        places = out[row]
        for r in range(m):
            if r >= count and distance[r] >= least[count - 1]:
                continue
            k = min(r, count - 1)
            while k > 0 and least[k - 1] > distance[r]:
                least[k], places[k] = least[k - 1], places[k - 1]
                k -= 1
            least[k], places[k] = distance[r], r
    return out
