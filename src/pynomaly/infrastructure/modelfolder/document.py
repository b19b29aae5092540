"""model.json: a model without its arrays, which it names by key."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynomaly.application.imputation import MOST_TELLING, told_numbers
from pynomaly.domain.datasets import Column, Schema
from pynomaly.domain.detectors import CATALOGUE, CLASSIFIERS, families
from pynomaly.domain.encodings import CategoricalEncoding, Encoding, NumericEncoding, TimeEncoding
from pynomaly.domain.errors import IntegrityError
from pynomaly.domain.models import (
    Calibration,
    Head,
    Imputation,
    Member,
    Model,
    ModelCard,
    Normalisation,
    Preprocessing,
    Seen,
)

__all__ = ["FORMAT_VERSION", "from_document", "to_document"]

Arrays = dict[str, NDArray[Any]]

FORMAT_VERSION = 6

_ENCODINGS: Mapping[str, type[NumericEncoding | CategoricalEncoding | TimeEncoding]] = {
    "numeric": NumericEncoding,
    "categorical": CategoricalEncoding,
    "time": TimeEncoding,
}
_KINDS = {encoding: kind for kind, encoding in _ENCODINGS.items()}
_COMBINATION = "weighted_mean_of_normalised"
_REFERENCES, _CALIBRATION = "preprocessing.references", "calibration.scores"
_IMPUTATION = {
    name: f"imputation.{name}"
    for name in ("center", "spread", "means", "targets", "telling", "covariances")
}
_SEEN = {"fitted": "seen.fitted", "taught": "seen.taught"}


def to_document(model: Model) -> tuple[bytes, Arrays]:
    """Return the JSON text (sorted keys, exact floats) and the arrays it names."""
    arrays: Arrays = {
        _REFERENCES: model.preprocessing.references,
        _CALIBRATION: model.calibration.scores,
    }
    document = {
        "format_version": FORMAT_VERSION,
        "card": {
            **{entry.name: getattr(model.card, entry.name) for entry in fields(ModelCard)},
            "params": dict(model.card.params),
            "library_versions": dict(model.card.library_versions),
            "configuration": dict(model.card.configuration),
            "revision": dict(model.card.revision),
            "trials": [dict(trial) for trial in model.card.trials],
            "verdicts": dict(model.card.verdicts),
            "holdout_digest": model.card.holdout_digest,
        },
        "schema": [asdict(column) for column in model.schema.columns],
        "preprocessing": {
            "encodings": [
                {"kind": _KINDS[type(encoding)], **asdict(encoding)}
                for encoding in model.preprocessing.encodings
            ],
            "features": list(model.preprocessing.features),
            "owners": list(model.preprocessing.owners),
            "references": _REFERENCES,
            "imputation": None if model.preprocessing.imputation is None else _IMPUTATION,
        },
        "combination": _COMBINATION,
        "members": _entries("members", model.members, arrays),
        "calibration": {"scores": _CALIBRATION},
        "head": None
        if model.head is None
        else {
            "parts": _entries("head", model.head.parts, arrays),
            "weight": model.head.weight,
            "ordinary": model.head.ordinary,
        },
    }
    if (imputation := model.preprocessing.imputation) is not None:
        arrays |= {key: getattr(imputation, name) for name, key in _IMPUTATION.items()}
    if model.seen is not None:
        arrays |= {key: getattr(model.seen, name) for name, key in _SEEN.items()}
        document["seen"] = _SEEN
    text = json.dumps(document, sort_keys=True, indent=1, allow_nan=False)
    return text.encode(), arrays


def _entries(place: str, members: tuple[Member, ...], arrays: Arrays) -> list[dict[str, Any]]:
    """Return what the document says of members, and add their arrays."""
    entries = []
    for number, member in enumerate(members):
        keys = {name: f"{place}.{number}.{name}" for name in member.arrays}
        arrays |= {key: member.arrays[name] for name, key in keys.items()}
        entries.append(
            {
                "detector": member.detector,
                "params": dict(member.params),
                "normalisation": asdict(member.normalisation),
                "weight": member.weight,
                "arrays": keys,
            }
        )
    return entries


def from_document(content: bytes, arrays: Arrays) -> Model:
    """Return the model; every key must be known and every array used exactly once.

    Raises:
        IntegrityError: Unknown format version, a document that is not complete, or a detector
            that may not stand where it does.
    """
    used: list[str] = []

    def take(key: str) -> NDArray[Any]:
        used.append(key)
        return arrays[key]

    try:
        document = json.loads(content, parse_constant=_refuse)
        version = document["format_version"]
        if version != FORMAT_VERSION:
            raise IntegrityError(
                f"model.json has format version {version!r}, this pynomaly reads {FORMAT_VERSION}",
                hint="retrain the model, or use the pynomaly version that made it",
            )
        model = _model(document, take)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise IntegrityError(f"model.json is not a model: {error!r}") from error
    if sorted(used) != sorted(arrays):
        raise IntegrityError(
            f"arrays.npz and model.json name different arrays: {sorted(set(used) ^ set(arrays))}"
        )
    return model


def _model(document: dict[str, Any], take: Callable[[str], NDArray[Any]]) -> Model:
    if not document["members"] or document["combination"] != _COMBINATION:
        raise ValueError("no members, or an unknown combination")
    return Model(
        ModelCard(**{**document["card"], "trials": tuple(document["card"].get("trials", ()))}),
        Schema(tuple(Column(**column) for column in document["schema"])),
        _preprocessing(document["preprocessing"], take),
        _members(document["members"], take, "member", {*CATALOGUE, *families()}),
        _calibration(take(document["calibration"]["scores"]).astype(np.float64)),
        _head(document["head"], take),
        _seen(document.get("seen"), take),
    )


def _calibration(scores: NDArray[np.float64]) -> Calibration:
    sound = scores.ndim == 1 and len(scores) and np.isfinite(scores).all()
    if not sound or (np.diff(scores) < 0).any():
        raise ValueError("the calibration is not an ascending row of scores")
    return Calibration(scores)


def _preprocessing(document: dict[str, Any], take: Callable[[str], NDArray[Any]]) -> Preprocessing:
    found = Preprocessing(
        tuple(_encoding(entry) for entry in document["encodings"]),
        tuple(document["features"]),
        tuple(document["owners"]),
        take(document["references"]).astype(np.float64),
        _imputation(document["imputation"], take),
    )
    if not all(type(owner) is int for owner in found.owners):
        raise ValueError("the owners of features are no numbers of encodings")
    written = [(i, name) for i, one in enumerate(found.encodings) for name in one.features]
    if list(zip(found.owners, found.features, strict=True)) != written:
        # Encoding would leave features of a row as whatever is in memory.
        raise ValueError("the features are not what the encodings make")
    shape = found.references.shape
    if len(shape) != 2 or not shape[0] or shape[1] != len(written):
        raise ValueError("the reference rows do not have the features")
    if not np.isfinite(found.references).all():
        raise ValueError("the reference rows are not finite")
    if found.imputation is not None:
        _require_of(found.imputation, found)
    return found


def _imputation(
    entry: dict[str, str] | None, take: Callable[[str], NDArray[Any]]
) -> Imputation | None:
    if entry is None:
        return None
    arrays: Arrays = {name: take(key).astype(np.float64) for name, key in entry.items()}
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise ValueError("the arrays of the imputation are not finite")
    for name in ("targets", "telling"):
        arrays[name] = arrays[name].astype(np.int64)
    return Imputation(**arrays)


def _require_of(imputation: Imputation, preprocessing: Preprocessing) -> None:
    """Refuse an imputation that does not belong to what is encoded."""
    features = len(preprocessing.features)
    numbers, most = imputation.telling.shape
    shapes = {imputation.center.shape, imputation.spread.shape, imputation.means.shape}
    wanted = (numbers, most + 1, most + 1)
    if shapes != {(features,)} or imputation.covariances.shape != wanted or most > MOST_TELLING:
        raise ValueError("the arrays of the imputation do not belong together")
    told = told_numbers(preprocessing.encodings, preprocessing.owners).tolist()
    if imputation.targets.tolist() != told or numbers != len(told):
        raise ValueError("missing numbers are told that have no indicator")
    telling = imputation.telling
    if telling.max(initial=-1) >= features or telling.min(initial=0) < -1:
        raise ValueError("missing numbers are told from features that are not there")
    if not (imputation.spread > 0).all():
        raise ValueError("a spread of the imputation is not positive")


def _members(
    entries: list[dict[str, Any]],
    take: Callable[[str], NDArray[Any]],
    role: str,
    allowed: Collection[str],
) -> tuple[Member, ...]:
    for entry in entries:
        if entry["detector"] not in allowed:
            raise IntegrityError(
                f"model.json names {entry['detector']!r}, which is no {role}",
                hint="the model was made by another version of pynomaly, or needs a package that "
                "is not installed here: install it, or retrain the model",
            )
        scale = entry["normalisation"]
        if not all(map(_number, (entry["weight"], *scale.values()))):
            raise ValueError(f"{entry['detector']}: its weight or scale is no number")
        if not (scale["spread"] and scale["std"]) or entry["weight"] <= 0:
            raise ValueError(f"{entry['detector']}: its scale is zero, or its weight not positive")
    return tuple(
        Member(
            entry["detector"],
            entry["params"],
            {name: take(key) for name, key in entry["arrays"].items()},
            Normalisation(**entry["normalisation"]),
            float(entry["weight"]),
        )
        for entry in entries
    )


def _head(entry: dict[str, Any] | None, take: Callable[[str], NDArray[Any]]) -> Head | None:
    if entry is None:
        return None
    if not entry["parts"]:
        raise ValueError("a head without parts")
    if not (_number(entry["weight"]) and _number(entry["ordinary"])):
        raise ValueError("the weights of the head are no numbers")
    parts = _members(entry["parts"], take, "part of a head", CLASSIFIERS)
    return Head(parts, entry["weight"], entry["ordinary"])


def _seen(entry: dict[str, str] | None, take: Callable[[str], NDArray[Any]]) -> Seen | None:
    if entry is None:
        return None  # trained before that was kept
    return Seen(*(take(entry[name]).astype(np.uint64) for name in _SEEN))


def _encoding(entry: dict[str, Any]) -> Encoding:
    kind = _ENCODINGS[entry.pop("kind")]
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
    for field in fields(kind):
        if not _SOUND[str(field.type)](values[field.name]):
            raise ValueError(f"{field.name} of column {values['column']!r} is no {field.type}")
    return kind(**values)


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # True is no number


_SOUND: Mapping[str, Callable[[Any], bool]] = {
    "str": lambda value: isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "float": _number,
    "tuple[float, ...]": lambda values: all(map(_number, values)),
    "tuple[str | None, ...]": lambda levels: all(isinstance(one, str | None) for one in levels),
}
"""What a value of an encoding must be, by its declared type."""


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not allowed")
