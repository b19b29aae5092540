"""What every certified detector must keep to, once frozen."""

from __future__ import annotations

import numpy as np
import pytest

from pynomaly.domain.detectors import CATALOGUE
from pynomaly.domain.errors import NotTrainableError
from pynomaly.infrastructure.kernels import FrozenKernels
from pynomaly.infrastructure.pyod import PyodFitter

SINGLE = [name for name, entry in CATALOGUE.items() if entry.certified and name != "self_cleaning"]
KERNELS = FrozenKernels()
FITTER = PyodFitter(KERNELS)


def _rows(n: int = 300, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6))
    X[:, 1] = X[:, 0] + 0.1 * X[:, 1]
    X[:, 2] *= 1e6
    X[:, 3] = rng.integers(0, 3, n)
    X[:, 4] = 7.0
    return X


@pytest.fixture(scope="module")
def members():
    return {name: FITTER.fit(name, {}, _rows(), 3) for name in SINGLE}


@pytest.mark.parametrize("name", SINGLE)
def test_arrays_are_plain_numbers(members, name):
    for array in members[name].arrays.values():
        assert array.dtype.kind in "iuf"
        assert array.flags.c_contiguous


@pytest.mark.parametrize("name", SINGLE)
def test_a_row_far_outside_is_stranger_than_nearly_all_training_rows(members, name):
    X = _rows()
    far = np.median(X, axis=0) + 50 * X.std(axis=0)
    scores = KERNELS.score(members[name], X)
    assert KERNELS.score(members[name], far[None])[0] >= np.quantile(scores, 0.98)


@pytest.mark.parametrize("name", SINGLE)
def test_scores_are_finite_for_any_finite_row(members, name):
    X = np.vstack([np.full((1, 6), 1e30), np.full((1, 6), -1e30), np.zeros((1, 6)), _rows(5)])
    assert np.isfinite(KERNELS.score(members[name], X)).all()


@pytest.mark.parametrize("name", SINGLE)
def test_no_rows_give_no_scores(members, name):
    assert KERNELS.score(members[name], np.empty((0, 6))).shape == (0,)


@pytest.mark.parametrize("name", SINGLE)
def test_scoring_changes_nothing_and_takes_read_only_rows(members, name):
    X = _rows(20)
    copy = X.copy()
    before = {key: array.copy() for key, array in members[name].arrays.items()}
    X.flags.writeable = False
    KERNELS.score(members[name], X)
    np.testing.assert_array_equal(X, copy)
    for key, array in members[name].arrays.items():
        np.testing.assert_array_equal(array, before[key])


@pytest.mark.parametrize("name", SINGLE)
def test_equal_seeds_give_bit_identical_arrays(members, name):
    again = FITTER.fit(name, {}, _rows(), 3)
    assert again.normalisation == members[name].normalisation
    assert again.arrays.keys() == members[name].arrays.keys()
    for key, array in again.arrays.items():
        assert array.tobytes() == members[name].arrays[key].tobytes()


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("rows", [2, 3, 8])
def test_very_few_rows_can_be_fitted(name, rows):
    member = FITTER.fit(name, {}, _rows(rows), 0)
    assert np.isfinite(KERNELS.score(member, _rows(50))).all()


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("X", [np.ones((1, 3)), np.ones((50, 3))], ids=["one row", "equal rows"])
def test_rows_that_teach_nothing_are_refused(name, X):
    with pytest.raises(NotTrainableError, match="teach nothing"):
        FITTER.fit(name, {}, X, 0)


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize(
    "X",
    [
        np.random.default_rng(1).normal(size=(80, 1)),
        np.repeat(np.arange(4.0), 25)[:, None] * np.ones((1, 3)),
        np.random.default_rng(2).normal(size=(90, 70)),
        np.where(np.random.default_rng(3).random((200, 5)) < 0.03, 1.0, 0.0),
        np.vstack([np.random.default_rng(4).normal(size=(60, 3)), np.full((1, 3), 1e30)]),
        1.7e9 + np.random.default_rng(5).normal(size=(100, 2)),
    ],
    ids=["one column", "collinear ties", "wide", "sparse", "huge value", "large offset"],
)
def test_awkward_data_freezes_faithfully(name, X):
    # Fitting compares the frozen with the fitted detector and raises on any difference.
    member = FITTER.fit(name, {}, np.ascontiguousarray(X), 0)
    assert np.isfinite(KERNELS.score(member, np.ascontiguousarray(X))).all()
