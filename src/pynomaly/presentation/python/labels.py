"""Which ``y`` are labels, and which are none of an outlier detector's business."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["partial_labels"]

Floats = NDArray[np.float64]


def partial_labels(y: Any, rows: int) -> Floats | None:
    """Return labels as 1 = anomaly, 0 = ordinary, NaN = unknown; None where ``y`` holds none.

    A ``y`` of 1 alone is none either: nothing would be left that is ordinary, and where 1 means
    inlier, as scikit-learn has it, it says that there are no anomalies.

    Args:
        y: (n,) anything, or None.
        rows: n.

    Raises:
        ValueError: Not n values, or 1 and −1 alone and mostly 1: that is what scikit-learn's
            outlier detectors predict, where 1 means ordinary.

    >>> partial_labels([1, 0, -1], 3).tolist()
    [1.0, 0.0, nan]
    >>> partial_labels(["ham", "spam", "ham"], 3) is None
    True
    >>> partial_labels([1, 1, 1], 3) is None
    True
    """
    values = None if y is None else _numbers(y)
    if values is None:
        return None
    if values.shape != (rows,):
        raise ValueError(f"y has the shape {values.shape}, X has {rows:,} rows")
    anomalies, ordinary, unsaid = values == 1, values == 0, values == -1
    if not (anomalies | ordinary | unsaid | np.isnan(values)).all() or not anomalies.any():
        return None
    if anomalies.all():
        return None
    if anomalies.sum() > unsaid.sum() > 0 and not ordinary.any():
        raise ValueError(
            "y is mostly 1, else -1: are these predictions of an outlier detector, where 1 means "
            "ordinary? Here 1 is an anomaly, 0 an ordinary row, and -1 or NaN unknown; "
            "(y == -1).astype(int) turns one into the other"
        )
    return np.where(unsaid, np.nan, values)


def _numbers(y: Any) -> Floats | None:
    """Return ``y`` as floats; None where it is no list of numbers."""
    try:
        if hasattr(y, "to_numpy"):  # pandas: its own missing values have no float otherwise
            try:
                y = y.to_numpy(dtype=np.float64, na_value=np.nan)
            except TypeError:
                y = y.to_numpy()
        values = np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
