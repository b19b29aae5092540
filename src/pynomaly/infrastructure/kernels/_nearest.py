"""Squared distances to many references, and the search for the nearest: parts of kernels.

References are the lanes and are taken a tile at a time, so that they stay in a near cache while
two rows at once pass by; one row alone is as fast as a row of a batch.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pynomaly.infrastructure.kernels._jit import fma, inlined

__all__ = ["ROWS", "TILE", "add_nearest", "search", "squared_distances"]

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

TILE = 2_048  # references
ROWS = 192  # as lanes, and copied: columns of a chunk lie a power of two apart and would drive each
# other out of the nearest cache
_GLANCE = 32  # candidates looked at together: most hold nothing near enough


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
def add_nearest(
    references: Floats, begin: int, stop: int, step: int, rows: Floats, scores: Floats
) -> None:
    """Add to each row's score its distance to the nearest of every ``step``-th reference from ``begin``."""
    size = rows.shape[1]
    # Apart, so that the compiler can tell that they do not overlap.
    first, second, nearest = np.empty(size), np.empty(size), np.empty(size)
    nearest[:] = np.inf
    for r in range(begin, stop, 2 * step):
        other = r + step if r + step < stop else r
        squared_distances(references, r, other, rows, 0, first, second)
        for i in range(size):
            nearest[i] = min(nearest[i], first[i], second[i])
    for i in range(size):
        scores[i] += math.sqrt(nearest[i])


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
    here, there = np.empty(TILE), np.empty(TILE)
    minima, closer = np.empty(TILE // 2), np.empty(_GLANCE, dtype=np.uint64)
    near[:] = np.inf
    place[:] = 0
    for first in range(0, m, TILE):
        size = min(TILE, m - first)
        for row in range(0, n, 2):
            other = min(row + 1, n - 1)
            squared_distances(Z, row, other, references, first, here[:size], there[:size])
            _insert(here[:size], first, near[row], place[row], minima, closer)
            if other > row:
                _insert(there[:size], first, near[other], place[other], minima, closer)
