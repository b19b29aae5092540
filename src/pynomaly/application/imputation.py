"""What a missing number probably was, given the row's other values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pynomaly.domain.models import QUANTILE_SHARES, Encoding, Imputation, NumericEncoding
from pynomaly.domain.spread import robust_spread

__all__ = ["fit_imputation", "impute"]

Floats = NDArray[np.float64]

_RIDGE = 0.01
"""Of the variance of a column; columns that say the same share their weight."""

_TELLING = 10
"""Features to tell a number from, at most: tables may be wide."""


def fit_imputation(
    encodings: Sequence[Encoding], owners: Sequence[int], X: Floats
) -> Imputation | None:
    """Learn to tell numbers that may be missing from the row's other features.

    The median would do for a column by itself.  Beside a column that it follows it is a value no
    row has there, and the rows with a missing cell would be the strangest of the table.  It is one
    linear regression with a ridge for each such column, on the ten features that correlate with it
    most, asinh-scaled so that no tail decides.  Where a quarter of the rows beside the median equal it, as in flags and small
    counts, the median does: a guess next to it would be where no row is.

    Args:
        encodings: Of the columns.
        owners: (d,) the encoding of each feature.
        X: (n, d) encoded training rows; medians stand for missing numbers.

    Returns:
        None where no column with a missing indicator has another beside it.
    """
    targets = _targets(encodings, owners)
    if not len(targets) or X.shape[1] < 3:
        return None
    center, spread = np.median(X, axis=0), robust_spread(X)
    spread[spread == 0] = 1.0
    Z = np.arcsinh((X - center) / spread)
    weights = np.zeros((len(targets), X.shape[1] + 1))
    strengths = _correlations(Z, targets, X[:, targets + 1] == 0)
    for weight, target, strength in zip(weights, targets, strengths, strict=True):
        lower, middle, upper = np.quantile(X[:, target], [0.25, 0.5, 0.75])
        telling = np.sort(np.argsort(-strength, kind="stable")[:_TELLING])
        telling = telling[strength[telling] > 0]
        if middle in (lower, upper) or not len(telling):
            continue
        known = Z[X[:, target + 1] == 0]
        told, sought = known[:, telling], known[:, target]
        means, mean = told.mean(axis=0), sought.mean()
        told, sought = told - means, sought - mean
        # Not BLAS, whose sums depend on how many threads it has.
        squares = np.einsum("ij,ik->jk", told, told) + _RIDGE * len(told) * np.eye(len(telling))
        weight[telling] = np.linalg.solve(squares, np.einsum("ij,i->j", told, sought))
        weight[-1] = mean - means @ weight[telling]
    return Imputation(center, spread, weights)


def impute(
    imputation: Imputation, encodings: Sequence[Encoding], owners: Sequence[int], X: Floats
) -> None:
    """Put what its other values tell in place of a row's missing numbers.

    Each row by itself, column after column in the same order, so that it gets the same bits in any
    batch.  What is told stays within the inner 98 % of the column's training values.

    Args:
        imputation: Learnt from training rows.
        encodings: Of the columns.
        owners: (d,) the encoding of each feature.
        X: (n, d) encoded rows, changed in place; medians stand for missing numbers.
    """
    told: list[tuple[int, NDArray[np.int64], Floats]] = []
    targets = _targets(encodings, owners)
    for weight, target in zip(imputation.weights, targets, strict=True):
        gaps = np.flatnonzero(X[:, target + 1])
        if not len(gaps):
            continue
        total = np.full(len(gaps), weight[-1])
        for feature in np.flatnonzero(weight[:-1]):
            ratio = (X[gaps, feature] - imputation.center[feature]) / imputation.spread[feature]
            total += weight[feature] * np.arcsinh(ratio)
        encoding = encodings[owners[target]]
        assert isinstance(encoding, NumericEncoding)
        lower, upper = (encoding.quantiles[QUANTILE_SHARES.index(s)] for s in (0.01, 0.99))
        values = np.sinh(np.clip(total, -700.0, 700.0)) * imputation.spread[target]
        told.append((target, gaps, np.clip(values + imputation.center[target], lower, upper)))
    for target, gaps, values in told:  # at the end: no guess rests on another
        X[gaps, target] = values + 0.0


def _correlations(Z: Floats, targets: NDArray[np.int64], known: NDArray[np.bool_]) -> Floats:
    """Return (k, d) correlations in size of targets with features where the targets are known.

    0 with themselves and their indicators, and where something does not vary.  Rounded, so that of
    equal ones the first is chosen whatever the order of additions.
    """
    mask = known.astype(np.float64)
    count = np.maximum(mask.sum(axis=0), 1.0)[:, None]
    sought = Z[:, targets] * mask
    means, mean = mask.T @ Z / count, sought.sum(axis=0)[:, None] / count
    shared = sought.T @ Z / count - means * mean
    variance = (mask.T @ Z**2 / count - means**2) * (
        (sought**2).sum(axis=0)[:, None] / count - mean**2
    )
    varies = variance > 1e-12
    found = np.abs(shared) / np.sqrt(np.where(varies, variance, np.inf))
    own = np.arange(len(targets))
    found[own, targets] = found[own, targets + 1] = 0.0
    return np.asarray(found.round(9))


def _targets(encodings: Sequence[Encoding], owners: Sequence[int]) -> NDArray[np.int64]:
    """Return the features of numbers that have a missing indicator, which is the feature after."""
    firsts = np.searchsorted(owners, np.arange(len(encodings)))
    found = [
        first
        for first, encoding in zip(firsts, encodings, strict=True)
        if isinstance(encoding, NumericEncoding) and encoding.missing_indicator
    ]
    return np.array(found, dtype=np.int64)
