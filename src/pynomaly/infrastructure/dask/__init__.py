"""Scoring on a Dask cluster."""

from __future__ import annotations

from pynomaly.infrastructure.dask.compute import DaskCompute

__all__ = ["DaskCompute"]
