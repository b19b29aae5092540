"""Robust scaling, the first step of most members."""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from pynomaly.infrastructure.kernels._elementary import asinh, exp, log
from pynomaly.infrastructure.kernels._jit import F64, I64, MATRIX, WHOLE, bits, inlined, kernel

__all__ = ["beyond", "lanes", "robust", "robust_columns"]

Floats = NDArray[np.float64]

_TILE = 64
_EXPONENT = 0x7FF << 52  # its bits are all set in NaN and infinity, and in no other number

LARGEST = 14.508657738524219  # asinh of a million: deviations beyond are as good as that


@inlined
def _squash(ratio: float) -> float:
    # Infinity would turn into NaN further on.
    return asinh(min(max(ratio, -1e300), 1e300))


@kernel(MATRIX, returns=types.float64[:, ::1])
def lanes(X: Floats) -> Floats:
    """Return rows (n, d) as lanes (d, n), along which all that follows runs."""
    n, d = X.shape
    out = np.empty((d, n))
    for start in range(0, n, _TILE):  # rows of a tile stay in the first-level cache
        size = min(_TILE, n - start)
        rows = X[start : start + size]
        for j in range(d):
            lane = out[j, start : start + size]
            for i in range(size):
                lane[i] = rows[i, j]
    return out


@inlined
def _robust_lane(lane: Floats, center: float, scale: float, out: Floats) -> None:
    factor = 1.0 / scale
    if factor > 1e300:  # the inverse of a tiny scale overflows
        for i in range(out.shape[0]):
            out[i] = _squash((lane[i] - center) / scale)
    else:
        for i in range(out.shape[0]):
            out[i] = _squash((lane[i] - center) * factor)


@kernel(MATRIX, I64, F64, F64, returns=types.float64[:, ::1])
def robust(X: Floats, columns: NDArray[np.int64], center: Floats, scale: Floats) -> Floats:
    """Return asinh((x − center) / scale) of the chosen columns of (d, n), (len(columns), n)."""
    out = np.empty((columns.shape[0], X.shape[1]))
    for j in range(columns.shape[0]):
        _robust_lane(X[columns[j]], center[j], scale[j], out[j])
    return out


_CHECKED = types.Tuple((types.float64[:, ::1], types.boolean))  # type: ignore[no-untyped-call]


@kernel(F64, WHOLE, WHOLE, WHOLE, I64, F64, F64, returns=_CHECKED)
def robust_columns(
    memory: Floats,
    apart: int,
    start: int,
    rows: int,
    columns: NDArray[np.int64],
    center: Floats,
    scale: Floats,
) -> tuple[Floats, bool]:
    """Return what :func:`robust` does of rows in contiguous columns, and whether they are finite.

    Args:
        memory: Of the whole matrix.
        apart: Numbers from the beginning of a column to that of the next.
        start: First row.
        rows: How many.
        columns: (k,) chosen.
        center: (k,).
        scale: (k,).
    """
    out = np.empty((columns.shape[0], rows))
    infinite = np.int64(0)
    for j in range(columns.shape[0]):
        first = columns[j] * apart + start
        lane = memory[first : first + rows]
        _robust_lane(lane, center[j], scale[j], out[j])
        for i in range(rows):
            infinite |= np.int64((bits(lane[i]) & _EXPONENT) == _EXPONENT)
    return out, infinite == 0


@kernel(MATRIX, F64, F64, F64, F64, F64, returns=types.float64[::1])
def beyond(
    Z: Floats, shares: Floats, low: Floats, falls: Floats, high: Floats, rises: Floats
) -> Floats:
    """Return the logarithm, at least 0, of how many times too far out (d, n) rows are.

    Of each deviation that is, whichever is most, its size times a share, or how far it is below
    ``low`` or above ``high``, times a slope.
    """
    out = np.ones(Z.shape[1])
    for j in range(Z.shape[0]):
        row, share, bottom, fall, top, rise = Z[j], shares[j], low[j], falls[j], high[j], rises[j]
        for i in range(row.shape[0]):
            grown = exp(min(max(row[i], -LARGEST), LARGEST))
            deviation = 0.5 * (grown - 1.0 / grown)
            farther = max((bottom - deviation) * fall, (deviation - top) * rise)
            out[i] = max(out[i], abs(deviation) * share, farther)
    for i in range(out.shape[0]):
        out[i] = log(out[i])
    return out
