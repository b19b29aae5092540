"""Every certified detector keeps the contract, and the contract catches those that do not."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from pynomaly.adapters import detector_fitter, detector_kernels
from pynomaly.application.ensemble import fit_detector
from pynomaly.domain.detectors import CATALOGUE, Detector
from pynomaly.domain.errors import ConfigurationError, NotTrainableError
from pynomaly.domain.extensions import DetectorExtension, Frozen
from pynomaly.domain.uncertified import PREFIX
from pynomaly.testing import check_detector

CERTIFIED = [name for name, entry in CATALOGUE.items() if entry.certified]


@pytest.mark.parametrize("name", CERTIFIED)
def test_every_certified_detector_keeps_the_contract(name):
    check_detector(name, kernels=KERNELS)


@pytest.mark.parametrize("name", ["hbos", "pca", "gmm", "knn", "lof", "ocsvm", "mcd", "cluster"])
def test_where_numba_is_missing_numpy_keeps_the_contract(name, monkeypatch):
    from pynomaly.infrastructure.kernels import frozen, plain

    monkeypatch.setattr(frozen, "_backend", lambda: plain)
    check_detector(name)


@pytest.mark.parametrize("method", ["largest", "median"])
def test_neighbours_keep_the_contract_with_other_distances(method):
    check_detector("knn", {"method": method}, kernels=KERNELS)


KERNELS = detector_kernels()
ENTRY = Detector(
    name="distance",
    title="Distance to means",
    finds="values far from the mean",
    fit_cost="none",
    score_cost="none",
    reference="a test",
    tolerance=1e-12,
    equals="numpy",
)


def score(arrays, params, X):
    total = np.zeros(len(X))
    for column, center, scale in zip(X.T, arrays["center"], arrays["scale"], strict=True):
        total += np.abs(column - center) / scale
    return total


def fit(params, X, seed, floors):
    spread = X.std(axis=0)
    arrays = {"center": X.mean(axis=0), "scale": np.where(spread > 0, spread, 1.0)}
    return Frozen(
        arrays, lambda rows: (np.abs(X[rows] - arrays["center"]) / arrays["scale"]).sum(axis=1)
    )


SOUND = DetectorExtension(ENTRY, fit, score)


def test_a_sound_detector_of_another_package_passes():
    check_detector(SOUND)


def in_batch(arrays, params, X):
    return score({**arrays, "center": np.median(X, axis=0)} if len(X) else arrays, params, X)


CALLS = count()


def remembering(arrays, params, X):
    return score(arrays, params, X) + 1e-13 * next(CALLS)


def overflowing(arrays, params, X):
    with np.errstate(over="ignore"):
        return np.exp(score(arrays, params, X))


def in_place(arrays, params, X):
    X -= arrays["center"]
    return score({**arrays, "center": 0 * arrays["center"]}, params, X)


def single_rows_unscored(arrays, params, X):
    return np.full(1, np.nan) if len(X) == 1 else score(arrays, params, X)


def unseeded(params, X, seed, floors):
    frozen = fit(params, X, seed, floors)
    return replace(frozen, arrays={**frozen.arrays, "noise": np.random.default_rng().random(3)})


def with_objects(params, X, seed, floors):
    frozen = fit(params, X, seed, floors)
    names = np.array(["a", None], dtype=object)
    return replace(frozen, arrays={**frozen.arrays, "names": names})


def inexact(params, X, seed, floors):
    frozen = fit(params, X, seed, floors)
    return replace(frozen, expected=lambda rows: frozen.expected(rows) * (1 + 1e-9))


def silent(params, X, seed, floors):
    return replace(fit(params, X, seed, floors), expected=lambda rows: np.full(len(rows), np.nan))


def hardly_ever_sure(params, X, seed, floors):
    frozen = fit(params, X, seed, floors)
    return replace(
        frozen,
        expected=lambda rows: np.where(rows % 5 == 0, frozen.expected(rows), np.nan),
        undecidable=True,
    )


def inverted(params, X, seed, floors):
    frozen = fit(params, X, seed, floors)
    return replace(frozen, expected=lambda rows: -frozen.expected(rows))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (replace(SOUND, score=in_batch), "distance: (fitting ordinary rows|alone|in chunks)"),
        (replace(SOUND, score=remembering), "distance: .* scores differ, first that of row 0: .* instead of"),
        (replace(SOUND, score=single_rows_unscored), "scoring 1 rows failed: .*no finite score"),
        (replace(SOUND, score=in_place), "output array is read-only"),
        (replace(SOUND, fit=unseeded), "array 'noise' differs after a second fit"),
        (replace(SOUND, fit=with_objects), "array 'names' has dtype object"),
        (replace(SOUND, fit=inexact), "disagrees with the fitted one"),
        (replace(SOUND, fit=silent), "disagrees with the fitted one on 200 of 200"),
        (replace(SOUND, fit=hardly_ever_sure), "is sure of 40 of 200 training rows only, 50% must"),
        (
            DetectorExtension(ENTRY, inverted, lambda a, p, X: -score(a, p, X)),
            "higher must be stranger",
        ),
        (
            DetectorExtension(
                ENTRY,
                lambda p, X, s, f: Frozen(
                    fit(p, X, s, f).arrays,
                    lambda rows: overflowing(fit(p, X, s, f).arrays, p, X[rows]),
                ),
                overflowing,
            ),
            "no finite score",
        ),
    ],
    ids=[
        "looks at its batch", "remembers calls", "fails on single rows", "changes rows",
        "is not seeded", "stores objects", "differs from its library", "has a library that says nothing",
        "has a library that is hardly ever sure", "is inverted", "overflows",
    ],
)  # fmt: skip
def test_a_broken_detector_is_caught(broken, message):
    with pytest.raises(AssertionError, match=message):
        check_detector(broken)


def test_kernels_that_swallow_missing_values_are_caught():
    class Swallowing:
        def score(self, member, X):
            return KERNELS.score(member, np.nan_to_num(X))

        def score_members(self, members, X):
            return KERNELS.score_members(members, np.nan_to_num(X))

    with pytest.raises(AssertionError, match="a row with nan is scored silently"):
        check_detector("hbos", kernels=Swallowing())


def test_a_detector_of_pyod_that_ranks_rows_by_their_batch_is_caught():
    with pytest.raises(AssertionError, match=f"{PREFIX}SOS: "):
        check_detector("pyod:SOS")


@pytest.mark.parametrize("name", CERTIFIED)
@pytest.mark.parametrize("X", [np.ones((1, 3)), np.ones((50, 3))], ids=["one row", "equal rows"])
def test_rows_that_teach_nothing_are_refused(name, X):
    with pytest.raises(NotTrainableError, match="teach nothing"):
        fit_detector(name, {}, X, fitter=detector_fitter(KERNELS), kernels=KERNELS, seed=0)


def test_an_unknown_detector_is_refused():
    with pytest.raises(ConfigurationError, match="did you mean 'iforest'"):
        check_detector("iforrest")
