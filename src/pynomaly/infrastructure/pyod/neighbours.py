"""Detectors that keep training rows as references: nearest neighbours, LOF, one-class SVM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynomaly.infrastructure.pyod.frozen import Frozen, RobustScaling

__all__ = ["fit_knn", "fit_lof", "fit_ocsvm"]

Floats = NDArray[np.float64]

_EXACT_DIMENSIONS = 64
# Above it PyOD's trees are slower than brute force, which loses half the digits of small distances.


def _references(params: Mapping[str, Any], X: Floats, seed: int) -> Floats:
    """Draw at most ``max_references`` training rows at random.

    Scoring time then depends on columns only, a model stays small and keeps few rows of the data.
    """
    most = int(params["max_references"])
    if len(X) <= most:
        return X
    return X[np.sort(np.random.default_rng(seed).choice(len(X), most, replace=False))]


def _nearest(params: Mapping[str, Any], references: Floats) -> int:
    """With m references k is at most m // 2: beyond that a neighbour is no longer near."""
    return min(int(params["n_neighbors"]), max(1, len(references) // 2))


def _search(references: Floats) -> tuple[str, float]:
    """Return the library's algorithm and its error in distances."""
    if references.shape[1] <= _EXACT_DIMENSIONS:
        return "ball_tree", 1e-9
    return "auto", 1e-6 * float(np.sqrt((references**2).sum(axis=1).mean()))


def fit_knn(params: Mapping[str, Any], X: Floats, seed: int, floors: Floats) -> Frozen:
    """Fit PyOD's KNN on robustly scaled reference rows."""
    from pyod.models.knn import KNN

    scaling = RobustScaling.fit(X, floors, constant=True)
    references = scaling(_references(params, X, seed))
    k = _nearest(params, references)
    algorithm, error = _search(references)
    detector = KNN(n_neighbors=k, method=params["method"], algorithm=algorithm).fit(references)
    arrays = {
        **scaling.arrays,
        "references": references.T,
        "neighbours": np.array([k], dtype=np.int64),
    }
    return Frozen(
        arrays,
        lambda rows: detector.decision_function(scaling(X[rows])),
        absolute_tolerance=error,
    )


def fit_lof(params: Mapping[str, Any], X: Floats, seed: int, floors: Floats) -> Frozen:
    """Fit PyOD's LOF on robustly scaled reference rows; frozen in its novelty form.

    Every row is scored as a new one, so a reference finds itself among its neighbours, as in
    scikit-learn's ``score_samples``.  Of equally near references the first counts, where the
    library leaves the choice to its search; such rows are not compared.
    """
    from pyod.models.lof import LOF

    scaling = RobustScaling.fit(X, floors)
    references = scaling(_references(params, X, seed))
    k = _nearest(params, references)
    algorithm, error = _search(references)
    detector = LOF(n_neighbors=k, algorithm=algorithm).fit(references)
    fitted = detector.detector_

    def expected(rows: NDArray[np.int64]) -> Floats:
        Z = scaling(X[rows])
        distances, _ = fitted.kneighbors(Z, n_neighbors=k + 1)
        tied = distances[:, -1] - distances[:, k - 1] <= error * np.maximum(1.0, distances[:, -1])
        return np.where(tied, np.nan, detector.decision_function(Z))

    arrays = {
        **scaling.arrays,
        "references": references.T,
        "neighbours": np.array([k], dtype=np.int64),
        "reach": fitted._distances_fit_X_[:, k - 1],
        "density": fitted._lrd,
    }
    # Densities among duplicates reach 1e10 and enlarge the library's error as much.
    slack = error * float(np.max(fitted._lrd))
    return Frozen(arrays, expected, absolute_tolerance=slack, undecidable=True)


def fit_ocsvm(params: Mapping[str, Any], X: Floats, seed: int, floors: Floats) -> Frozen:
    """Fit PyOD's one-class support vector machine with an rbf kernel on robustly scaled rows."""
    from pyod.models.ocsvm import OCSVM

    scaling = RobustScaling.fit(X, floors)
    Z = scaling(X)
    references = scaling(_references(params, X, seed))
    detector = OCSVM(nu=float(params["nu"]), gamma=params["gamma"]).fit(references)
    machine = detector.detector_
    arrays = {
        **scaling.arrays,
        "references": machine.support_vectors_.T,
        "weights": machine.dual_coef_[0],
        "gamma": np.array([machine._gamma]),
        "intercept": machine.intercept_,
    }
    return Frozen(arrays, lambda rows: detector.decision_function(Z[rows]), absolute_tolerance=1e-9)
