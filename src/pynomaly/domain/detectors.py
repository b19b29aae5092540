"""Detectors by name: ours, those of other packages, and uncertified ones."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from pynomaly.domain.catalogue import DETECTORS
from pynomaly.domain.detector_entry import (
    Choice,
    Detector,
    FloatRange,
    IntRange,
    ParameterValue,
    Space,
)
from pynomaly.domain.errors import ConfigurationError
from pynomaly.domain.extensions import extension, extension_names
from pynomaly.domain.uncertified import PREFIX, UNCERTIFIED

__all__ = [
    "CATALOGUE",
    "CLASSIFIERS",
    "FAMILIES",
    "SEARCHED",
    "SINGLE_FAMILIES",
    "Choice",
    "Detector",
    "FloatRange",
    "IntRange",
    "ParameterValue",
    "Space",
    "complete",
    "detector",
    "families",
    "origin",
]

CATALOGUE: Mapping[str, Detector] = {entry.name: entry for entry in DETECTORS}
"""Every detector by name."""

CLASSIFIERS = ("grown_forest", "boosted_trees", "logistic")
"""What labels teach: parts of a head, never members."""

FAMILIES: tuple[str, ...] = tuple(entry.name for entry in DETECTORS if entry.family)
"""What a pipeline may name, the incumbent first."""

SEARCHED: tuple[str, ...] = tuple(
    entry.name for entry in DETECTORS if entry.family and entry.searched
)
"""Families that tuning tries unless the pipeline names others, the incumbent first."""

SINGLE_FAMILIES: tuple[str, ...] = SEARCHED[1:]
"""Those of them that give a single frozen detector: the panel whose consensus guides tuning."""


def families() -> tuple[str, ...]:
    """Return every name a pipeline may use: ours, those of installed packages, PyOD's others."""
    return (*FAMILIES, *extension_names(), *(PREFIX + name for name in UNCERTIFIED))


def detector(name: str) -> Detector:
    """Return the entry of a detector: ours, an installed package's, or an uncertified one.

    Raises:
        ConfigurationError: There is none (the hint suggests the nearest), or the package that
            brings it is broken or takes a name of ours.

    >>> detector("ecod").title
    'Empirical cumulative distribution (ECOD)'
    >>> detector("pyod:ABOD").certified
    False
    """
    found = extension(name)
    if name in CATALOGUE:
        if found is not None:
            raise ConfigurationError(
                f"package {found.package} {found.version} brings a detector {name!r}, "
                "which is built in",
                hint=f"rename it there, or uninstall {found.package}",
            )
        return CATALOGUE[name]
    if found is not None:
        return found.detector.entry
    if name.startswith(PREFIX) and (other := UNCERTIFIED.get(name.removeprefix(PREFIX))):
        title, finds = other
        return Detector(
            name=name,
            title=f"{title} (PyOD, uncertified)",
            finds=finds,
            fit_cost="unknown; fitted on at most 1,024 rows, again in every process that scores",
            score_cost="unknown; PyOD's own, one call at a time",
            reference=f"pyod.models, class {name.removeprefix(PREFIX)}",
            tolerance=0.0,
            equals="PyOD's own detector, fitted again",
            certified=False,
        )
    known = dict.fromkeys((*CATALOGUE, *families()))
    raise ConfigurationError(f"unknown detector {name!r}", hint=_suggest(name, known))


def origin(name: str) -> str:
    """Return where a detector comes from: ``built in``, ``PyOD``, or a package with its version."""
    if found := extension(name):
        return f"{found.package} {found.version}"
    return "PyOD" if name.startswith(PREFIX) else "built in"


def complete(name: str, params: Mapping[str, ParameterValue]) -> dict[str, ParameterValue]:
    """Return ``params`` with defaults for the missing ones.

    Parameters of uncertified detectors are PyOD's own; fitting checks them.

    Raises:
        ConfigurationError: The detector or a parameter is unknown.

    >>> complete("knn", {"n_neighbors": 5})
    {'n_neighbors': 5, 'method': 'mean', 'max_references': 2048}
    """
    defaults = detector(name).defaults
    for key in () if name.startswith(PREFIX) else params:
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
