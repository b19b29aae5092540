"""Scores frozen members by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pynomaly.domain.errors import IntegrityError
from pynomaly.domain.extensions import Extension, extension
from pynomaly.domain.finite import require_finite
from pynomaly.domain.models import Member
from pynomaly.domain.uncertified import PREFIX

__all__ = ["FrozenKernels"]

Floats = NDArray[np.float64]


class FrozenKernels:
    """Implements the ``Kernels`` port.

    Every kernel walks rows one by one with a fixed order of additions, so a row's score is the
    same to the last bit alone, in any batch and in any thread.  Compiled code is cached on disk;
    each group of kernels is imported (and, once per machine, compiled) only when first needed.

    Args:
        uncertified: Scores members whose detector has no kernel; without it they are refused.
    """

    def __init__(self, uncertified: Callable[[Member, Floats], Floats] | None = None) -> None:
        self._uncertified = uncertified

    def score(self, member: Member, X: Floats) -> Floats:
        """Return raw scores (n,), higher = stranger; see the port."""
        X = np.ascontiguousarray(X, dtype=np.float64)
        require_finite(X, member.detector)
        if kernel := _KERNELS.get(member.detector):
            return kernel(member, X)
        if member.detector.startswith(PREFIX) and self._uncertified:
            return self._uncertified(member, X)
        if found := extension(member.detector):
            return _extended(found, member, X)
        raise IntegrityError(
            f"no kernel for detector {member.detector!r}",
            hint="the model was made by another version of pynomaly, or needs a package that is "
            "not installed here: install it, or retrain the model",
        )


def _extended(found: Extension, member: Member, X: Floats) -> Floats:
    """Score with another package's detector, and hold it to what a kernel gives."""
    given = found.detector.score(member.arrays, member.params, X)
    scores = np.asarray(given, dtype=np.float64)
    if scores.shape != (len(X),) or not np.isfinite(scores).all():
        wrong = (
            f"an array of shape {scores.shape} for {len(X)} rows"
            if scores.shape != (len(X),)
            else f"{int((~np.isfinite(scores)).sum())} of {len(X)} rows no finite score"
        )
        raise IntegrityError(
            f"detector {member.detector!r} of package {found.package} {found.version} gives {wrong}",
            hint="check it with pynomaly.testing.check_detector",
        )
    return scores


def _scaled(member: Member, X: Floats) -> Floats:
    from pynomaly.infrastructure.kernels import scaling

    arrays = member.arrays
    return np.asarray(
        scaling.robust(X, arrays["columns"], arrays["center"], arrays["scale"]), dtype=np.float64
    )


def _iforest(member: Member, X: Floats) -> Floats:
    from pynomaly.infrastructure.kernels import trees

    a = member.arrays
    return np.asarray(
        trees.forest(
            X, a["center"], a["feature"], a["threshold"], a["child"], a["length"], a["roots"],
            a["depths"], float(a["denominator"][0]),
        )
    )  # fmt: skip


def _ecod(member: Member, X: Floats) -> Floats:
    from pynomaly.infrastructure.kernels import marginals

    a = member.arrays
    return np.asarray(marginals.tails(X, a["columns"], a["starts"], a["values"], a["tails"]))


def _hbos(member: Member, X: Floats) -> Floats:
    from pynomaly.infrastructure.kernels import marginals

    a = member.arrays
    return np.asarray(
        marginals.histograms(
            _scaled(member, X), a["edges"], a["heights"], a["lowest"], float(a["tolerance"][0])
        )
    )


def _knn(member: Member, X: Floats) -> Floats:
    from pynomaly.infrastructure.kernels import distances

    largest = member.params["method"] == "largest"
    references = member.arrays["references"]
    return np.asarray(
        distances.neighbours(
            _scaled(member, X), references, int(member.arrays["neighbours"][0]), largest
        )
    )


def _groups(member: Member, X: Floats) -> Floats:
    from pynomaly.infrastructure.kernels import distances

    a = member.arrays
    return np.asarray(distances.nearest_per_group(_scaled(member, X), a["references"], a["starts"]))


def _pca(member: Member, X: Floats) -> Floats:
    from pynomaly.infrastructure.kernels import distances

    a = member.arrays
    return np.asarray(
        distances.weighted_sum(
            _scaled(member, X), a["mean"], a["deviation"], a["components"], a["weights"]
        )
    )


def _gmm(member: Member, X: Floats) -> Floats:
    from pynomaly.infrastructure.kernels import densities

    a = member.arrays
    Z = _scaled(member, X)
    if "projection" in a:
        Z = densities.project(Z, a["projection_mean"], a["projection"])
    return np.asarray(densities.mixture(Z, a["means"], a["factors"], a["constants"]))


def _mahalanobis(member: Member, X: Floats) -> Floats:
    from pynomaly.infrastructure.kernels import densities

    a = member.arrays
    return np.asarray(densities.mahalanobis(_scaled(member, X), a["mean"], a["factor"]))


_KERNELS: dict[str, Callable[[Member, Floats], Floats]] = {
    "iforest": _iforest,
    "ecod": _ecod,
    "hbos": _hbos,
    "knn": _knn,
    "cluster": _groups,
    "subsample": _groups,
    "pca": _pca,
    "gmm": _gmm,
    "mahalanobis": _mahalanobis,
}
