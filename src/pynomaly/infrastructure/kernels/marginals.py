"""Tables over single numbers: columns for ECOD, COPOD and HBOS, projections for LODA."""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from pynomaly.infrastructure.kernels._jit import F64, I64, MATRIX, fma, inlined, kernel, table

__all__ = ["buckets", "projections", "steps"]

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

_TILE = 128
_FEW = 24  # thresholds that are faster counted than searched
_BUCKET = 4  # thresholds in one on average
_OUTER = 500  # one of so many thresholds at either end does not widen the buckets


@inlined
def _climb(numbers: Floats, values: Floats, halvings: int, slot: NDArray[np.uint64]) -> None:
    """Raise slot to how many of the ascending values lie below each number.

    It holds less than two to the power of halvings too few.  All rows take the same steps.
    """
    one, every = np.uint64(1), np.uint64(values.shape[0])
    for halving in range(halvings - 1, -1, -1):
        bit = np.uint64(halving)  # unsigned: an index that could be negative costs a step more
        for i in range(slot.shape[0]):
            # Summed, not chosen: of a choice compilers make a branch on some processors, which
            # guess wrong every other time.
            further = slot[i] + (one << bit)
            reached = values[min(further, every) - one] < numbers[i]
            slot[i] += np.uint64(reached & (further <= every)) << bit


@inlined
def _below(numbers: Floats, values: Floats, halvings: int, slot: NDArray[np.uint64]) -> None:
    """Set slot to how many of the ascending values, fewer than 2 ** halvings, are below each number."""
    slot[:] = 0
    if values.shape[0] > _FEW:
        _climb(numbers, values, halvings, slot)
        return
    for value in values:
        for i in range(slot.shape[0]):
            slot[i] += np.uint64(value < numbers[i])


@inlined
def _halvings(most: int) -> int:
    """Return how many halvings find one of so many places and one more."""
    count = 0
    while (1 << count) <= most:
        count += 1
    return count


@inlined
def _bucket(number: float, low: float, per: float, last: float) -> np.uint64:
    """Return the bucket of a number: never less than that of a smaller one."""
    place = (number - low) * per
    return np.uint64(min(place, last)) if place > 0.0 else np.uint64(0)


_WHOLE, _NUMBERS = types.int64[::1], types.float64[::1]
_FOUND = types.Tuple((_WHOLE, types.uint32[::1], _NUMBERS, _NUMBERS, _WHOLE))  # type: ignore[no-untyped-call]


@kernel(I64, F64, returns=_FOUND)
def buckets(
    starts: Whole, values: Floats
) -> tuple[Whole, NDArray[np.uint32], Floats, Floats, Whole]:
    """Return where to begin the search among the ascending thresholds of every column.

    The range of a column is cut into buckets of equal width.  Returns where the buckets of each
    column begin (d + 1), how many thresholds are below each bucket, the low end and the buckets per
    unit of each column, and how many halvings the fullest bucket takes.
    """
    d = starts.shape[0] - 1
    begins = np.zeros(d + 1, dtype=np.int64)
    for j in range(d):
        begins[j + 1] = begins[j] + max(1, (starts[j + 1] - starts[j]) // _BUCKET)
    below = np.zeros(begins[d], dtype=np.uint32)
    low, per, halvings = np.empty(d), np.empty(d), np.empty(d, dtype=np.int64)
    for j in range(d):
        thresholds, near = values[starts[j] : starts[j + 1]], below[begins[j] : begins[j + 1]]
        u, last = thresholds.shape[0], float(near.shape[0] - 1)
        low[j] = thresholds[u // _OUTER]
        # Infinite where all are equal, zero where their range is: one bucket then has them all.
        per[j] = near.shape[0] / (thresholds[u - 1 - u // _OUTER] - low[j])
        for i in range(u):
            near[_bucket(thresholds[i], low[j], per[j], last)] += np.uint32(1)
        before = most = np.uint32(0)
        for k in range(near.shape[0]):
            count = near[k]
            near[k] = before
            before += count
            most = max(most, count)
        halvings[j] = _halvings(int(most))
    return begins, below, low, per, halvings


@kernel(
    MATRIX, I64, I64, F64, F64, I64, table(types.uint32), F64, F64, I64,
    returns=types.float64[::1],
)  # fmt: skip
def steps(
    X: Floats,
    columns: Whole,
    starts: Whole,
    values: Floats,
    heights: Floats,
    begins: Whole,
    below: NDArray[np.uint32],
    low: Floats,
    per: Floats,
    halvings: Whole,
) -> Floats:
    """Return the sum over columns of a step function of (d, n) numbers.

    Column j has u ascending thresholds at ``starts[j]:starts[j + 1]`` and 2u + 1 heights: odd ones
    for a number equal to a threshold, even ones for the gaps between them.  What comes after the
    heights are the :func:`buckets` of the thresholds.
    """
    n, d = X.shape[1], columns.shape[0]
    out = np.zeros(n)
    places = np.empty(_TILE, dtype=np.uint64)
    for j in range(d):  # the outer loop: the tables of a column stay in a near cache
        first, last, lane = starts[j], starts[j + 1], X[columns[j]]
        thresholds = values[first:last]
        height = heights[2 * first + j : 2 * last + j + 1]
        near = below[begins[j] : begins[j + 1]]
        outermost, top = float(near.shape[0] - 1), np.uint64(last - first - 1)
        for start in range(0, n, _TILE):
            size = min(_TILE, n - start)
            numbers, scores = lane[start : start + size], out[start : start + size]
            slot = places[:size]
            if last - first <= _FEW:
                _below(numbers, thresholds, 0, slot)
            else:
                for i in range(size):
                    slot[i] = np.uint64(near[_bucket(numbers[i], low[j], per[j], outermost)])
                _climb(numbers, thresholds, halvings[j], slot)
            for i in range(size):
                equal = np.uint64(thresholds[min(slot[i], top)] == numbers[i])
                scores[i] += height[slot[i] + slot[i] + equal]
    return out


@kernel(MATRIX, table(types.int64, 2), MATRIX, MATRIX, MATRIX, returns=types.float64[::1])
def projections(
    Z: Floats, columns: Whole, weights: Floats, limits: Floats, heights: Floats
) -> Floats:
    """Return the sum over sparse projections of the height of the row's bin.

    ``Z`` is (d, n); ``columns`` and ``weights`` are (cuts, columns per cut), ``limits``
    (cuts, bins − 1) and ``heights`` (cuts, bins).
    """
    n = Z.shape[1]
    cuts, width = columns.shape
    out = np.zeros(n)
    halvings = _halvings(limits.shape[1])
    lanes, places = np.empty(_TILE), np.empty(_TILE, dtype=np.uint64)
    for start in range(0, n, _TILE):
        size = min(_TILE, n - start)
        numbers, slot, scores = lanes[:size], places[:size], out[start : start + size]
        for c in range(cuts):
            numbers[:] = 0.0
            for k in range(width):
                row, weight = Z[columns[c, k], start : start + size], weights[c, k]
                for i in range(size):
                    numbers[i] = fma(row[i], weight, numbers[i])
            _below(numbers, limits[c], halvings, slot)
            height = heights[c]
            for i in range(size):
                scores[i] += height[slot[i]]
    return out
