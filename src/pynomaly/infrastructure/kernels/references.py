"""Local outlier factors and support vectors: detectors that keep many rows as references."""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numpy.typing import NDArray

from pynomaly.infrastructure.kernels._elementary import exp
from pynomaly.infrastructure.kernels._jit import F64, MATRIX, NUMBER, WHOLE, fma, inlined, kernel
from pynomaly.infrastructure.kernels._nearest import TILE, search, squared_distances

__all__ = ["local_outlier", "support"]

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

_LANES = 64


@kernel(MATRIX, MATRIX, WHOLE, F64, F64, returns=types.float64[::1])
def local_outlier(Z: Floats, references: Floats, k: int, reach: Floats, density: Floats) -> Floats:
    """Return how much denser a row's neighbours lie than the row itself.

    ``reach`` is each reference's distance to its own k-th neighbour, ``density`` its local
    reachability density.
    """
    n = Z.shape[1]
    near, place = np.empty((n, k)), np.empty((n, k), dtype=np.int64)
    search(Z, references, near, place)
    out = np.empty(n)
    for row in range(n):
        distance, dense = 0.0, 0.0
        for slot in range(k):
            distance += max(math.sqrt(near[row, slot]), reach[place[row, slot]])
            dense += density[place[row, slot]]
        # 1e-10 as in scikit-learn, for rows with more than k duplicates.
        out[row] = (dense / k) * (distance / k + 1e-10)
    return out


@inlined
def _add(squared: Floats, weights: Floats, gamma: float, lanes: Floats) -> None:
    for begin in range(0, squared.shape[0], _LANES):
        block, weight = squared[begin : begin + _LANES], weights[begin : begin + _LANES]
        for r in range(block.shape[0]):
            lanes[r] = fma(weight[r], exp(-gamma * block[r]), lanes[r])


@kernel(MATRIX, MATRIX, F64, NUMBER, NUMBER, returns=types.float64[::1])
def support(
    Z: Floats, references: Floats, weights: Floats, gamma: float, intercept: float
) -> Floats:
    """Return −(Σ weight · exp(−gamma · squared distance) + intercept) over support vectors."""
    n, m = Z.shape[1], references.shape[1]
    out = np.empty(n)
    here, there = np.empty(TILE), np.empty(TILE)
    lanes = np.zeros((n, _LANES))  # as many sums, added up at the end: always in this order
    for first in range(0, m, TILE):
        size = min(TILE, m - first)
        for row in range(0, n, 2):
            other = min(row + 1, n - 1)
            squared_distances(Z, row, other, references, first, here[:size], there[:size])
            _add(here[:size], weights[first : first + size], gamma, lanes[row])
            if other > row:
                _add(there[:size], weights[first : first + size], gamma, lanes[other])
    for row in range(n):
        total = 0.0
        for lane in lanes[row]:
            total += lane
        out[row] = -(total + intercept)
    return out
