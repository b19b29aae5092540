"""ECOD and HBOS to lookup tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynomaly.infrastructure.pyod.frozen import Frozen, RobustScaling, varying_columns

__all__ = ["fit_ecod", "fit_hbos"]

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
    from scipy.stats import skew

    columns = varying_columns(X)
    kept = X[:, columns]
    detector = ECOD(n_jobs=1).fit(kept)
    signs = np.sign(np.nan_to_num(skew(kept, axis=0)))
    values: list[Floats] = []
    tails: list[Floats] = []
    for column, sign in zip(kept.T, signs, strict=True):
        distinct, counts = np.unique(column, return_counts=True)
        values.append(distinct)
        tails.append(_surprise(counts, skewed=sign != 0))
    sizes = [len(distinct) for distinct in values]
    arrays: dict[str, NDArray[Any]] = {
        "columns": columns,
        "starts": np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        "values": np.concatenate(values),
        "tails": np.concatenate(tails),
    }
    return Frozen(arrays, lambda rows: detector.decision_scores_[rows])


def _surprise(counts: NDArray[np.int64], *, skewed: bool) -> Floats:
    """Return the table for gap, value, gap, value, …, gap."""
    n = int(counts.sum())
    not_above = np.cumsum(counts)
    below = not_above - counts
    at_most, at_least = np.empty(2 * len(counts) + 1), np.empty(2 * len(counts) + 1)
    at_most[1::2], at_most[0], at_most[2::2] = not_above, 0, not_above
    at_least[1::2], at_least[0], at_least[2::2] = n - below, n, n - not_above
    left = -np.log(np.maximum(at_most, 1.0) / n)
    right = -np.log(np.maximum(at_least, 1.0) / n)
    return (np.maximum(left, right) if skewed else left + right) + 0.0


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

    arrays = {
        **scaling.arrays,
        "edges": edges,
        "heights": heights,
        "lowest": heights.min(axis=1),
        "tolerance": np.array([tolerance]),
    }
    return Frozen(arrays, expected)
