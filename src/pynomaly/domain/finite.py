"""No missing or infinite value is ever scored silently."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pynomaly.domain.errors import DataRejectedError

__all__ = ["require_finite"]


def require_finite(X: NDArray[np.float64], detector: str) -> None:
    """Refuse rows that hold NaN or inf.

    Args:
        X: (n, d) encoded rows.
        detector: Named in the message.

    Raises:
        DataRejectedError: Names the first such cell.

    >>> require_finite(np.array([[1.0, np.nan]]), "knn")
    Traceback (most recent call last):
    ...
    pynomaly.domain.errors.DataRejectedError: knn: row 0, column 1 is nan
      → 1 cell is not finite; encode rows with a model's preprocessing, or fill them in first
    """
    # A finite sum has finite terms, and adding up costs a tenth of looking at every cell.
    with np.errstate(over="ignore", invalid="ignore"):
        if math.isfinite(X.sum()):
            return
    bad = np.argwhere(~np.isfinite(X))
    if len(bad):
        row, column = (int(i) for i in bad[0])
        cells = "1 cell is" if len(bad) == 1 else f"{len(bad):,} cells are"
        raise DataRejectedError(
            f"{detector}: row {row}, column {column} is {X[row, column]}",
            hint=f"{cells} not finite; encode rows with a model's preprocessing, or fill them in "
            "first",
        )
