"""Frozen detectors against the libraries that fitted them."""

from __future__ import annotations

import numpy as np
import pytest

from pynomaly.domain.errors import ConfigurationError, IntegrityError
from pynomaly.domain.models import Member, Normalisation
from pynomaly.infrastructure.kernels import FrozenKernels
from pynomaly.infrastructure.pyod import PyodFitter
from pynomaly.infrastructure.pyod.frozen import RobustScaling

KERNELS = FrozenKernels()
FITTER = PyodFitter(KERNELS)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return rng.lognormal(size=(400, 5)), rng.lognormal(sigma=1.5, size=(200, 5))


def test_isolation_forest_equals_pyod_on_new_rows(rows):
    from pyod.models.iforest import IForest

    train, fresh = rows
    center = np.median(train, axis=0)
    fitted = IForest(n_estimators=50, max_samples=256, random_state=7).fit(train - center)
    expected = -fitted.detector_.score_samples(fresh - center)
    member = FITTER.fit("iforest", {"n_estimators": 50}, train, 7)
    np.testing.assert_allclose(KERNELS.score(member, fresh), expected, rtol=1e-12)


def test_isolation_forest_tells_large_neighbouring_values_apart():
    X = 1.7e15 + np.random.default_rng(0).normal(size=(300, 1))
    X[0] += 40
    scores = KERNELS.score(FITTER.fit("iforest", {}, X, 0), X)
    assert scores.argmax() == 0


def test_ecod_equals_pyod_on_its_training_rows(rows):
    from pyod.models.ecod import ECOD

    train, _ = rows
    member = FITTER.fit("ecod", {}, train, 0)
    np.testing.assert_allclose(
        KERNELS.score(member, train), ECOD().fit(train).decision_scores_, rtol=1e-12
    )


def test_ecod_counts_training_rows_on_either_side():
    train = np.array([[0.0], [1.0], [1.0], [5.0]])
    member = FITTER.fit("ecod", {}, train, 0)
    by_hand = {-9.0: 4, 0.0: 4, 0.5: 4, 1.0: 4 / 3, 3.0: 4, 5.0: 4, 9.0: 4}
    scores = KERNELS.score(member, np.array(list(by_hand))[:, None])
    np.testing.assert_allclose(scores, np.log(list(by_hand.values())))


@pytest.mark.parametrize("bins", [5, 30])
def test_hbos_equals_a_pyod_fit_on_new_rows(rows, bins):
    from pyod.models.hbos import HBOS

    train, fresh = rows
    scaling = RobustScaling.fit(train, np.zeros(train.shape[1]))
    fitted = HBOS(n_bins=bins).fit(scaling(train))
    member = FITTER.fit("hbos", {"n_bins": bins}, train, 0)
    np.testing.assert_allclose(
        KERNELS.score(member, fresh), fitted.decision_function(scaling(fresh)), rtol=1e-12
    )


@pytest.mark.parametrize("method", ["mean", "largest"])
def test_neighbours_equal_brute_force(rows, method):
    train, fresh = rows
    scaling = RobustScaling.fit(train, np.zeros(train.shape[1]))
    gaps = scaling(fresh)[:, None, :] - scaling(train)[None]
    nearest = np.sort(np.sqrt((gaps**2).sum(axis=2)), axis=1)[:, :7]
    expected = nearest.mean(axis=1) if method == "mean" else nearest[:, -1]
    member = FITTER.fit("knn", {"n_neighbors": 7, "method": method}, train, 0)
    np.testing.assert_allclose(KERNELS.score(member, fresh), expected, rtol=1e-12)


def test_neighbours_are_clamped_to_half_the_rows():
    member = FITTER.fit("knn", {"n_neighbors": 50}, np.arange(11.0)[:, None], 0)
    assert member.arrays["neighbours"].tolist() == [5]


def test_the_reference_set_is_bounded():
    X = np.random.default_rng(0).normal(size=(3_000, 2))
    assert FITTER.fit("knn", {}, X, 0).arrays["references"].shape == (2, 2_048)


def test_mixture_equals_scikit_learn_on_new_rows(rows):
    from sklearn.mixture import GaussianMixture

    train, fresh = rows
    scaling = RobustScaling.fit(train, np.zeros(train.shape[1]))
    fitted = GaussianMixture(3, reg_covar=1e-2, random_state=4).fit(scaling(train))
    member = FITTER.fit("gmm", {"n_components": 3}, train, 4)
    np.testing.assert_allclose(
        KERNELS.score(member, fresh), -fitted.score_samples(scaling(fresh)), rtol=1e-9
    )


def test_a_column_in_other_units_scores_the_same(rows):
    train, fresh = rows
    units = np.array([1.0, 1e-6, 1e9, 2.0, 1.0])
    for name in ("knn", "hbos", "mahalanobis", "subsample"):
        plain = KERNELS.score(FITTER.fit(name, {}, train, 0), fresh)
        other = KERNELS.score(FITTER.fit(name, {}, train * units, 0), fresh * units)
        np.testing.assert_allclose(other, plain, rtol=1e-6)


def test_a_frozen_copy_that_differs_is_refused(rows):
    class Wrong(FrozenKernels):
        def score_members(self, members, X):
            return super().score_members(members, X) * 1.001

    with pytest.raises(IntegrityError, match="disagrees with the fitted one"):
        PyodFitter(Wrong()).fit("knn", {}, rows[0], 0)


def test_an_ensemble_is_no_single_detector(rows):
    with pytest.raises(ConfigurationError, match="not a single detector"):
        FITTER.fit("self_cleaning", {}, rows[0], 0)


def test_a_member_of_another_version_is_named():
    unknown = Member("lof2", {}, {}, Normalisation(0, 1, 0, 1))
    with pytest.raises(IntegrityError, match="no kernel for detector 'lof2'"):
        KERNELS.score(unknown, np.zeros((1, 1)))


def test_library_versions_are_recorded():
    assert {"pyod", "scikit-learn", "numpy", "numba"} <= FITTER.library_versions().keys()


def test_kernels_compile_where_no_cache_folder_is_writable(monkeypatch):
    from numba.core import caching

    from pynomaly.infrastructure.kernels._jit import F64, NUMBER, kernel

    monkeypatch.setattr(caching.CompileResultCacheImpl, "_locator_classes", [])

    def total(values):
        result = 0.0
        for i in range(values.shape[0]):
            result += values[i]
        return result

    assert kernel(F64, returns=NUMBER)(total)(np.arange(4.0)) == 6.0
