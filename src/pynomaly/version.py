"""The installed version; apart from the package's face, which everything may import."""

from __future__ import annotations

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("pynomaly-platform")
