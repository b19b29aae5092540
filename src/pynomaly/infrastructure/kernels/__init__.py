"""Compiled scoring of frozen detectors: numba, one row at a time, no BLAS."""

from __future__ import annotations

from pynomaly.infrastructure.kernels.frozen import FrozenKernels

__all__ = ["FrozenKernels"]
