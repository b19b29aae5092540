"""Gaussian densities and Mahalanobis distances."""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numpy.typing import NDArray

from pynomaly.infrastructure.kernels._jit import CUBE, F64, MATRIX, kernel

__all__ = ["mahalanobis", "mixture", "project"]

Floats = NDArray[np.float64]


@kernel(MATRIX, F64, MATRIX, returns=types.float64[:, ::1])
def project(Z: Floats, mean: Floats, projection: Floats) -> Floats:
    """Return (z − mean) · projection, (n, columns of projection)."""
    n, d = Z.shape
    out = np.zeros((n, projection.shape[1]))
    for i in range(n):
        for j in range(d):
            gap = Z[i, j] - mean[j]
            for c in range(projection.shape[1]):
                out[i, c] += gap * projection[j, c]
    return out


@kernel(MATRIX, F64, MATRIX, returns=types.float64[::1])
def mahalanobis(Z: Floats, mean: Floats, factor: Floats) -> Floats:
    """Return the squared length of (z − mean) · factor, where factor · factorᵀ = precision."""
    n, d = Z.shape
    out = np.empty(n)
    white = np.empty(d)
    for i in range(n):
        white[:] = 0.0
        for j in range(d):
            gap = Z[i, j] - mean[j]
            for c in range(d):
                white[c] += gap * factor[j, c]
        total = 0.0
        for c in range(d):
            total += white[c] * white[c]
        out[i] = total
    return out


@kernel(MATRIX, MATRIX, CUBE, F64, returns=types.float64[::1])
def mixture(Z: Floats, means: Floats, factors: Floats, constants: Floats) -> Floats:
    """Return minus the log density of a Gaussian mixture.

    ``constants`` hold log weight + log determinant of the factor − d/2 log 2π.
    """
    n, d = Z.shape
    parts = means.shape[0]
    out = np.empty(n)
    white = np.empty(d)
    logs = np.empty(parts)
    for i in range(n):
        peak = -np.inf
        for p in range(parts):
            white[:] = 0.0
            for j in range(d):
                gap = Z[i, j] - means[p, j]
                # Factors are upper triangular.
                for c in range(j, d):
                    white[c] += gap * factors[p, j, c]
            total = 0.0
            for c in range(d):
                total += white[c] * white[c]
            logs[p] = constants[p] - 0.5 * total
            peak = max(peak, logs[p])
        total = 0.0
        for p in range(parts):
            total += math.exp(logs[p] - peak)
        out[i] = -(peak + math.log(total))
    return out
