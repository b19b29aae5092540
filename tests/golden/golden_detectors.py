"""Small models and the scores they must give, so that an upgrade that changes a score is seen.

Run this file to draw them anew, on purpose, after a change that is meant to change scores::

    python tests/golden/golden_detectors.py

It writes ``detectors.npz`` (rows, the arrays of every frozen model, expected scores) and
``detectors.json`` (parameters, normalisations and the versions that made them).  Say in the commit
why scores changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynomaly.adapters import detector_fitter, detector_kernels
from pynomaly.application.ensemble import fit_detector
from pynomaly.application.scoring_rows import score_members
from pynomaly.domain.detectors import CATALOGUE, complete
from pynomaly.domain.models import Member, Normalisation

FOLDER = Path(__file__).parent
ARRAYS, DOCUMENT = FOLDER / "detectors.npz", FOLDER / "detectors.json"
COMMAND = "python tests/golden/golden_detectors.py"
SEED = 11

KERNELS = detector_kernels()
FITTER = detector_fitter(KERNELS)

SMALL: Mapping[str, Mapping[str, Any]] = {
    "iforest": {"n_estimators": 8, "max_samples": 32},
    "inne": {"n_estimators": 12, "max_samples": 8},
    "loda": {"n_random_cuts": 10},
    "subsample": {"subsamples": 6, "size": 8},
    "surrogate": {"trees": 12},
    "deviation": {"beyond": 0.3},  # with the default it says nothing of these rows
}
"""Parameters that keep the stored models small and telling; the other detectors take their defaults."""

CERTIFIED = [name for name, entry in CATALOGUE.items() if entry.certified]
SINGLE = [name for name in CERTIFIED if name != "self_cleaning"]
"""Those whose frozen model is stored; the ensemble is made of them."""

Floats = NDArray[np.float64]


def draw_rows() -> dict[str, Floats]:
    """Return training rows and others: correlated, skewed and whole-numbered columns."""
    rng = np.random.default_rng(SEED)
    X = rng.normal(size=(130, 4))
    X[:, 1] += X[:, 0]
    X[:, 2] = np.exp(X[:, 2])
    X[:, 3] = np.floor(3 * X[:, 3])
    X[::25] *= 4
    return {"train": X[:90].round(6), "fresh": X[90:].round(6)}


def fit(name: str, train: Floats) -> tuple[Member, ...]:
    """Fit a detector as the golden ones were fitted."""
    return fit_detector(name, SMALL.get(name, {}), train, fitter=FITTER, kernels=KERNELS, seed=SEED)


def stored_model(name: str, arrays: Mapping[str, NDArray[Any]], document: Any) -> Member:
    """Return a frozen model as it was stored."""
    prefix = f"{name}.arrays."
    return Member(
        name,
        document["params"],
        {key.removeprefix(prefix): arrays[key] for key in arrays if key.startswith(prefix)},
        Normalisation(**document["normalisation"]),
    )


def main() -> None:
    """Write both files."""
    rows = draw_rows()
    arrays: dict[str, NDArray[Any]] = {f"rows.{key}": value for key, value in rows.items()}
    detectors: dict[str, Any] = {}
    for name in CERTIFIED:
        members = fit(name, rows["train"])
        arrays[f"{name}.scores"] = score_members(members, rows["fresh"], KERNELS)
        detectors[name] = {"params": complete(name, SMALL.get(name, {}))}
        if name in SINGLE:
            detectors[name]["normalisation"] = asdict(members[0].normalisation)
            arrays |= {f"{name}.arrays.{key}": value for key, value in members[0].arrays.items()}
    np.savez_compressed(ARRAYS, allow_pickle=False, **arrays)
    document = {"made_with": dict(FITTER.library_versions()), "detectors": detectors}
    DOCUMENT.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
