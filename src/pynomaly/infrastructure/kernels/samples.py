"""Distances to small random samples: nearest points and hyperspheres."""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numpy.typing import NDArray

from pynomaly.infrastructure.kernels._jit import F64, MATRIX, WHOLE, inlined, kernel
from pynomaly.infrastructure.kernels._nearest import ROWS, TILE, add_nearest, squared_distances

__all__ = ["hyperspheres", "nearest_of_each"]

Floats = NDArray[np.float64]

_FEWEST_LANES = 64  # rows


@inlined
def _mean_root(squared: Floats) -> float:
    for g in range(squared.shape[0]):
        squared[g] = math.sqrt(squared[g])
    return _mean(squared)


@inlined
def _mean(numbers: Floats) -> float:
    total = 0.0
    for number in numbers:
        total += number
    return float(total / numbers.shape[0])


@inlined
def _row_by_row(Z: Floats, references: Floats, groups: int, out: Floats) -> None:
    n, m = Z.shape[1], references.shape[1]
    tile = groups * max(1, TILE // groups)
    here, there = np.empty(tile), np.empty(tile)
    nearest, nearest_there = np.empty(groups), np.empty(groups)
    for row in range(0, n, 2):
        other = min(row + 1, n - 1)
        nearest[:] = np.inf
        nearest_there[:] = np.inf
        for first in range(0, m, tile):
            size = min(tile, m - first)
            squared_distances(Z, row, other, references, first, here[:size], there[:size])
            for begin in range(0, size, groups):
                a, b = here[begin : begin + groups], there[begin : begin + groups]
                for g in range(groups):
                    nearest[g] = min(nearest[g], a[g])
                    nearest_there[g] = min(nearest_there[g], b[g])
        out[row], out[other] = _mean_root(nearest), _mean_root(nearest_there)


@kernel(MATRIX, MATRIX, WHOLE, returns=types.float64[::1])
def nearest_of_each(Z: Floats, references: Floats, groups: int) -> Floats:
    """Return the mean over groups of the distance to the group's nearest reference.

    Reference s · groups + g is number s of group g.  Groups are the lanes of a few rows; of more
    the rows are, a tile of which stays in the nearest cache while the references pass by.
    """
    n, m = Z.shape[1], references.shape[1]
    out = np.zeros(n)
    if n < _FEWEST_LANES:
        _row_by_row(Z, references, groups, out)
        return out
    for start in range(0, n, ROWS):
        rows = np.ascontiguousarray(Z[:, start : start + ROWS])
        scores = out[start : start + ROWS]
        for g in range(groups):
            add_nearest(references, g, m, groups, rows, scores)
        for i in range(scores.shape[0]):
            scores[i] /= groups
    return out


@kernel(MATRIX, MATRIX, WHOLE, F64, F64, returns=types.float64[::1])
def hyperspheres(
    Z: Floats, references: Floats, groups: int, radius: Floats, ratio: Floats
) -> Floats:
    """Return the mean over groups of the ratio of the smallest sphere around a row, or 1.

    Sphere s · groups + g is number s of group g.  Within a group spheres get smaller, so the last
    one that holds the row decides.  ``radius`` is squared.
    """
    n, m = Z.shape[1], references.shape[1]
    out = np.empty(n)
    tile = groups * max(1, TILE // groups)
    here, there = np.empty(tile), np.empty(tile)
    value, value_there = np.empty(groups), np.empty(groups)
    for row in range(0, n, 2):
        other = min(row + 1, n - 1)
        value[:] = 1.0
        value_there[:] = 1.0
        for first in range(0, m, tile):
            size = min(tile, m - first)
            squared_distances(Z, row, other, references, first, here[:size], there[:size])
            for begin in range(0, size, groups):
                end = begin + groups
                a, b = here[begin:end], there[begin:end]
                rim = radius[first + begin : first + end]
                inside = ratio[first + begin : first + end]
                for g in range(groups):
                    value[g] = inside[g] if a[g] <= rim[g] else value[g]
                    value_there[g] = inside[g] if b[g] <= rim[g] else value_there[g]
        out[row], out[other] = _mean(value), _mean(value_there)
    return out
