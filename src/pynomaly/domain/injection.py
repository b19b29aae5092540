"""Synthetic anomalies for comparing two models on the same rows.

Injected anomalies serve release gates only: they tell a working model from a broken one of the
same pipeline.  They are no measure of detection quality and never choose a detector (choosing by
them is worse than not choosing, see docs: label-free gates).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["columns_to_shift", "shifted_values"]


def columns_to_shift(n_rows: int, n_columns: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Choose one to three columns to disturb in each row, of wide tables up to a tenth of them.

    Args:
        n_rows: Rows to disturb.
        n_columns: Numeric columns to choose from, at least 1.
        rng: Source of randomness.

    Returns:
        (n_rows, n_columns) mask.
    """
    at_most = min(max(3, n_columns // 10), n_columns)
    counts = rng.integers(1, at_most + 1, size=n_rows)
    ranks = np.argsort(rng.random((n_rows, n_columns)), axis=1).argsort(axis=1)
    return np.asarray(ranks < counts[:, None])


def shifted_values(
    values: NDArray[np.float64], mask: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Push the masked cells 4 to 8 robust standard deviations from where they are.

    Args:
        values: (n, d) rows; NaN allowed.
        mask: (n, d) cells to push.
        rng: Source of randomness.

    Returns:
        (n, d) copy; a missing cell that is masked starts from the column's median.
    """
    median = np.nanmedian(values, axis=0)
    q25, q75 = np.nanpercentile(values, [25, 75], axis=0)
    deviation = np.nanstd(values, axis=0)
    spread = np.where(q75 - q25 > 0, (q75 - q25) / 1.349, deviation)
    spread = np.where(spread > 0, spread, np.maximum(1.0, np.abs(median)))
    size = rng.uniform(4.0, 8.0, values.shape) * rng.choice([-1.0, 1.0], values.shape)
    start = np.where(np.isnan(values), median, values)
    return np.where(mask, start + size * spread, values)
