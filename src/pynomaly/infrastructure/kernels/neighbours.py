"""Distances to the nearest references."""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numpy.typing import NDArray

from pynomaly.infrastructure.kernels._jit import MATRIX, WHOLE, inlined, kernel
from pynomaly.infrastructure.kernels._nearest import ROWS, search, squared_distances

__all__ = ["neighbours"]

Floats = NDArray[np.float64]

_MOST_SIFTED, _FEWEST_LANES = 20 * 1_024, 16  # references · neighbours, and rows


@inlined
def _sift(near: Floats, first: Floats, second: Floats) -> None:
    """Keep each row's smallest numbers, in order, of those held and two more.

    Every number passes all places: more work than looking where it belongs, but for eight rows at
    once and without a branch that a processor would guess wrong.
    """
    for slot in range(0, near.shape[0], 4):
        p, q, s, t = near[slot], near[slot + 1], near[slot + 2], near[slot + 3]
        for i in range(first.shape[0]):
            a, b = first[i], second[i]
            p[i], a, b = _three(p[i], a, b)
            q[i], a, b = _three(q[i], a, b)
            s[i], a, b = _three(s[i], a, b)
            t[i], first[i], second[i] = _three(t[i], a, b)


@inlined
def _three(held: float, a: float, b: float) -> tuple[float, float, float]:
    low = a if a < held else held
    a = held if a < held else a
    smallest = b if b < low else low
    b = low if b < low else b
    return smallest, a, b


@inlined
def _sifted(Z: Floats, references: Floats, near: Floats) -> None:
    """Set squared distances (k, n) of n rows' nearest references, nearest first."""
    k, n = near.shape
    m = references.shape[1]
    places = np.empty(((k + 3) // 4 * 4, n))
    places[:] = np.inf
    first, second = np.empty(n), np.empty(n)
    for r in range(0, m, 2):
        squared_distances(references, r, min(r + 1, m - 1), Z, 0, first, second)
        if r + 1 == m:
            second[:] = np.inf
        _sift(places, first, second)
    near[:] = places[:k]


@inlined
def _searched(Z: Floats, references: Floats, near: Floats) -> None:
    """Set the same, for few rows, many references or many neighbours."""
    k, n = near.shape
    found, place = np.empty((n, k)), np.empty((n, k), dtype=np.int64)
    search(Z, references, found, place)
    for slot in range(k):
        for row in range(n):
            near[slot, row] = found[row, slot]


@kernel(MATRIX, MATRIX, WHOLE, WHOLE, returns=types.float64[::1])
def neighbours(Z: Floats, references: Floats, k: int, method: int) -> Floats:
    """Return the mean (0), largest (1) or median (2) distance to the k nearest references."""
    n = Z.shape[1]
    near = np.empty((k, n))
    if k * references.shape[1] > _MOST_SIFTED or n < _FEWEST_LANES:
        _searched(Z, references, near)
    else:
        for start in range(0, n, ROWS):
            rows = np.ascontiguousarray(Z[:, start : start + ROWS])
            found = np.empty((k, rows.shape[1]))
            _sifted(rows, references, found)
            near[:, start : start + ROWS] = found
    out = np.zeros(n)
    if method == 1:
        for row in range(n):
            out[row] = math.sqrt(near[k - 1, row])
    elif method == 2:
        for row in range(n):
            out[row] = 0.5 * (math.sqrt(near[(k - 1) // 2, row]) + math.sqrt(near[k // 2, row]))
    else:
        for slot in range(k):
            for row in range(n):
                out[row] += math.sqrt(near[slot, row])
        for row in range(n):
            out[row] /= k
    return out
