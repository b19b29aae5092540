"""What a missing number probably was, given the row's other values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pynomaly.domain.encodings import QUANTILE_SHARES, Encoding, NumericEncoding
from pynomaly.domain.models import Imputation
from pynomaly.domain.spread import robust_spread

__all__ = ["MOST_TELLING", "fit_imputation", "impute", "told_numbers"]

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

_RIDGE = 0.01
"""Of the variance of a column; columns that say the same share their weight."""

MOST_TELLING = 10
"""Features to tell a number from, at most: tables may be wide."""

_ROWS_EACH = 5
"""Known rows for each of them at least."""

_FAR = 10.0
"""Deviations at which a value tells as much as values can: a few enormous ones must not decide."""


def fit_imputation(
    encodings: Sequence[Encoding], owners: Sequence[int], X: Floats
) -> Imputation | None:
    """Learn to tell numbers that may be missing from the row's other features.

    The median would do for a column by itself.  Beside a column that it follows it is a value no
    row has there, and the rows with a missing cell would be the strangest of the table.  So for
    each such column the means and covariances are kept of the ten features that tell most, all
    asinh-scaled and cut so that no tail decides, each pair from the rows that have both.  Those
    tell most that correlate with it and are known where it is not: the sensors of one board fail
    together.
    Where the middle half of a column begins or ends at its median, as in amounts that are mostly
    zero, the median does: a guess next to it would be where no row is.  So would a fraction among
    whole numbers; there guesses are rounded.

    Args:
        encodings: Of the columns.
        owners: (d,) the encoding of each feature.
        X: (n, d) encoded training rows; medians stand for missing numbers.

    Returns:
        None where no column with a missing indicator can be told from another.
    """
    targets = told_numbers(encodings, owners)
    if not len(targets) or X.shape[1] < 3:
        return None
    known = _known(targets, X)
    center, spread = np.median(X, axis=0), robust_spread(X)
    untold = np.ones(len(targets), dtype=np.bool_)
    for number, target in enumerate(targets):
        if len(present := X[known[:, target], target]):
            lower, center[target], upper = np.quantile(present, [0.25, 0.5, 0.75])
            spread[target] = robust_spread(present[:, None])[0]
            steep = center[target] in (lower, upper)
            untold[number] = steep and not _whole(_number(encodings, owners, target))
    spread[spread == 0] = 1.0
    Z = np.where(known, _scaled(X, center, spread), 0.0)
    means = Z.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    Z = np.where(known, Z - means, 0.0)
    telling = _most_telling(Z, known, targets)
    telling[untold] = -1
    if (telling < 0).all():
        return None
    covariances = np.zeros((len(targets), telling.shape[1] + 1, telling.shape[1] + 1))
    for covariance, row, target in zip(covariances, telling, targets, strict=True):
        features = np.append(row[row >= 0], target)
        here, mask = Z[:, features], known[:, features].astype(np.float64)
        # Not BLAS, whose sums depend on how many threads it has.
        pairs = np.einsum("ij,ik->jk", mask, mask)
        found = np.einsum("ij,ik->jk", here, here) / np.maximum(pairs, 1.0)
        # Made of different rows, it need not be one of any rows; the nearest that is will do.
        values, vectors = np.linalg.eigh(found)
        found = np.einsum("ij,j,kj->ik", vectors, np.maximum(values, 0.0), vectors)
        places = np.append(np.arange(len(found) - 1), -1)  # the target comes last
        covariance[np.ix_(places, places)] = found
    return Imputation(center, spread, means, targets, telling, covariances)


def impute(
    imputation: Imputation, encodings: Sequence[Encoding], owners: Sequence[int], X: Floats
) -> None:
    """Put what its other values tell in place of a row's missing numbers.

    That is their mean given those of the telling features that the row has, were all of them
    normally distributed: a linear regression for each pattern of what else is missing.  Each row by
    itself, feature after feature in the same order, so that it gets the same bits in any batch.
    What is told stays within the inner 98 % of the column's training values, and is a whole number
    where nearly all of those are.

    Args:
        imputation: Learnt from training rows.
        encodings: Of the columns.
        owners: (d,) the encoding of each feature.
        X: (n, d) encoded rows, changed in place; whatever stands for missing numbers is replaced,
            but for those of columns that cannot be told from others.

    Source: the conditional mean of a normal distribution; Little and Rubin, Statistical Analysis
    with Missing Data (2019), ch. 8.
    """
    targets = imputation.targets
    for number, (target, row) in enumerate(zip(targets, imputation.telling, strict=True)):
        features = row[row >= 0]
        gaps = np.flatnonzero(X[:, target + 1]) if len(features) else features
        if not len(gaps):
            continue
        pattern = np.zeros(len(gaps), dtype=np.int64)
        for bit, feature in enumerate(features):
            known = X[gaps, feature + 1] == 0 if feature in targets else True
            pattern |= np.where(known, 1 << bit, 0)
        patterns, own = np.unique(pattern, return_inverse=True)
        present = (patterns[:, None] >> np.arange(len(features))) & 1
        weights = _weights(imputation.covariances[number], present)
        total = np.full(len(gaps), imputation.means[target])
        for feature, weight in zip(features, weights.T, strict=True):
            center, spread = imputation.center[feature], imputation.spread[feature]
            deviations = _scaled(X[gaps, feature], center, spread) - imputation.means[feature]
            total += weight[own] * deviations
        encoding = _number(encodings, owners, target)
        X[gaps, target] = _ordinary(encoding, total, imputation, target)


def told_numbers(encodings: Sequence[Encoding], owners: Sequence[int]) -> Whole:
    """Return the features of numbers that have a missing indicator, which is the feature after.

    Args:
        encodings: Of the columns.
        owners: The encoding of each feature.
    """
    firsts = np.searchsorted(owners, np.arange(len(encodings)))
    found = [
        first
        for first, encoding in zip(firsts, encodings, strict=True)
        if isinstance(encoding, NumericEncoding) and encoding.missing_indicator
    ]
    return np.array(found, dtype=np.int64)


def _weights(covariance: Floats, present: Whole) -> Floats:
    """Return (patterns, t) weights of t features given which of them are present, else 0."""
    squares = covariance[None, : present.shape[1], : present.shape[1]]
    squares = squares * present[:, :, None] * present[:, None, :]
    each = np.arange(present.shape[1])
    squares[:, each, each] += np.where(present, _RIDGE, 1.0)
    shared = covariance[-1, : present.shape[1]] * present
    return np.asarray(np.linalg.solve(squares, shared[..., None])[..., 0] * present)


def _ordinary(
    encoding: NumericEncoding, scaled: Floats, imputation: Imputation, target: int
) -> Floats:
    """Return scaled guesses as values that the column has."""
    with np.errstate(over="ignore"):
        values = (
            np.sinh(np.clip(scaled, -np.arcsinh(_FAR), np.arcsinh(_FAR)))
            * imputation.spread[target]
        )
        values += imputation.center[target]
    if _whole(encoding):
        values = np.rint(values)
    lower, upper = (encoding.quantiles[QUANTILE_SHARES.index(share)] for share in (0.01, 0.99))
    return np.asarray(np.clip(values, lower, upper) + 0.0)


def _number(encodings: Sequence[Encoding], owners: Sequence[int], target: int) -> NumericEncoding:
    encoding = encodings[owners[target]]
    assert isinstance(encoding, NumericEncoding)
    return encoding


def _whole(encoding: NumericEncoding) -> bool:
    return all(quantile.is_integer() for quantile in encoding.quantiles)


def _scaled(X: Floats, center: Floats, spread: Floats) -> Floats:
    with np.errstate(over="ignore"):
        return np.arcsinh(np.clip((X - center) / spread, -_FAR, _FAR))


def _known(targets: Whole, X: Floats) -> NDArray[np.bool_]:
    """Return (n, d) which features a row has; of numbers that may be missing the next one tells."""
    known = np.ones(X.shape, dtype=np.bool_)
    known[:, targets] = X[:, targets + 1] == 0
    return known


def _most_telling(Z: Floats, known: NDArray[np.bool_], targets: Whole) -> Whole:
    """Return (k, t) features that tell most about each target, ascending, then -1.

    Ordered by correlation, in size, times the share of the target's gaps in which a feature is
    known; rounded, so that of equal ones the first is chosen whatever the order of additions.
    Neither a target nor its indicator tells about itself.

    Args:
        Z: (n, d) scaled deviations from the means, 0 where not known.
        known: (n, d).
        targets: (k,).
    """
    mask = known.astype(np.float64)
    own, gaps = mask[:, targets], 1.0 - mask[:, targets]
    pairs = np.maximum(own.T @ mask, 1.0)
    shared = Z[:, targets].T @ Z / pairs
    variance = (own.T @ Z**2 / pairs) * ((Z[:, targets] ** 2).T @ mask / pairs)
    varies = variance > 1e-12
    strength = np.abs(shared) / np.sqrt(np.where(varies, variance, np.inf))
    count = gaps.sum(axis=0)[:, None]
    strength *= np.where(count > 0, gaps.T @ mask / np.maximum(count, 1.0), 1.0)
    each = np.arange(len(targets))
    strength[each, targets] = strength[each, targets + 1] = 0.0
    strength = strength.round(9)
    best = np.argsort(-strength, axis=1, kind="stable")[:, :MOST_TELLING]
    some = np.take_along_axis(strength, best, axis=1) > 0
    some &= np.arange(best.shape[1]) < own.sum(axis=0)[:, None] // _ROWS_EACH
    best = np.sort(np.where(some, best, Z.shape[1]), axis=1)
    return np.where(best < Z.shape[1], best, -1)
