"""Distances to a few references: clusters and principal components.  Rows are the lanes."""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numpy.typing import NDArray

from pynomaly.infrastructure.kernels._jit import F64, I64, MATRIX, fma, kernel
from pynomaly.infrastructure.kernels._nearest import ROWS, add_nearest

__all__ = ["nearest_per_group", "weighted_sum"]

Floats = NDArray[np.float64]

_TILE = 256


@kernel(MATRIX, MATRIX, I64, returns=types.float64[::1])
def nearest_per_group(Z: Floats, references: Floats, starts: NDArray[np.int64]) -> Floats:
    """Return the mean over groups of the distance to the group's nearest reference.

    ``Z`` is (d, n), ``references`` (d, m); group g holds references ``starts[g]:starts[g + 1]``.
    """
    n = Z.shape[1]
    groups = starts.shape[0] - 1
    out = np.zeros(n)
    for start in range(0, n, ROWS):
        rows = np.ascontiguousarray(Z[:, start : start + ROWS])
        scores = out[start : start + ROWS]
        for g in range(groups):
            add_nearest(references, starts[g], starts[g + 1], 1, rows, scores)
        for i in range(scores.shape[0]):
            scores[i] /= groups
    return out


@kernel(MATRIX, F64, F64, MATRIX, F64, returns=types.float64[::1])
def weighted_sum(
    Z: Floats, mean: Floats, deviation: Floats, references: Floats, weights: Floats
) -> Floats:
    """Return the weighted sum of distances from the standardised (d, n) rows to all references.

    Squared distances are |row|² + |reference|² − 2 row · reference, half the work of adding up
    squared differences.  What cancels is lost only close to one reference, when the row is far from
    the others: they are principal components, perpendicular and of length one.
    """
    d, n = Z.shape
    out = np.zeros(n)
    lengths = np.zeros(references.shape[1])
    for j in range(d):
        for r in range(references.shape[1]):
            lengths[r] = fma(references[j, r], references[j, r], lengths[r])
    standard, tile, norms = np.empty((d, _TILE)), np.empty(_TILE), np.empty(_TILE)
    for start in range(0, n, _TILE):
        size = min(_TILE, n - start)
        product, norm, scores = tile[:size], norms[:size], out[start : start + size]
        norm[:] = 0.0
        for j in range(d):
            lane, row = Z[j, start : start + size], standard[j]
            middle, factor = mean[j], 1.0 / deviation[j]
            for i in range(size):
                row[i] = (lane[i] - middle) * factor
                norm[i] = fma(row[i], row[i], norm[i])
        for r in range(references.shape[1]):
            product[:] = 0.0
            j = 0
            while j + 4 <= d:
                a, b = references[j, r], references[j + 1, r]
                c, e = references[j + 2, r], references[j + 3, r]
                p, q, s, t = standard[j], standard[j + 1], standard[j + 2], standard[j + 3]
                for i in range(size):
                    product[i] = fma(t[i], e, fma(s[i], c, fma(q[i], b, fma(p[i], a, product[i]))))
                j += 4
            while j < d:
                a, p = references[j, r], standard[j]
                for i in range(size):
                    product[i] = fma(p[i], a, product[i])
                j += 1
            weight, length = weights[r], lengths[r]
            for i in range(size):
                squared = max(fma(-2.0, product[i], norm[i] + length), 0.0)
                scores[i] = fma(weight, math.sqrt(squared), scores[i])
    return out
