"""Detectors built on means and covariances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynomaly.infrastructure.pyod.frozen import Frozen, RobustScaling

__all__ = ["fit_gmm", "fit_mahalanobis", "fit_pca"]

Floats = NDArray[np.float64]

_ROWS_PER_COMPONENT = 10
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
        from sklearn.decomposition import PCA

        dimensions = min(_PROJECTED, len(Z) - 1)
        axes = PCA(dimensions, svd_solver="randomized", random_state=seed).fit(smooth)
        arrays |= {"projection_mean": axes.mean_, "projection": axes.components_.T}
        Z, smooth = ((rows - axes.mean_) @ axes.components_.T for rows in (Z, smooth))
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


def fit_mahalanobis(params: Mapping[str, Any], X: Floats, seed: int, floors: Floats) -> Frozen:
    """Fit the Ledoit–Wolf covariance of robustly scaled rows.

    Source: Ledoit & Wolf, A well-conditioned estimator for large covariance matrices (2004).
    """
    from sklearn.covariance import LedoitWolf

    scaling = RobustScaling.fit(X, floors)
    Z = scaling(X)
    estimate = LedoitWolf().fit(scaling.smooth(Z, floors, seed))
    # Shrinkage may be nil for large collinear samples; a ridge of a millionth of the mean
    # variance keeps the inverse accurate and is far below any real variance.
    ridge = 1e-6 * np.trace(estimate.covariance_) / Z.shape[1]
    covariance = estimate.covariance_ + ridge * np.eye(Z.shape[1])
    factor = np.linalg.inv(np.linalg.cholesky(covariance)).T

    def expected(rows: NDArray[np.int64]) -> Floats:
        gap = Z[rows] - estimate.location_
        return np.asarray((np.linalg.solve(covariance, gap.T).T * gap).sum(axis=1))

    return Frozen({**scaling.arrays, "mean": estimate.location_, "factor": factor}, expected)
