"""Turns a family of the catalogue into frozen members: one, or the self-cleaning ensemble."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynomaly.application.ports.learning import DetectorFitter, Kernels
from pynomaly.application.scoring_rows import score_members
from pynomaly.domain.detectors import ParameterValue, complete
from pynomaly.domain.models import Member

__all__ = ["fit_detector"]

Floats = NDArray[np.float64]
Recipe = tuple[tuple[str, Mapping[str, ParameterValue]], ...]

_SUSPICION: Recipe = (
    ("iforest", {"n_estimators": 200}),
    ("cluster", {"smallest": 8, "levels": 1}),
    ("subsample", {"subsamples": 40, "size": 16}),
)
_CLEAN: Recipe = (
    ("knn", {"n_neighbors": 20, "method": "mean"}),
    ("subsample", {"subsamples": 40, "size": 16}),
    ("mahalanobis", {}),
    ("cluster", {"smallest": 4, "levels": 3}),
    ("gmm", {"n_components": 4, "reg_covar": 1e-2}),
    ("iforest", {"n_estimators": 100}),
)


def fit_detector(
    detector: str,
    params: Mapping[str, Any],
    X: Floats,
    *,
    fitter: DetectorFitter,
    kernels: Kernels,
    seed: int,
    floors: Floats | None = None,
) -> tuple[Member, ...]:
    """Fit a family on encoded rows; the mean of the members' normalised scores is its score.

    Args:
        detector: A family of the catalogue.
        params: Of its search space; missing ones take defaults.
        X: (n, d) training rows, anomalies among them or not.
        fitter: Fits and freezes.
        kernels: Score members while the ensemble cleans its own data.
        seed: Equal seeds give bit-identical members.
        floors: (d,) smallest spread a feature may be scaled by; none where None.

    Raises:
        NotTrainableError: Too few rows, or rows without any variation.
        ConfigurationError: Unknown detector or parameter.
    """
    settings = complete(detector, params)
    if detector != "self_cleaning":
        return (fitter.fit(detector, settings, X, seed, floors),)
    seeds = _seeds(seed)
    suspicion = _fit_all(_SUSPICION, X, fitter, seeds, floors)
    members: tuple[Member, ...] = ()
    for _ in range(int(settings["rounds"])):
        scores = score_members(members or suspicion, X, kernels)
        members = tuple(
            member
            for share in (float(settings["trim_low"]), float(settings["trim_high"]))
            for member in _fit_all(_CLEAN, _trimmed(X, scores, share), fitter, seeds, floors)
        )
    return members


def _fit_all(
    recipe: Recipe,
    X: Floats,
    fitter: DetectorFitter,
    seeds: Iterator[int],
    floors: Floats | None,
) -> tuple[Member, ...]:
    return tuple(fitter.fit(name, params, X, next(seeds), floors) for name, params in recipe)


def _trimmed(X: Floats, suspicion: Floats, share: float) -> Floats:
    """Return the rows without the most suspicious share; all of them if the rest were equal.

    Without variation there is nothing to learn from; sparse data can come to that.
    """
    keep = len(X) - int(share * len(X))
    rows = np.sort(np.argsort(suspicion, kind="stable")[:keep])
    rest = X[rows]
    return rest if np.any(rest.max(axis=0) > rest.min(axis=0)) else X


def _seeds(seed: int) -> Iterator[int]:
    rng = np.random.default_rng(seed)
    while True:
        yield int(rng.integers(2**31 - 1))
