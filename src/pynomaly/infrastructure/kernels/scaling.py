"""Robust scaling, the first step of most members."""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from pynomaly.infrastructure.kernels._elementary import asinh
from pynomaly.infrastructure.kernels._jit import F64, I64, MATRIX, kernel

__all__ = ["robust"]

Floats = NDArray[np.float64]


@kernel(MATRIX, I64, F64, F64, returns=types.float64[:, ::1])
def robust(X: Floats, columns: NDArray[np.int64], center: Floats, scale: Floats) -> Floats:
    """Return asinh((x − center) / scale) of the chosen columns, (len(columns), n).

    Rows become lanes: what follows runs along them.
    """
    n, d = X.shape[0], columns.shape[0]
    out = np.empty((d, n))
    for j in range(d):
        column, middle, spread, lanes = columns[j], center[j], scale[j], out[j]
        for i in range(n):
            lanes[i] = X[i, column]
        for i in range(n):
            ratio = (lanes[i] - middle) / spread
            # A tiny scale may overflow; infinity would turn into NaN further on.
            lanes[i] = asinh(min(max(ratio, -1e300), 1e300))
    return out
