"""Detectors built on means and covariances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynomaly.infrastructure.pyod.frozen import Frozen, RobustScaling

__all__ = ["fit_gmm", "fit_mahalanobis", "fit_mcd", "fit_pca"]

Floats = NDArray[np.float64]

_ROWS_PER_COMPONENT, _ROWS_PER_DIMENSION = 10, 5
_PROJECT_ABOVE, _PROJECTED = 60, 30
# Full covariances of more columns than this cost more rows than tables have.


def fit_pca(params: Mapping[str, Any], X: Floats, seed: int, floors: Floats) -> Frozen:
    """Fit PyOD's PCA on robustly scaled rows.

    Components beyond the given share of variance are left out: their eigenvalues may be zero, and
    PyOD divides by them.
    """
    from pyod.models.pca import PCA

    scaling = RobustScaling.fit(X, floors)
    Z = scaling(X)
    detector = PCA(n_components=float(params["variance"]), svd_solver="full", random_state=seed)
    detector.fit(scaling.smooth(Z, floors, seed))
    arrays = {
        **scaling.arrays,
        "mean": detector.scaler_.mean_,
        "deviation": detector.scaler_.scale_,
        "components": detector.selected_components_.T,
        "weights": 1.0 / detector.selected_w_components_,
    }
    return Frozen(arrays, lambda rows: detector.decision_function(Z[rows]))


def fit_gmm(params: Mapping[str, Any], X: Floats, seed: int, floors: Floats) -> Frozen:
    """Fit PyOD's GMM on robustly scaled rows, projected to 30 dimensions when there are over 60.

    With n rows there are at most n // 10 components.
    """
    from pyod.models.gmm import GMM

    scaling = RobustScaling.fit(X, floors)
    Z = scaling(X)
    smooth = scaling.smooth(Z, floors, seed)
    arrays: dict[str, NDArray[Any]] = dict(scaling.arrays)
    if Z.shape[1] > _PROJECT_ABOVE:
        projection, Z, smooth = _projected(Z, smooth, min(_PROJECTED, len(Z) - 1), seed)
        arrays |= projection
    detector = GMM(
        n_components=min(int(params["n_components"]), max(1, len(Z) // _ROWS_PER_COMPONENT)),
        reg_covar=float(params["reg_covar"]),
        random_state=seed,
    )
    detector.fit(smooth)
    mixture = detector.detector_
    factors = mixture.precisions_cholesky_
    log_determinants = np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
    constant = -0.5 * Z.shape[1] * np.log(2 * np.pi)
    arrays |= {
        "means": mixture.means_,
        "factors": factors,
        "constants": np.log(mixture.weights_) + log_determinants + constant,
    }
    return Frozen(arrays, lambda rows: detector.decision_function(Z[rows]), absolute_tolerance=1e-6)


def _projected(
    Z: Floats, smooth: Floats, dimensions: int, seed: int
) -> tuple[dict[str, NDArray[Any]], Floats, Floats]:
    """Project both onto the first principal axes of the smooth rows."""
    from sklearn.decomposition import PCA

    axes = PCA(dimensions, svd_solver="randomized", random_state=seed).fit(smooth)
    arrays = {"projection_mean": axes.mean_, "projection": axes.components_.T}
    return (
        arrays,
        (Z - axes.mean_) @ axes.components_.T,
        (smooth - axes.mean_) @ axes.components_.T,
    )


def fit_mcd(params: Mapping[str, Any], X: Floats, seed: int, floors: Floats) -> Frozen:
    """Fit PyOD's MCD on robustly scaled rows.

    Rows are projected where there are over 60 columns or fewer than five rows per column: the
    method needs them.  A column that is constant in the bulk (quartiles agree) gets unit noise
    for fitting, because the densest half knows no variance of it, and any other value would
    either count without bound or not at all.
    """
    from pyod.models.mcd import MCD
    from scipy.linalg import rq

    scaling = RobustScaling.fit(X, floors)
    Z = scaling(X)
    lower, upper = np.quantile(Z, [0.25, 0.75], axis=0)
    noisy = floors.copy()
    noisy[scaling.columns[upper - lower < 1e-9]] = 1.0
    smooth = scaling.smooth(Z, noisy, seed)
    arrays: dict[str, NDArray[Any]] = dict(scaling.arrays)
    enough = max(1, len(Z) // _ROWS_PER_DIMENSION)
    if Z.shape[1] > min(_PROJECT_ABOVE, enough):
        projection, Z, smooth = _projected(Z, smooth, min(_PROJECTED, enough), seed)
        arrays |= projection
    detector = MCD(random_state=seed).fit(smooth)
    estimate = detector.detector_
    # precision = factor · factorᵀ with an upper triangular factor, even where it is singular.
    values, axes = np.linalg.eigh(estimate.precision_)
    root = axes * np.sqrt(np.maximum(values, 0.0))
    arrays |= {"mean": estimate.location_, "factor": rq(root, mode="r")}
    return Frozen(arrays, lambda rows: detector.decision_function(Z[rows]))


def fit_mahalanobis(params: Mapping[str, Any], X: Floats, seed: int, floors: Floats) -> Frozen:
    """Fit the Ledoit–Wolf covariance of robustly scaled rows.

    Source: Ledoit & Wolf, A well-conditioned estimator for large covariance matrices (2004).
    """
    from sklearn.covariance import ledoit_wolf

    scaling = RobustScaling.fit(X, floors)
    Z = scaling(X)
    smooth = scaling.smooth(Z, floors, seed)
    location, (estimate, _) = smooth.mean(axis=0), ledoit_wolf(smooth)
    # Shrinkage may be nil for large collinear samples; a ridge of a millionth of the mean
    # variance keeps the inverse accurate and is far below any real variance.
    ridge = 1e-6 * np.trace(estimate) / Z.shape[1]
    covariance = estimate + ridge * np.eye(Z.shape[1])
    factor = np.linalg.inv(np.linalg.cholesky(covariance)).T

    def expected(rows: NDArray[np.int64]) -> Floats:
        gap = Z[rows] - location
        return np.asarray((np.linalg.solve(covariance, gap.T).T * gap).sum(axis=1))

    return Frozen({**scaling.arrays, "mean": location, "factor": factor}, expected)
