"""Distances to many references: neighbours, subsamples, hyperspheres, support vectors.

References are the lanes and are taken a tile at a time, so that they stay in a near cache while
two rows at once pass by; one row alone is as fast as a row of a batch.
"""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numpy.typing import NDArray

from pynomaly.infrastructure.kernels._elementary import exp
from pynomaly.infrastructure.kernels._jit import F64, MATRIX, NUMBER, WHOLE, fma, inlined, kernel

__all__ = ["hyperspheres", "local_outlier", "nearest_of_each", "neighbours", "support"]

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

_TILE = 256
_SEARCHED, _GLANCE, _LANES = 2_048, 32, 64


@inlined
def _squared(
    Z: Floats, row: int, other: int, references: Floats, first: int, here: Floats, there: Floats
) -> None:
    """Set squared distances of two rows to references first, first + 1, …; columns in order."""
    d, last = Z.shape[0], first + here.shape[0]
    here[:] = 0.0
    there[:] = 0.0
    j = 0
    while j + 4 <= d:
        a, b, c, e = Z[j, row], Z[j + 1, row], Z[j + 2, row], Z[j + 3, row]
        f, g, h, k = Z[j, other], Z[j + 1, other], Z[j + 2, other], Z[j + 3, other]
        # Slices, because an index that could be negative keeps the loop from becoming vectors.
        p, q = references[j, first:last], references[j + 1, first:last]
        s, t = references[j + 2, first:last], references[j + 3, first:last]
        for r in range(here.shape[0]):
            u, v, w, x = a - p[r], b - q[r], c - s[r], e - t[r]
            here[r] = fma(x, x, fma(w, w, fma(v, v, fma(u, u, here[r]))))
            u, v, w, x = f - p[r], g - q[r], h - s[r], k - t[r]
            there[r] = fma(x, x, fma(w, w, fma(v, v, fma(u, u, there[r]))))
        j += 4
    while j < d:
        a, f = Z[j, row], Z[j, other]
        p = references[j, first:last]
        for r in range(here.shape[0]):
            u, v = a - p[r], f - p[r]
            here[r] = fma(u, u, here[r])
            there[r] = fma(v, v, there[r])
        j += 1


@inlined
def _upper_bound(squared: Floats, k: int, minima: Floats) -> float:
    """Return a number that at least k distances do not exceed, and few more than k.

    It is the k-th smallest of the minima of 64 interleaved parts.
    """
    lanes = minima.shape[0]
    if squared.shape[0] < 4 * lanes or 4 * k > 3 * lanes:
        return math.inf
    minima[:] = np.inf
    for begin in range(0, squared.shape[0] - lanes + 1, lanes):
        block = squared[begin : begin + lanes]
        for lane in range(lanes):
            minima[lane] = min(minima[lane], block[lane])
    bound = math.inf
    for lane in range(lanes):
        smallest, rank = minima[lane], 0
        for other in range(lanes):
            rank += int(minima[other] <= smallest)
        bound = min(bound, smallest) if rank >= k else bound
    return bound


@inlined
def _insert(
    squared: Floats, first: int, near: Floats, place: Whole, minima: Floats,
    closer: NDArray[np.uint64],
) -> None:  # fmt: skip
    """Keep the k smallest, in order; of equals the earlier reference stays.

    Nearly everything is done without branches that depend on the data, which a processor would
    guess wrong.
    """
    k = near.shape[0]
    bound = near[k - 1]
    if first == 0:
        bound = _upper_bound(squared, k, minima)
    for begin in range(0, squared.shape[0], _GLANCE):
        block = squared[begin : begin + _GLANCE]
        count = 0
        for r in range(block.shape[0]):
            count += int(block[r] <= bound)
        if count == 0:
            continue
        hits = np.uint64(0)
        for r in range(block.shape[0]):
            closer[hits] = r
            hits += np.uint64(block[r] <= bound)
        for hit in closer[:hits]:
            candidate = block[hit]
            if candidate < near[k - 1]:
                slot = k - 1
                while slot > 0 and near[slot - 1] > candidate:
                    near[slot] = near[slot - 1]
                    place[slot] = place[slot - 1]
                    slot -= 1
                near[slot] = candidate
                place[slot] = first + begin + np.int64(hit)


@inlined
def _search(Z: Floats, references: Floats, near: Floats, place: Whole) -> None:
    """Set squared distances and numbers of each row's nearest references, nearest first."""
    n, m = Z.shape[1], references.shape[1]
    here, there = np.empty(_SEARCHED), np.empty(_SEARCHED)
    minima, closer = np.empty(_LANES), np.empty(_GLANCE, dtype=np.uint64)
    near[:] = np.inf
    place[:] = 0
    for first in range(0, m, _SEARCHED):
        size = min(_SEARCHED, m - first)
        for row in range(0, n, 2):
            other = min(row + 1, n - 1)
            _squared(Z, row, other, references, first, here[:size], there[:size])
            _insert(here[:size], first, near[row], place[row], minima, closer)
            if other > row:
                _insert(there[:size], first, near[other], place[other], minima, closer)


@kernel(MATRIX, MATRIX, WHOLE, WHOLE, returns=types.float64[::1])
def neighbours(Z: Floats, references: Floats, k: int, method: int) -> Floats:
    """Return the mean (0), largest (1) or median (2) distance to the k nearest references."""
    n = Z.shape[1]
    near, place = np.empty((n, k)), np.empty((n, k), dtype=np.int64)
    _search(Z, references, near, place)
    out = np.empty(n)
    for row in range(n):
        if method == 1:
            out[row] = math.sqrt(near[row, k - 1])
        elif method == 2:
            out[row] = 0.5 * (math.sqrt(near[row, (k - 1) // 2]) + math.sqrt(near[row, k // 2]))
        else:
            total = 0.0
            for slot in range(k):
                total += math.sqrt(near[row, slot])
            out[row] = total / k
    return out


@kernel(MATRIX, MATRIX, WHOLE, F64, F64, returns=types.float64[::1])
def local_outlier(Z: Floats, references: Floats, k: int, reach: Floats, density: Floats) -> Floats:
    """Return how much denser a row's neighbours lie than the row itself.

    ``reach`` is each reference's distance to its own k-th neighbour, ``density`` its local
    reachability density.
    """
    n = Z.shape[1]
    near, place = np.empty((n, k)), np.empty((n, k), dtype=np.int64)
    _search(Z, references, near, place)
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


@kernel(MATRIX, MATRIX, WHOLE, returns=types.float64[::1])
def nearest_of_each(Z: Floats, references: Floats, groups: int) -> Floats:
    """Return the mean over groups of the distance to the group's nearest reference.

    Reference s · groups + g is number s of group g: groups are lanes.
    """
    n, m = Z.shape[1], references.shape[1]
    out = np.empty(n)
    tile = groups * max(1, _TILE // groups)
    here, there = np.empty(tile), np.empty(tile)
    nearest, nearest_there = np.empty(groups), np.empty(groups)
    for row in range(0, n, 2):
        other = min(row + 1, n - 1)
        nearest[:] = np.inf
        nearest_there[:] = np.inf
        for first in range(0, m, tile):
            size = min(tile, m - first)
            _squared(Z, row, other, references, first, here[:size], there[:size])
            for begin in range(0, size, groups):
                a, b = here[begin : begin + groups], there[begin : begin + groups]
                for g in range(groups):
                    nearest[g] = min(nearest[g], a[g])
                    nearest_there[g] = min(nearest_there[g], b[g])
        out[row], out[other] = _mean_root(nearest), _mean_root(nearest_there)
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
    here, there = np.empty(groups), np.empty(groups)
    value, value_there = np.empty(groups), np.empty(groups)
    for row in range(0, n, 2):
        other = min(row + 1, n - 1)
        value[:] = 1.0
        value_there[:] = 1.0
        for first in range(0, m, groups):
            _squared(Z, row, other, references, first, here, there)
            rim, inside = radius[first : first + groups], ratio[first : first + groups]
            for g in range(groups):
                value[g] = inside[g] if here[g] <= rim[g] else value[g]
                value_there[g] = inside[g] if there[g] <= rim[g] else value_there[g]
        out[row], out[other] = _mean(value), _mean(value_there)
    return out


@inlined
def _add(squared: Floats, weights: Floats, gamma: float, lanes: Floats) -> None:
    for r in range(squared.shape[0]):
        lanes[r] = fma(weights[r], exp(-gamma * squared[r]), lanes[r])


@kernel(MATRIX, MATRIX, F64, NUMBER, NUMBER, returns=types.float64[::1])
def support(
    Z: Floats, references: Floats, weights: Floats, gamma: float, intercept: float
) -> Floats:
    """Return −(Σ weight · exp(−gamma · squared distance) + intercept) over support vectors."""
    n, m = Z.shape[1], references.shape[1]
    out = np.empty(n)
    here, there = np.empty(_TILE), np.empty(_TILE)
    lanes = np.zeros((n, _TILE))  # as many sums, added up at the end: always in this order
    for first in range(0, m, _TILE):
        size = min(_TILE, m - first)
        for row in range(0, n, 2):
            other = min(row + 1, n - 1)
            _squared(Z, row, other, references, first, here[:size], there[:size])
            _add(here[:size], weights[first : first + size], gamma, lanes[row])
            if other > row:
                _add(there[:size], weights[first : first + size], gamma, lanes[other])
    for row in range(n):
        total = 0.0
        for lane in lanes[row]:
            total += lane
        out[row] = -(total + intercept)
    return out
