"""No upgrade of PyOD, scikit-learn, numpy or numba changes a score unseen."""

from __future__ import annotations

import json

import numpy as np
import pytest

from golden.golden_detectors import (
    ARRAYS,
    CERTIFIED,
    COMMAND,
    DOCUMENT,
    FITTER,
    KERNELS,
    SINGLE,
    fit,
    stored_model,
)
from pynomaly.application.scoring_rows import score_members

STORED, FITTED = 1e-9, 1e-6
"""Relative deviations: a stored model scores the same anywhere; fitting goes through BLAS."""


@pytest.fixture(scope="module")
def arrays():
    with np.load(ARRAYS, allow_pickle=False) as archive:
        return dict(archive)


@pytest.fixture(scope="module")
def document():
    return json.loads(DOCUMENT.read_text())


def require_close(found, expected, tolerance, what, document, few=0):
    """Fail with the versions then and now, and with the way to accept the change.

    So many as ``few`` rows may differ by a twentieth.
    """
    deviation = np.abs(found - expected) / np.maximum(np.abs(expected), np.std(expected))
    then, now = document["made_with"], FITTER.library_versions()
    changed = [f"{k} {then.get(k)} → {now[k]}" for k in now if then.get(k) != now[k]]
    most = np.sort(deviation)[-1 - few]
    assert most <= tolerance and deviation.max() <= (0.05 if few else tolerance), (  # noqa: PT018
        f"{what} changed: {(deviation > tolerance).sum()} of {len(found)} scores by up to "
        f"{deviation.max():.1e} (versions: {', '.join(changed) or 'all as before'}). Find out "
        f"why; if scores are meant to change, draw golden models anew: {COMMAND}"
    )


def test_there_is_a_golden_model_of_every_certified_detector(document):
    assert set(document["detectors"]) == set(CERTIFIED), f"draw them anew: {COMMAND}"


def test_golden_models_stay_small():
    assert ARRAYS.stat().st_size + DOCUMENT.stat().st_size < 100_000


@pytest.mark.parametrize("name", SINGLE)
def test_a_stored_model_gives_the_scores_it_gave(name, arrays, document):
    member = stored_model(name, arrays, document["detectors"][name])
    scores = score_members([member], arrays["rows.fresh"], KERNELS)
    require_close(scores, arrays[f"{name}.scores"], STORED, f"a stored {name} model", document)


@pytest.mark.parametrize("name", CERTIFIED)
def test_a_fresh_fit_gives_the_scores_it_gave(name, arrays, document):
    scores = score_members(fit(name, arrays["rows.train"]), arrays["rows.fresh"], KERNELS)
    # Last bits differ with the processor, and a tree may send a row the other way for one of them.
    few = 2 if name == "self_cleaning" else 0
    expected = arrays[f"{name}.scores"]
    require_close(scores, expected, FITTED, f"a fresh fit of {name}", document, few)


def test_a_change_is_seen_and_says_what_to_do(arrays, document):
    expected = arrays["knn.scores"]
    moved = np.where(np.arange(40) == 3, expected + 1e-5, expected)
    with pytest.raises(AssertionError, match=r"1 of 40 scores .*python tests/golden/golden_"):
        require_close(moved, expected, FITTED, "knn", document)
