"""Fits one detector, freezes it, and refuses to hand it out if the copy differs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynomaly.application.ports.learning import Kernels
from pynomaly.domain.detectors import complete
from pynomaly.domain.errors import ConfigurationError, IntegrityError, NotTrainableError
from pynomaly.domain.extensions import Frozen, extension, extension_versions
from pynomaly.domain.finite import require_finite
from pynomaly.domain.models import Member, Normalisation
from pynomaly.domain.scores import fit_normalisation, normalise
from pynomaly.domain.uncertified import PREFIX
from pynomaly.infrastructure.pyod.reproducible import reproducible
from pynomaly.infrastructure.pyod.uncertified import fit_uncertified

__all__ = ["PyodFitter"]

Floats = NDArray[np.float64]

_CHECKED_ROWS = 512


class PyodFitter:
    """Implements the ``DetectorFitter`` port.

    Fits one detector at a time in a process: libraries run single-threaded while fitting, because
    k-means adds up its threads' sums in the order they finish and would not be reproducible.  Only
    the surrogate's trees, which do not depend on each other, are grown by several threads.

    Args:
        kernels: Score the frozen copy in the self-test.
        tolerance: Relative deviation that the self-test allows.  The default leaves room for
            awkward data; on well-behaved data detectors keep to the catalogue's own.
        compared: Least share of the looked-at rows whose score the library is sure of.  Awkward
            data may have none.
        threads: How many may grow a surrogate's trees, asked whenever one is fitted.
    """

    def __init__(
        self,
        kernels: Kernels,
        tolerance: float = 1e-6,
        compared: float = 0.0,
        threads: Callable[[], int] = lambda: 1,
    ) -> None:
        self._kernels = kernels
        self._tolerance = tolerance
        self._compared = compared
        self._threads = threads

    def fit(
        self,
        detector: str,
        params: Mapping[str, Any],
        X: Floats,
        seed: int,
        floors: Floats | None = None,
    ) -> Member:
        """Fit, freeze and self-test; see the port."""
        if detector in ("self_cleaning", "surrogate"):
            raise ConfigurationError(
                f"{detector!r} is not a single detector",
                hint="ensembles are fitted by application.ensemble.fit_detector",
            )
        settings = complete(detector, params)
        X = _teachable(detector, X)
        with reproducible():
            frozen = _fit(detector)(settings, X, seed, _floors(X, floors))
            member = _frozen(detector, settings, frozen)
            scores = self._kernels.score(member, X)
            checked = _rows_checked(X)
            self._refuse_unlike(detector, scores[checked], checked, frozen)
        return replace(member, normalisation=fit_normalisation(scores))

    def imitate(
        self,
        params: Mapping[str, Any],
        scores: Floats,
        X: Floats,
        seed: int,
        floors: Floats | None = None,
    ) -> tuple[Member, Floats]:
        """Fit a surrogate of given scores, freeze and self-test; see the port."""
        from pynomaly.infrastructure.pyod.surrogate import fit_surrogate

        settings = complete("surrogate", params)
        X = _teachable("surrogate", X)
        with reproducible():
            frozen, unseen = fit_surrogate(
                settings, X, scores, seed, _floors(X, floors), self._threads()
            )
            member = _frozen("surrogate", settings, frozen)
            checked = _rows_checked(X)
            scored = self._kernels.score(member, X[checked])
            self._refuse_unlike("surrogate", scored, checked, frozen)
        normalisation = fit_normalisation(unseen)
        return replace(member, normalisation=normalisation), normalise(unseen, normalisation)

    def _refuse_unlike(
        self, detector: str, scores: Floats, rows: NDArray[np.int64], frozen: Frozen
    ) -> None:
        """Refuse a copy whose scores of some training rows are not the library's."""
        expected = frozen.expected(rows)
        sure = ~np.isnan(expected) if frozen.undecidable else np.ones(len(expected), np.bool_)
        if sure.mean() < self._compared:
            raise IntegrityError(
                f"{detector}: the fitted detector is sure of {int(sure.sum())} of {len(sure)} "
                f"training rows only, {self._compared:.0%} must be compared",
                hint=_to_blame(detector),
            )
        spread = np.std(expected[sure]) if sure.any() else 0.0
        allowed = self._tolerance * np.maximum(np.abs(expected), spread)
        wrong = sure & ~(np.abs(scores - expected) <= frozen.absolute_tolerance + allowed)
        _refuse_if(wrong | ~np.isfinite(scores), detector, scores, expected)

    def library_versions(self) -> Mapping[str, str]:
        """Return versions of everything that took part; see the port."""
        import platform
        from importlib.metadata import version

        packages = ("numba", "numpy", "pyod", "scikit-learn", "scipy")
        return {
            "python": platform.python_version(),
            **{package: version(package) for package in packages},
            **extension_versions(),
        }


def _frozen(detector: str, settings: Mapping[str, Any], frozen: Frozen) -> Member:
    arrays = {name: np.ascontiguousarray(array) for name, array in frozen.arrays.items()}
    _require_numbers(detector, arrays)
    return Member(detector, settings, arrays, Normalisation(0.0, 1.0, 0.0, 1.0))


def _rows_checked(X: Floats) -> NDArray[np.int64]:
    """Return rows spread over all of them, :data:`_CHECKED_ROWS` at most."""
    return np.unique(np.linspace(0, len(X) - 1, _CHECKED_ROWS).astype(np.int64))


def _teachable(detector: str, X: Floats) -> Floats:
    require_finite(X, detector)
    if len(X) < 2 or not np.any(X.max(axis=0) > X.min(axis=0)):
        raise NotTrainableError(
            f"{detector}: {len(X)} training rows with "
            f"{len(np.unique(X, axis=0))} distinct ones teach nothing",
            hint="give at least two different rows; a few hundred make a useful model",
        )
    return np.ascontiguousarray(X, dtype=np.float64)


def _floors(X: Floats, floors: Floats | None) -> Floats:
    return np.zeros(X.shape[1]) if floors is None else floors


def _refuse_if(wrong: NDArray[np.bool_], detector: str, frozen: Floats, fitted: Floats) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        raise IntegrityError(
            f"{detector}: the frozen detector disagrees with the fitted one on "
            f"{int(wrong.sum())} of {len(wrong)} training rows "
            f"(first: {frozen[row]!r} instead of {fitted[row]!r})",
            hint=_to_blame(detector),
        )


def _to_blame(detector: str) -> str:
    if detector.startswith(PREFIX):
        return "it is uncertified: it may not be reproducible, or score rows by their batch"
    if found := extension(detector):
        return f"report it to {found.package} {found.version}, which brings this detector"
    return (
        "this is a bug or an untested library version; please report it with the versions "
        "`pynomaly config show` prints"
    )


def _require_numbers(detector: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise IntegrityError(
                f"{detector}: array {name!r} has dtype {array.dtype}",
                hint="models hold booleans, integers and floats; nothing else is stored",
            )


def _fit(detector: str) -> Callable[[Mapping[str, Any], Floats, int, Floats], Frozen]:
    if detector.startswith(PREFIX):
        return partial(fit_uncertified, detector)
    if found := extension(detector):
        return found.fit
    return _fitters()[detector]


def _fitters() -> Mapping[str, Callable[[Mapping[str, Any], Floats, int, Floats], Frozen]]:
    from pynomaly.infrastructure.pyod import (
        covariance,
        deviation,
        distances,
        forest,
        marginals,
        neighbours,
    )

    return {
        "iforest": forest.fit_iforest,
        "ecod": marginals.fit_ecod,
        "copod": marginals.fit_copod,
        "hbos": marginals.fit_hbos,
        "loda": marginals.fit_loda,
        "pca": covariance.fit_pca,
        "mcd": covariance.fit_mcd,
        "gmm": covariance.fit_gmm,
        "cblof": distances.fit_cblof,
        "inne": distances.fit_inne,
        "knn": neighbours.fit_knn,
        "lof": neighbours.fit_lof,
        "ocsvm": neighbours.fit_ocsvm,
        "mahalanobis": covariance.fit_mahalanobis,
        "cluster": distances.fit_cluster,
        "subsample": distances.fit_subsample,
        "deviation": deviation.fit_deviation,
    }
