"""Euclidean distances to reference points.

References are stored (d, m), so that the innermost loop runs over references: independent lanes,
which the compiler turns into vector instructions without reordering any sum.
"""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numpy.typing import NDArray

from pynomaly.infrastructure.kernels._jit import F64, FLAG, I64, MATRIX, WHOLE, kernel

__all__ = ["nearest_per_group", "neighbours", "weighted_sum"]

Floats = NDArray[np.float64]


@kernel(MATRIX, MATRIX, WHOLE, FLAG, returns=types.float64[::1])
def neighbours(Z: Floats, references: Floats, k: int, largest: bool) -> Floats:
    """Return the mean (or the largest) of the distances to the k nearest references."""
    n, d = Z.shape
    m = references.shape[1]
    out = np.empty(n)
    squared = np.empty(m)
    nearest = np.empty(k)
    for i in range(n):
        squared[:] = 0.0
        for j in range(d):
            z = Z[i, j]
            for r in range(m):
                gap = z - references[j, r]
                squared[r] += gap * gap
        nearest[:] = np.inf
        for r in range(m):
            candidate = squared[r]
            if candidate < nearest[k - 1]:
                place = k - 1
                while place > 0 and nearest[place - 1] > candidate:
                    nearest[place] = nearest[place - 1]
                    place -= 1
                nearest[place] = candidate
        if largest:
            out[i] = math.sqrt(nearest[k - 1])
        else:
            total = 0.0
            for place in range(k):
                total += math.sqrt(nearest[place])
            out[i] = total / k
    return out


@kernel(MATRIX, MATRIX, I64, returns=types.float64[::1])
def nearest_per_group(Z: Floats, references: Floats, starts: NDArray[np.int64]) -> Floats:
    """Return the mean over groups of the distance to the group's nearest reference.

    Group g holds references ``starts[g]:starts[g + 1]``.
    """
    n, d = Z.shape
    m = references.shape[1]
    groups = starts.shape[0] - 1
    out = np.empty(n)
    squared = np.empty(m)
    for i in range(n):
        squared[:] = 0.0
        for j in range(d):
            z = Z[i, j]
            for r in range(m):
                gap = z - references[j, r]
                squared[r] += gap * gap
        total = 0.0
        for g in range(groups):
            smallest = np.inf
            for r in range(starts[g], starts[g + 1]):
                smallest = min(smallest, squared[r])
            total += math.sqrt(smallest)
        out[i] = total / groups
    return out


@kernel(MATRIX, F64, F64, MATRIX, F64, returns=types.float64[::1])
def weighted_sum(
    Z: Floats, mean: Floats, deviation: Floats, references: Floats, weights: Floats
) -> Floats:
    """Return the weighted sum of distances from the standardised row to all references."""
    n, d = Z.shape
    m = references.shape[1]
    out = np.empty(n)
    squared = np.empty(m)
    for i in range(n):
        squared[:] = 0.0
        for j in range(d):
            z = (Z[i, j] - mean[j]) / deviation[j]
            for r in range(m):
                gap = z - references[j, r]
                squared[r] += gap * gap
        total = 0.0
        for r in range(m):
            total += weights[r] * math.sqrt(squared[r])
        out[i] = total
    return out
