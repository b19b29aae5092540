"""Distances to many references: neighbourhoods, subsamples, hyperspheres, support vectors.

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

__all__ = [
    "hyperspheres",
    "local_outlier",
    "nearest_of_each",
    "search",
    "squared_distances",
    "support",
]

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

_TILE, _GLANCE, _LANES = 2_048, 32, 64


@inlined
def squared_distances(
    Z: Floats, row: int, other: int, references: Floats, first: int, here: Floats, there: Floats
) -> None:
    """Set squared distances of two rows to references first, first + 1, …; columns in order.

    Rows and references may change places, bit for bit.
    """
    d, last = Z.shape[0], first + here.shape[0]
    here[:] = 0.0
    there[:] = 0.0
    j = 0
    # Eight columns at a time, so that sums are loaded and stored once for sixteen additions.
    while j + 8 <= d:
        a0, a1, a2, a3 = Z[j, row], Z[j + 1, row], Z[j + 2, row], Z[j + 3, row]
        a4, a5, a6, a7 = Z[j + 4, row], Z[j + 5, row], Z[j + 6, row], Z[j + 7, row]
        b0, b1, b2, b3 = Z[j, other], Z[j + 1, other], Z[j + 2, other], Z[j + 3, other]
        b4, b5, b6, b7 = Z[j + 4, other], Z[j + 5, other], Z[j + 6, other], Z[j + 7, other]
        # Slices, because an index that could be negative keeps the loop from becoming vectors.
        r0, r1 = references[j, first:last], references[j + 1, first:last]
        r2, r3 = references[j + 2, first:last], references[j + 3, first:last]
        r4, r5 = references[j + 4, first:last], references[j + 5, first:last]
        r6, r7 = references[j + 6, first:last], references[j + 7, first:last]
        for r in range(here.shape[0]):
            x0, x1, x2, x3 = r0[r], r1[r], r2[r], r3[r]
            x4, x5, x6, x7 = r4[r], r5[r], r6[r], r7[r]
            total = _add_four(a0 - x0, a1 - x1, a2 - x2, a3 - x3, here[r])
            here[r] = _add_four(a4 - x4, a5 - x5, a6 - x6, a7 - x7, total)
            total = _add_four(b0 - x0, b1 - x1, b2 - x2, b3 - x3, there[r])
            there[r] = _add_four(b4 - x4, b5 - x5, b6 - x6, b7 - x7, total)
        j += 8
    if j + 4 <= d:
        a0, a1, a2, a3 = Z[j, row], Z[j + 1, row], Z[j + 2, row], Z[j + 3, row]
        b0, b1, b2, b3 = Z[j, other], Z[j + 1, other], Z[j + 2, other], Z[j + 3, other]
        r0, r1 = references[j, first:last], references[j + 1, first:last]
        r2, r3 = references[j + 2, first:last], references[j + 3, first:last]
        for r in range(here.shape[0]):
            x0, x1, x2, x3 = r0[r], r1[r], r2[r], r3[r]
            here[r] = _add_four(a0 - x0, a1 - x1, a2 - x2, a3 - x3, here[r])
            there[r] = _add_four(b0 - x0, b1 - x1, b2 - x2, b3 - x3, there[r])
        j += 4
    while j < d:
        a0, b0, r0 = Z[j, row], Z[j, other], references[j, first:last]
        for r in range(here.shape[0]):
            u, v = a0 - r0[r], b0 - r0[r]
            here[r] = fma(u, u, here[r])
            there[r] = fma(v, v, there[r])
        j += 1


@inlined
def _add_four(a: float, b: float, c: float, d: float, total: float) -> float:
    return fma(d, d, fma(c, c, fma(b, b, fma(a, a, total))))


@inlined
def _upper_bound(squared: Floats, k: int, minima: Floats) -> float:
    """Return a number that at least k distances do not exceed, and few more than k.

    Distances are folded in halves, the smaller one of two staying, until about 2k are left; it is
    the k-th smallest of those.
    """
    part = squared.shape[0] // 2
    if part < 2 * k:
        return math.inf
    left, right = squared[:part], squared[part : 2 * part]
    for i in range(part):
        minima[i] = min(left[i], right[i])
    while part // 2 >= 3 * k // 2 and part >= 64:
        part //= 2
        right = minima[part : 2 * part]
        for i in range(part):
            minima[i] = min(minima[i], right[i])
    bound = math.inf
    for smallest in minima[:part]:
        rank = 0
        for i in range(part):
            rank += int(minima[i] <= smallest)
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
    k, zero, one = near.shape[0], np.uint64(0), np.uint64(1)  # unsigned indices are cheaper
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
                slot = np.uint64(k - 1)
                while slot > zero and near[slot - one] > candidate:
                    near[slot] = near[slot - one]
                    place[slot] = place[slot - one]
                    slot -= one
                near[slot] = candidate
                place[slot] = first + begin + np.int64(hit)


@inlined
def search(Z: Floats, references: Floats, near: Floats, place: Whole) -> None:
    """Set squared distances and numbers of each row's nearest references, nearest first."""
    n, m = Z.shape[1], references.shape[1]
    here, there = np.empty(_TILE), np.empty(_TILE)
    minima, closer = np.empty(_TILE // 2), np.empty(_GLANCE, dtype=np.uint64)
    near[:] = np.inf
    place[:] = 0
    for first in range(0, m, _TILE):
        size = min(_TILE, m - first)
        for row in range(0, n, 2):
            other = min(row + 1, n - 1)
            squared_distances(Z, row, other, references, first, here[:size], there[:size])
            _insert(here[:size], first, near[row], place[row], minima, closer)
            if other > row:
                _insert(there[:size], first, near[other], place[other], minima, closer)


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
            squared_distances(Z, row, other, references, first, here[:size], there[:size])
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
    tile = groups * max(1, _TILE // groups)
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
    here, there = np.empty(_TILE), np.empty(_TILE)
    lanes = np.zeros((n, _LANES))  # as many sums, added up at the end: always in this order
    for first in range(0, m, _TILE):
        size = min(_TILE, m - first)
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
