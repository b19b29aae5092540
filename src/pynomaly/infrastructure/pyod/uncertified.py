"""PyOD's other detectors, for experiments: kept as training rows, fitted again to score.

What such a detector learned has no form of its own here, and pickles are never read or written.
So a member holds a bounded sample of training rows, the seed and the parameters; whoever scores
first fits the detector anew, from classes of ``pyod.models`` in the catalogue and no others.
"""

from __future__ import annotations

import difflib
import inspect
import weakref
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynomaly.domain.errors import (
    ConfigurationError,
    DataRejectedError,
    IntegrityError,
    MissingExtraError,
    NotTrainableError,
)
from pynomaly.domain.extensions import Frozen
from pynomaly.domain.models import Member
from pynomaly.domain.uncertified import PREFIX, UNCERTIFIED
from pynomaly.infrastructure.pyod.frozen import RobustScaling
from pynomaly.infrastructure.pyod.reproducible import reproducible

__all__ = ["MAX_TRAINING_ROWS", "RefittedDetectors", "fit_uncertified", "parameters"]

Floats = NDArray[np.float64]

MAX_TRAINING_ROWS = 1_024
"""Rows kept, drawn at random: many of these detectors take n² memory or n³ time."""

_BLOCK_ROWS = 1_024
_MODULES = {
    "AutoEncoder": "auto_encoder",
    "DeepSVDD": "deep_svdd",
    "FeatureBagging": "feature_bagging",
}
"""Where a class's module is not its name in lower case."""


def fit_uncertified(
    detector: str, params: Mapping[str, Any], X: Floats, seed: int, floors: Floats
) -> Frozen:
    """Keep robustly scaled training rows, once the detector is known to learn from them.

    Args:
        detector: ``pyod:`` and the class's name.
        params: Of the class.
        X: (n, d) training rows.
        seed: Given to the class if it takes ``random_state``.
        floors: (d,) smallest spread to scale a column by.

    Raises:
        ConfigurationError: The class has no such parameter.
        MissingExtraError: The class needs a package that is not installed.
        NotTrainableError: It fails on these rows, or gives them no finite scores.
    """
    scaling = RobustScaling.fit(X, floors)
    chosen = np.arange(len(X))
    if len(X) > MAX_TRAINING_ROWS:
        draw = np.random.default_rng(seed).choice(len(X), MAX_TRAINING_ROWS, replace=False)
        chosen = np.sort(draw)
    kept = np.ascontiguousarray(scaling(X[chosen]))
    _check_params(detector, params)
    try:
        fitted = _fitted(detector, params, kept, seed)
        finite = np.isfinite(_scores(fitted, kept))
    except Exception as error:
        if isinstance(error, MissingExtraError):
            raise
        raise NotTrainableError(
            f"{detector} cannot learn from {kept.shape[0]} rows and {kept.shape[1]} columns: "
            f"{type(error).__name__}: {error}",
            hint="it is uncertified; certified detectors are in `pynomaly detectors list`",
        ) from error
    if not finite.all():
        raise NotTrainableError(
            f"{detector} gives {int((~finite).sum())} of {len(finite)} training rows no finite "
            "score",
            hint="it is uncertified; certified detectors are in `pynomaly detectors list`",
        )
    arrays = {**scaling.arrays, "training": kept, "seed": np.array([seed], dtype=np.int64)}
    return Frozen(arrays, lambda rows: _scores(fitted, scaling(X))[rows])


class RefittedDetectors:
    """Scores uncertified members; fits each once while its arrays live.

    PyOD's detectors keep state while scoring, so one call runs at a time in a process, and none
    while anything is fitted.
    """

    def __init__(self) -> None:
        self._fitted: dict[tuple[Any, ...], tuple[weakref.ref[Any], Any]] = {}

    def score(self, member: Member, X: Floats) -> Floats:
        """Return raw scores (n,), higher = stranger.

        Raises:
            IntegrityError: The member names a class or parameters that are not in the catalogue.
            MissingExtraError: The class needs a package that is not installed.
            DataRejectedError: The detector fails on these rows, or gives no finite score.
        """
        a = member.arrays
        Z = RobustScaling(a["columns"], a["center"], a["scale"])(X)
        with reproducible():
            fitted = self._detector(member)
            try:
                scores = _scores(fitted, Z)
            except Exception as error:
                raise DataRejectedError(
                    f"{member.detector} fails on {len(X)} rows: {type(error).__name__}: {error}",
                    hint="it is uncertified; certified detectors score any finite row",
                ) from error
        if not np.isfinite(scores).all():
            raise DataRejectedError(
                f"{member.detector} gives {int((~np.isfinite(scores)).sum())} of {len(X)} rows no "
                "finite score",
                hint="it is uncertified; certified detectors score any finite row",
            )
        return scores

    def _detector(self, member: Member) -> Any:
        training = member.arrays["training"]
        key = (id(training), member.detector, *sorted(map(str, member.params.items())))
        reference, fitted = self._fitted.get(key, (None, None))
        if reference is None or reference() is not training:
            try:
                _check_params(member.detector, member.params)
            except ConfigurationError as error:
                raise IntegrityError(error.message, hint=error.hint) from error
            fitted = _fitted(
                member.detector, member.params, training, int(member.arrays["seed"][0])
            )
            forget = weakref.ref(training, lambda _: self._fitted.pop(key, None))
            self._fitted[key] = (forget, fitted)
        return fitted


def _class(detector: str) -> Any:
    """Import the class, if the catalogue knows it and it is what it claims to be."""
    name = detector.removeprefix(PREFIX)
    if name not in UNCERTIFIED:
        raise IntegrityError(
            f"no detector {detector!r} may be fitted from a model",
            hint="the model was made by another version of pynomaly; retrain it",
        )
    from pyod.models.base import BaseDetector

    try:
        module = import_module(f"pyod.models.{_MODULES.get(name, name.lower())}")
    except ImportError as error:
        raise MissingExtraError(
            f"{detector} needs a package that is not installed: {error}",
            hint=f"pip install {error.name}" if error.name else None,
        ) from error
    found = getattr(module, name)
    if not issubclass(found, BaseDetector):
        raise IntegrityError(f"pyod's {name} is no detector")
    return found


def parameters(detector: str) -> dict[str, Any]:
    """Return what the class takes, with defaults.

    Raises:
        MissingExtraError: The class needs a package that is not installed.
    """
    taken = list(inspect.signature(_class(detector).__init__).parameters.values())[1:]
    return {p.name: None if p.default is p.empty else p.default for p in taken}


def _check_params(detector: str, params: Mapping[str, Any]) -> None:
    known = parameters(detector)
    for key, value in params.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            raise ConfigurationError(
                f"detector {detector!r} has no parameter {key!r}",
                hint=f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}",
            )
        if not isinstance(value, str | int | float | bool):
            raise ConfigurationError(
                f"parameter {key!r} of detector {detector!r} is a {type(value).__name__}",
                hint="give a text, a number, true or false",
            )


def _fitted(detector: str, params: Mapping[str, Any], Z: Floats, seed: int) -> Any:
    kind = _class(detector)
    seeded = "random_state" in parameters(detector)
    settings = {"random_state": seed, **params} if seeded else dict(params)
    return kind(**settings).fit(Z.copy())


def _scores(fitted: Any, Z: Floats) -> Floats:
    """Return scores, a block at a time so that memory stays bounded."""
    blocks = [
        np.asarray(fitted.decision_function(Z[start : start + _BLOCK_ROWS].copy()), np.float64)
        for start in range(0, len(Z), _BLOCK_ROWS)
    ]
    return np.concatenate(blocks) if blocks else np.empty(0)
