"""Gaussian densities and Mahalanobis distances; rows are the lanes."""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from pynomaly.infrastructure.kernels._elementary import exp, log
from pynomaly.infrastructure.kernels._jit import F64, MATRIX, fma, inlined, kernel, table

__all__ = ["mahalanobis", "mixture", "project"]

Floats = NDArray[np.float64]

_TILE = 128  # rows whose gaps stay in the first-level cache


@inlined
def _combine(gaps: Floats, depth: int, weights: Floats, c: int, out: Floats) -> None:
    """Set out to Σⱼ gaps[j] · weights[j, c] over j < depth, added in order."""
    out[:] = 0.0
    j = 0
    while j + 4 <= depth:
        a, b = weights[j, c], weights[j + 1, c]
        e, f = weights[j + 2, c], weights[j + 3, c]
        p, q, s, t = gaps[j], gaps[j + 1], gaps[j + 2], gaps[j + 3]
        for i in range(out.shape[0]):
            out[i] = fma(t[i], f, fma(s[i], e, fma(q[i], b, fma(p[i], a, out[i]))))
        j += 4
    while j < depth:
        a, p = weights[j, c], gaps[j]
        for i in range(out.shape[0]):
            out[i] = fma(p[i], a, out[i])
        j += 1


@inlined
def _subtract(Z: Floats, start: int, size: int, mean: Floats, gaps: Floats) -> None:
    for j in range(mean.shape[0]):
        middle, row, into = mean[j], Z[j, start : start + size], gaps[j]
        for i in range(size):
            into[i] = row[i] - middle


@inlined
def _squared_length(gaps: Floats, factor: Floats, part: Floats, out: Floats) -> None:
    """Set out to the squared length of gaps · factor, factor upper triangular."""
    out[:] = 0.0
    for c in range(factor.shape[1]):
        _combine(gaps, c + 1, factor, c, part)
        for i in range(out.shape[0]):
            out[i] = fma(part[i], part[i], out[i])


@kernel(MATRIX, F64, MATRIX, returns=types.float64[:, ::1])
def project(Z: Floats, mean: Floats, projection: Floats) -> Floats:
    """Return (z − mean) · projection of (d, n) rows, (columns of projection, n)."""
    d, n = Z.shape
    out = np.empty((projection.shape[1], n))
    gaps = np.empty((d, _TILE))
    for start in range(0, n, _TILE):
        size = min(_TILE, n - start)
        _subtract(Z, start, size, mean, gaps)
        for c in range(projection.shape[1]):
            _combine(gaps, d, projection, c, out[c, start : start + size])
    return out


@kernel(MATRIX, F64, MATRIX, returns=types.float64[::1])
def mahalanobis(Z: Floats, mean: Floats, factor: Floats) -> Floats:
    """Return the squared length of (z − mean) · factor, where factor · factorᵀ = precision.

    ``Z`` is (d, n), ``factor`` upper triangular.
    """
    d, n = Z.shape
    out = np.empty(n)
    gaps = np.empty((d, _TILE))
    part = np.empty(_TILE)
    for start in range(0, n, _TILE):
        size = min(_TILE, n - start)
        _subtract(Z, start, size, mean, gaps)
        _squared_length(gaps, factor, part[:size], out[start : start + size])
    return out


@kernel(MATRIX, MATRIX, table(types.float64, 3), F64, returns=types.float64[::1])
def mixture(Z: Floats, means: Floats, factors: Floats, constants: Floats) -> Floats:
    """Return minus the log density of a Gaussian mixture at (d, n) rows.

    ``constants`` hold log weight + log determinant of the factor − d/2 log 2π.
    """
    d, n = Z.shape
    parts = means.shape[0]
    out = np.empty(n)
    gaps = np.empty((d, _TILE))
    part, logs, peaks = np.empty(_TILE), np.empty((parts, _TILE)), np.empty(_TILE)
    for start in range(0, n, _TILE):
        size = min(_TILE, n - start)
        peak, scores = peaks[:size], out[start : start + size]
        peak[:] = -np.inf
        for p in range(parts):
            _subtract(Z, start, size, means[p], gaps)
            lengths, constant = logs[p, :size], constants[p]
            _squared_length(gaps, factors[p], part[:size], lengths)
            for i in range(size):
                lengths[i] = fma(-0.5, lengths[i], constant)
                peak[i] = max(peak[i], lengths[i])
        scores[:] = 0.0
        for p in range(parts):
            lengths = logs[p, :size]
            for i in range(size):
                scores[i] += exp(lengths[i] - peak[i])
        for i in range(size):
            scores[i] = -(peak[i] + log(scores[i]))
    return out
