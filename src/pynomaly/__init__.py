"""Pynomaly: anomaly detection on tables, from three lines of Python to a governed pipeline.

>>> import pynomaly as pn
>>> result = pn.detect("payments.csv")                               # doctest: +SKIP
>>> result.top(20); result.to_frame(); result.report("report.html")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pynomaly.presentation.python.detection import DetectionResult, detect
    from pynomaly.presentation.python.estimator import AnomalyDetector

__version__: str

__all__ = ["AnomalyDetector", "DetectionResult", "__version__", "detect"]

_HOMES = {
    "AnomalyDetector": "pynomaly.presentation.python.estimator",
    "DetectionResult": "pynomaly.presentation.python.detection",
    "__version__": "pynomaly.version",
    "detect": "pynomaly.presentation.python.detection",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: ``import pynomaly`` alone costs nothing."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
