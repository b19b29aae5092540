"""ECOD, COPOD, HBOS and LODA to lookup tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynomaly.infrastructure.pyod.frozen import Frozen, RobustScaling, varying_columns

__all__ = ["fit_copod", "fit_ecod", "fit_hbos", "fit_loda"]

Floats = NDArray[np.float64]


def fit_ecod(params: Mapping[str, Any], X: Floats, seed: int, floors: Floats) -> Frozen:
    """Fit PyOD's ECOD and freeze its training distribution.

    PyOD ranks every scored row together with its batch, so a row's score depends on its
    neighbours in the file.  The frozen definition uses the training rows alone:
    left(x) = −log(max(1, #{train ≤ x}) / n), right(x) = −log(max(1, #{train ≥ x}) / n), and the
    column's surprise is the larger one, or their sum where the training skewness is exactly 0
    (what PyOD's formula with sign(skew) comes to).  On training rows it equals PyOD's
    ``decision_scores_``, which the self-test checks.
    """
    from pyod.models.ecod import ECOD

    columns = varying_columns(X)
    detector = ECOD(n_jobs=1).fit(X[:, columns])
    return _frozen_tails(
        X, columns, detector,
        lambda left, right, sign: np.maximum(left, right) if sign else left + right,
    )  # fmt: skip


def fit_copod(params: Mapping[str, Any], X: Floats, seed: int, floors: Floats) -> Frozen:
    """Fit PyOD's COPOD and freeze its training distribution.

    As ECOD, PyOD's COPOD ranks rows together with their batch, and the frozen definition uses the
    training rows alone, with left(x) and right(x) as for :func:`fit_ecod`: the column's surprise
    is that of the longer tail by the training skewness, but at least the mean of both; their sum
    where the skewness is exactly 0.  On training rows it equals PyOD's ``decision_scores_``.
    """
    from pyod.models.copod import COPOD

    columns = varying_columns(X)
    detector = COPOD(n_jobs=1).fit(X[:, columns])

    def surprise(left: Floats, right: Floats, sign: float) -> Floats:
        longer = left + right if sign == 0 else right if sign > 0 else left
        return np.maximum(longer, (left + right) / 2)

    return _frozen_tails(X, columns, detector, surprise)


def _frozen_tails(
    X: Floats,
    columns: NDArray[np.int64],
    detector: Any,
    surprise: Callable[[Floats, Floats, float], Floats],
) -> Frozen:
    from scipy.stats import skew

    kept = X[:, columns]
    signs = np.sign(np.nan_to_num(skew(kept, axis=0)))
    values: list[Floats] = []
    heights: list[Floats] = []
    for column, sign in zip(kept.T, signs, strict=True):
        distinct, counts = np.unique(column, return_counts=True)
        values.append(distinct)
        heights.append(surprise(*_tails(counts), float(sign)) + 0.0)
    arrays = {"columns": columns, **_step_function(values, heights)}
    return Frozen(arrays, lambda rows: detector.decision_scores_[rows])


def _tails(counts: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return both tails' surprise at gap, value, gap, value, …, gap."""
    n = int(counts.sum())
    not_above = np.cumsum(counts)
    below = not_above - counts
    at_most, at_least = np.empty(2 * len(counts) + 1), np.empty(2 * len(counts) + 1)
    at_most[1::2], at_most[0], at_most[2::2] = not_above, 0, not_above
    at_least[1::2], at_least[0], at_least[2::2] = n - below, n, n - not_above
    return -np.log(np.maximum(at_most, 1.0) / n), -np.log(np.maximum(at_least, 1.0) / n)


def _step_function(values: list[Floats], heights: list[Floats]) -> dict[str, NDArray[Any]]:
    """Return columns' thresholds and heights end to end."""
    return {
        "starts": np.cumsum([0, *map(len, values)]).astype(np.int64),
        "values": np.concatenate(values),
        "heights": np.concatenate(heights),
    }


def fit_hbos(params: Mapping[str, Any], X: Floats, seed: int, floors: Floats) -> Frozen:
    """Build PyOD's HBOS histograms on robustly scaled rows.

    In raw units one extreme value stretches equal-width bins until all other rows share one.

    PyOD compiles its scoring anew in every process (5 s), so the histograms are drawn here, as
    its ``fit`` draws them, and its scoring function is asked in interpreted form.
    """
    from pyod.models.hbos import HBOS, _calculate_outlier_scores

    scaling = RobustScaling.fit(X, floors)
    Z = scaling(X)
    bins, alpha = int(params["n_bins"]), float(params["alpha"])
    drawn = [np.histogram(column, bins=bins, density=True) for column in Z.T]
    densities = np.stack([density for density, _ in drawn])
    edges = np.stack([edge for _, edge in drawn])
    tolerance = HBOS().tol
    heights = np.log2(densities + alpha)

    def expected(rows: NDArray[np.int64]) -> Floats:
        interpreted = _calculate_outlier_scores.py_func
        parts = interpreted(Z[rows], edges.T, densities.T, bins, alpha, tolerance)
        return np.asarray(-parts.sum(axis=1))

    levels = np.concatenate(
        [heights.min(axis=1, keepdims=True), heights[:, :1], heights, heights[:, -1:],
         heights.min(axis=1, keepdims=True)], axis=1,
    )  # fmt: skip
    thresholds = _last_before(scaling, X.shape[1], lambda Z: _stages(Z, edges, tolerance), bins + 3)
    # A number equal to a threshold belongs to the gap below it.
    steps = [np.repeat(-level, 2)[:-1] for level in levels]
    arrays = {"columns": scaling.columns, **_step_function(list(thresholds), steps)}
    return Frozen(arrays, expected)


def _stages(Z: Floats, edges: Floats, tolerance: float) -> NDArray[np.int64]:
    """Return where HBOS puts numbers (d, k): 0 far below, 1 just below, 2 in the first bin, …."""
    bins = edges.shape[1] - 1
    slack_below = tolerance * (edges[:, 1] - edges[:, 0])
    slack_above = tolerance * (edges[:, -1] - edges[:, -2])
    stage = np.asarray((Z[:, :, None] > edges[:, None, :]).sum(axis=2) + 1)
    stage[edges[:, :1] - Z > slack_below[:, None]] = 0
    stage[Z - edges[:, -1:] > slack_above[:, None]] = bins + 3
    return stage


def _last_before(
    scaling: RobustScaling, width: int, stages: Callable[[Floats], NDArray[np.int64]], count: int
) -> Floats:
    """Return each column's largest raw number before stage 1, 2, …, count; (columns, count).

    Scaling never decreases, so a border in scaled units is one in raw units, found by bisection
    over all doubles: rows then need no scaling at all.
    """
    shape = (len(scaling.columns), count)
    low, high = (np.full(shape, _ordered(np.float64(end))) for end in (-np.inf, np.inf))
    for _ in range(64):
        middle = (low >> 1) + (high >> 1) + (low & high & 1)
        rows = np.zeros((count, width))
        rows[:, scaling.columns] = _number(middle).T
        before = stages(scaling(rows).T) <= np.arange(count)
        low, high = np.where(before, middle, low), np.where(before, high, middle)
    return _number(low)


def _ordered(number: np.float64) -> np.int64:
    """Return a double's bits as an integer of the same order."""
    pattern = number.view(np.int64)
    return pattern if pattern >= 0 else np.int64(pattern ^ np.int64(2**63 - 1))


def _number(ordered: NDArray[np.int64]) -> Floats:
    return np.where(ordered >= 0, ordered, ordered ^ np.int64(2**63 - 1)).view(np.float64)


def fit_loda(params: Mapping[str, Any], X: Floats, seed: int, floors: Floats) -> Frozen:
    """Fit PyOD's LODA on robustly scaled rows.

    A row on the limit of two bins belongs to the lower one.  The smallest training row of every
    cut lies on a limit, and whole numbers often do; there the last bit of a projection, which
    processors compute differently, would decide.  Limits are therefore frozen higher by 1e-12 of
    their size, at least of a robust deviation: far more than rounding, far less than a bin.
    """
    from pyod.models.loda import LODA

    scaling = RobustScaling.fit(X, floors)
    Z = scaling(X)
    detector = LODA(
        n_bins=int(params["n_bins"]),
        n_random_cuts=int(params["n_random_cuts"]),
        random_state=seed,
    ).fit(Z)
    width = int(np.sqrt(Z.shape[1]))
    columns = np.argsort(detector.projections_ == 0, axis=1, kind="stable")[:, :width]
    limits = detector.limits_[:, : detector.n_bins - 1]
    share = detector.weights / detector.n_random_cuts

    def expected(rows: NDArray[np.int64]) -> Floats:
        scores = detector.decision_function(Z[rows])
        # A row on the limit of a bin falls to either side by the rounding of its projection.
        seen = (Z[rows] @ detector.projections_.T)[:, :, None]
        close = np.abs(seen - limits) <= 1e-9 * np.maximum(np.abs(limits), 1.0)
        return np.where(close.any(axis=(1, 2)), np.nan, scores)

    arrays = {
        **scaling.arrays,
        "cut_columns": columns.astype(np.int64),
        "cuts": np.take_along_axis(detector.projections_, columns, axis=1),
        "limits": limits + 1e-12 * np.maximum(np.abs(limits), 1.0),
        "heights": -share[:, None] * np.log(detector.histograms_),
    }
    return Frozen(arrays, expected, undecidable=True)
