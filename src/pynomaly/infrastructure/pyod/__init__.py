"""Fitting with PyOD and scikit-learn, and freezing what they learned to arrays."""

from __future__ import annotations

from pynomaly.infrastructure.pyod.fitter import PyodFitter

__all__ = ["PyodFitter"]
