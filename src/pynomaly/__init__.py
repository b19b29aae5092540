"""Pynomaly: MLOps for anomaly detection on tables."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("pynomaly-platform")
