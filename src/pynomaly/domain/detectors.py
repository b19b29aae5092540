"""The catalogue: every detector we can fit, freeze and score, and where to search for better ones.

A *family* is something a pipeline may name; a *member* occurs only inside the self-cleaning
ensemble.  Search spaces are data, so a tuner needs to know nothing about detectors.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field

from pynomaly.domain.errors import ConfigurationError

__all__ = [
    "CATALOGUE",
    "FAMILIES",
    "SINGLE_FAMILIES",
    "Choice",
    "Detector",
    "FloatRange",
    "IntRange",
    "ParameterValue",
    "Space",
    "complete",
    "detector",
]

ParameterValue = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few values."""

    values: tuple[ParameterValue, ...]


@dataclass(frozen=True, slots=True)
class IntRange:
    """A whole number from ``low`` to ``high``, both included."""

    low: int
    high: int
    log: bool = False


@dataclass(frozen=True, slots=True)
class FloatRange:
    """A number from ``low`` to ``high``, both included."""

    low: float
    high: float
    log: bool = False


Space = Choice | IntRange | FloatRange


@dataclass(frozen=True, slots=True)
class Detector:
    """One entry of the catalogue.

    Args:
        name: As configuration and frozen members spell it.
        title: For people.
        finds: What kind of anomaly it is good at.
        defaults: Every parameter with its default.
        space: Parameters worth tuning; defaults lie inside.
        family: Whether a pipeline may name it.
        certified: Whether it freezes to arrays and passes the contract suite.
    """

    name: str
    title: str
    finds: str
    defaults: Mapping[str, ParameterValue] = field(default_factory=dict)
    space: Mapping[str, Space] = field(default_factory=dict)
    family: bool = True
    certified: bool = True


_DETECTORS = (
    Detector(
        "self_cleaning",
        "Self-cleaning ensemble",
        "anomalies of any kind in training data that already contains some of them",
        {"trim_low": 0.10, "trim_high": 0.25, "rounds": 1},
        {
            "trim_low": FloatRange(0.03, 0.15),
            "trim_high": FloatRange(0.15, 0.40),
            "rounds": IntRange(1, 2),
        },
    ),
    Detector(
        "iforest",
        "Isolation forest",
        "rows that few random cuts separate from the rest",
        {"n_estimators": 100, "max_samples": 256},
        {"n_estimators": Choice((100, 200, 300)), "max_samples": Choice((128, 256, 512))},
    ),
    Detector(
        "ecod",
        "Empirical cumulative distribution (ECOD)",
        "values in the tails of single columns",
    ),
    Detector(
        "hbos",
        "Histograms (HBOS)",
        "values in sparse regions of single columns",
        {"n_bins": 10, "alpha": 0.1},
        {"n_bins": IntRange(5, 50, log=True), "alpha": FloatRange(0.02, 0.5, log=True)},
    ),
    Detector(
        "pca",
        "Principal components",
        "rows that break the linear relations between columns",
        {"variance": 0.99},
        {"variance": FloatRange(0.80, 0.999)},
    ),
    Detector(
        "knn",
        "Nearest neighbours",
        "rows far from their nearest neighbours",
        {"n_neighbors": 20, "method": "mean"},
        {"n_neighbors": IntRange(3, 50, log=True), "method": Choice(("mean", "largest"))},
    ),
    Detector(
        "gmm",
        "Gaussian mixture",
        "rows in low-density regions between or around groups",
        {"n_components": 4, "reg_covar": 1e-2},
        {"n_components": IntRange(1, 8), "reg_covar": FloatRange(1e-3, 1e-1, log=True)},
    ),
    Detector(
        "mahalanobis",
        "Mahalanobis distance (Ledoit–Wolf)",
        "rows that break the covariance of the bulk",
        family=False,
    ),
    Detector(
        "cluster",
        "Distance to large clusters",
        "rows far from every large k-means cluster; k doubles from level to level",
        {"smallest": 4, "levels": 3},
        family=False,
    ),
    Detector(
        "subsample",
        "Distance to random subsamples",
        "rows that small random samples of the data rarely come near",
        {"subsamples": 40, "size": 16},
        family=False,
    ),
)

CATALOGUE: Mapping[str, Detector] = {entry.name: entry for entry in _DETECTORS}
"""Every detector by name."""

FAMILIES: tuple[str, ...] = tuple(entry.name for entry in _DETECTORS if entry.family)
"""What a pipeline may name, the incumbent first."""

SINGLE_FAMILIES: tuple[str, ...] = FAMILIES[1:]
"""Families that give a single frozen detector."""


def detector(name: str) -> Detector:
    """Return the catalogue's entry.

    Raises:
        ConfigurationError: There is none; the hint suggests the nearest.

    >>> detector("ecod").title
    'Empirical cumulative distribution (ECOD)'
    """
    try:
        return CATALOGUE[name]
    except KeyError:
        raise ConfigurationError(
            f"unknown detector {name!r}", hint=_suggest(name, CATALOGUE)
        ) from None


def complete(name: str, params: Mapping[str, ParameterValue]) -> dict[str, ParameterValue]:
    """Return ``params`` with defaults for the missing ones.

    Raises:
        ConfigurationError: The detector or a parameter is unknown.

    >>> complete("knn", {"n_neighbors": 5})
    {'n_neighbors': 5, 'method': 'mean'}
    """
    defaults = detector(name).defaults
    for key in params:
        if key not in defaults:
            raise ConfigurationError(
                f"detector {name!r} has no parameter {key!r}", hint=_suggest(key, defaults)
            )
    return {**defaults, **params}


def _suggest(word: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known are {', '.join(known)}" if known else "it takes no parameters"
