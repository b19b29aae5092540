"""Turns a family of the catalogue into frozen members: one, or the self-cleaning ensemble."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynomaly.application.ports.learning import DetectorFitter, Kernels
from pynomaly.application.scoring_rows import score_members
from pynomaly.domain.detectors import ParameterValue, complete
from pynomaly.domain.models import Member, Normalisation
from pynomaly.domain.spread import robust_spread

__all__ = ["fit_detector"]

Floats = NDArray[np.float64]
Recipe = tuple[tuple[str, Mapping[str, ParameterValue]], ...]

_SUSPICION: Recipe = (
    ("iforest", {"n_estimators": 200}),
    ("cluster", {"smallest": 8, "levels": 1}),
    ("subsample", {"subsamples": 40, "size": 16}),
)
_CLEAN: Recipe = (
    ("knn", {"n_neighbors": 20, "method": "mean", "max_references": 512}),
    ("subsample", {"subsamples": 40, "size": 16}),
    ("mahalanobis", {}),
)
# Of a surrogate that only gives an opinion: the mean of all rounds is as good with a third of the
# trees, and growing them is half of what a model costs.
_OPINION_TREES = 30
# Silent on all rows but absurd ones, which it puts on top: twice the limit adds five to what the other
# members say together, more than any ordinary row has.
_GUARD_WEIGHT = 0.5
_GUARD_SCALE = Normalisation(median=0.0, spread=1.0, mean=0.0, std=1 / 16)
# What else was tried, and what the benchmark said: docs/explanation/detection-quality.md.


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
    """Fit a family on encoded rows; the weighted mean of the members' scores is its score.

    The self-cleaning ensemble drops three shares of the most suspicious rows, fits three detectors
    on each remainder, and lets a surrogate forest learn their common score from all rows.  What it
    says of rows it did not see, and their score, are the opinion of a round; the mean opinion of
    all rounds is the suspicion of the next.  The last round's members are the model, with a guard
    against single absurd values, which distances over many columns drown.

    Args:
        detector: A family of the catalogue, or ``surrogate``: of the first suspicion, alone.
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
    if detector not in ("self_cleaning", "surrogate"):
        return (fitter.fit(detector, settings, X, seed, floors),)
    seeds = _seeds(seed)
    spreads = robust_spread(X)
    suspicion = score_members(_fit_all(_SUSPICION, X, fitter, seeds, floors), X, kernels)
    if detector == "surrogate":
        return (fitter.imitate(settings, suspicion, X, next(seeds), floors)[0],)
    low, high, weight = (float(settings[p]) for p in ("trim_low", "trim_high", "surrogate"))
    members: tuple[Member, ...] = ()
    surrogate: Member | None = None
    opinions: list[Floats] = []
    for left in reversed(range(int(settings["rounds"]))):
        members = tuple(
            member
            for share in (low, (low + high) / 2, high)
            for rows in (_trimmed(X, suspicion, share),)
            for member in _fit_all(_CLEAN, rows, fitter, seeds, _with_lost(rows, spreads, floors))
        )
        clean = score_members(members, X, kernels)
        trees = {"trees": _OPINION_TREES} if left else {}
        surrogate, unseen = fitter.imitate(trees, clean, X, next(seeds), floors)
        opinions.append(clean + unseen)
        # The mean: by the last opinion alone, rounds swing between two answers.
        suspicion = np.mean(opinions, axis=0)
    assert surrogate is not None  # the catalogue's space starts at one round
    guard = fitter.fit("deviation", {}, X, next(seeds), floors)
    return (
        *members,
        replace(surrogate, weight=weight * len(members)),
        replace(guard, weight=_GUARD_WEIGHT * len(members), normalisation=_GUARD_SCALE),
    )


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


def _with_lost(rows: Floats, spreads: Floats, floors: Floats | None) -> Floats:
    """Return floors, and the whole table's spread for columns that trimming has made constant.

    The rows that carry a rare flag are often the suspicious ones.  Without a spread detectors leave
    out what the rest has one value of, and would not see the flag at all.
    """
    lost = np.where(rows.max(axis=0) > rows.min(axis=0), 0.0, spreads)
    return lost if floors is None else np.maximum(floors, lost)


def _seeds(seed: int) -> Iterator[int]:
    rng = np.random.default_rng(seed)
    while True:
        yield int(rng.integers(2**31 - 1))
