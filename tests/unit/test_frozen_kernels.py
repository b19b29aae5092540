"""Frozen detectors against the libraries that fitted them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

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


@pytest.mark.parametrize("k", [1, 6, 7, 60])
@pytest.mark.parametrize("method", ["mean", "largest", "median"])
def test_neighbours_equal_brute_force(rows, method, k):
    train, fresh = rows
    scaling = RobustScaling.fit(train, np.zeros(train.shape[1]))
    gaps = scaling(fresh)[:, None, :] - scaling(train)[None]
    nearest = np.sort(np.sqrt((gaps**2).sum(axis=2)), axis=1)[:, :k]
    expected = {"mean": nearest.mean, "largest": nearest.max}.get(
        method, lambda axis: np.median(nearest, axis=axis)
    )(axis=1)
    member = FITTER.fit("knn", {"n_neighbors": k, "method": method}, train, 0)
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


def _scaled(train, *others):
    scaling = RobustScaling.fit(train, np.zeros(train.shape[1]))
    return [scaling(rows) for rows in (train, *others)]


def test_copod_equals_pyod_on_its_training_rows(rows):
    from pyod.models.copod import COPOD

    train, _ = rows
    train = np.column_stack([train, -train[:, 0], np.tile([-1.0, 1.0], 200)])  # skews +, -, 0
    member = FITTER.fit("copod", {}, train, 0)
    np.testing.assert_allclose(
        KERNELS.score(member, train), COPOD().fit(train).decision_scores_, rtol=1e-12
    )


def test_copod_counts_training_rows_on_the_side_of_the_longer_tail():
    train = np.array([[0.0], [1.0], [1.0], [5.0]])
    member = FITTER.fit("copod", {}, train, 0)
    right = {-9.0: 1, 0.0: 1, 0.5: 4 / 3, 1.0: 4 / 3, 3.0: 4, 5.0: 4, 9.0: 4}
    left = {-9.0: 4, 0.0: 4, 0.5: 4, 1.0: 4 / 3, 3.0: 4 / 3, 5.0: 1, 9.0: 1}
    expected = [max(np.log(right[x]), np.log(right[x] * left[x]) / 2) for x in right]
    np.testing.assert_allclose(KERNELS.score(member, np.array(list(right))[:, None]), expected)


def _pyod(name):
    from pyod.models.cblof import CBLOF
    from pyod.models.inne import INNE
    from pyod.models.loda import LODA
    from pyod.models.lof import LOF
    from pyod.models.mcd import MCD
    from pyod.models.ocsvm import OCSVM

    return {
        "loda": LODA(random_state=5), "mcd": MCD(random_state=5), "cblof": CBLOF(random_state=5),
        "inne": INNE(random_state=5), "lof": LOF(), "ocsvm": OCSVM(),
    }[name]  # fmt: skip


@pytest.mark.parametrize("name", ["loda", "mcd", "cblof", "inne", "lof", "ocsvm"])
def test_defaults_are_pyods_and_new_rows_score_as_there(rows, name):
    train, fresh = rows
    scaled_train, scaled_fresh = _scaled(train, fresh)
    expected = _pyod(name).fit(scaled_train).decision_function(scaled_fresh)
    member = FITTER.fit(name, {}, train, 5)
    np.testing.assert_allclose(KERNELS.score(member, fresh), expected, rtol=1e-9, atol=1e-9)


def test_rounding_does_not_move_a_row_on_the_limit_of_a_bin():
    train = np.random.default_rng(3).integers(0, 41, size=(500, 3)).astype(float)
    member = FITTER.fit("loda", {}, train, 5)
    scores = KERNELS.score(member, train)
    for towards in (-np.inf, np.inf):
        moved = np.nextafter(train, towards)
        np.testing.assert_array_equal(KERNELS.score(member, moved), scores)


def test_clusters_of_one_size_all_count_as_large():
    from sklearn.cluster import KMeans

    corners = np.array([[0.0, 0.0], [0.0, 90.0], [90.0, 0.0], [90.0, 90.0]])
    train = np.repeat(corners, 25, axis=0) + np.random.default_rng(0).normal(size=(100, 2))
    # PyOD refuses: no four equal clusters but all of them hold 90 % of the rows.
    member = FITTER.fit("cblof", {"n_clusters": 4, "beta": 10.0}, train, 0)
    assert member.arrays["references"].shape == (2, 4)
    (Z,) = _scaled(train)
    expected = KMeans(4, random_state=0).fit(Z).transform(Z).min(axis=1)
    np.testing.assert_allclose(KERNELS.score(member, train), expected, rtol=1e-9)


def test_mcd_notices_a_column_that_is_constant_in_the_bulk():
    rng = np.random.default_rng(0)
    train = rng.normal(size=(400, 3))
    train[:, 2] = rng.random(400) < 0.05
    member = FITTER.fit("mcd", {}, train, 0)
    plain, flagged = KERNELS.score(member, np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    assert np.isfinite(flagged)
    assert flagged > plain


def test_mcd_projects_where_rows_are_few():
    member = FITTER.fit("mcd", {}, np.random.default_rng(0).normal(size=(40, 30)), 0)
    assert member.arrays["projection"].shape == (30, 8)


@pytest.mark.parametrize(("name", "kept"), [("knn", 500), ("lof", 500)])
def test_the_number_of_references_can_be_chosen(name, kept):
    X = np.random.default_rng(0).normal(size=(900, 2))
    member = FITTER.fit(name, {"max_references": kept}, X, 0)
    assert member.arrays["references"].shape == (2, kept)


def test_a_row_between_many_duplicates_scores_finitely_with_lof():
    train = np.repeat(np.array([[0.0, 0.0], [1.0, 5.0], [2.0, -3.0]]), 60, axis=0)
    member = FITTER.fit("lof", {}, train, 0)
    near, far = KERNELS.score(member, np.array([[0.0, 0.0], [0.5, 1.0]]))
    assert near == pytest.approx(1.0, rel=1e-4)
    assert 1e6 < far < np.inf


def test_hbos_borders_lie_exactly_where_scaled_rows_cross_them(rows):
    train, _ = rows
    member = FITTER.fit("hbos", {}, train, 0)
    first, last = member.arrays["starts"][:2]
    borders = member.arrays["values"][first:last]
    at, beyond = np.repeat(train[:1], len(borders), 0), np.repeat(train[:1], len(borders), 0)
    at[:, 0], beyond[:, 0] = borders, np.nextafter(borders, np.inf)
    heights = member.arrays["heights"][0 : 2 * len(borders) + 1]
    np.testing.assert_allclose(
        KERNELS.score(member, beyond) - KERNELS.score(member, at),
        heights[2::2] - heights[:-1:2], atol=1e-12,
    )  # fmt: skip


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_and_chunks_change_no_bit(rows, monkeypatch, threads):
    from pynomaly.infrastructure.kernels import frozen

    train, fresh = rows
    names = (
        "iforest", "copod", "loda", "gmm", "knn", "lof", "ocsvm", "inne", "subsample", "cluster",
    )  # fmt: skip
    members = [FITTER.fit(name, {}, train, 0) for name in names]
    rows = np.concatenate([fresh] * 3)
    whole = FrozenKernels(threads=1).score_members(members, rows)
    for chunk in (64, 65, 257):
        monkeypatch.setattr(frozen, "_CHUNK_CELLS", chunk * rows.shape[1])
        kernels = FrozenKernels(threads=threads)
        np.testing.assert_array_equal(kernels.score_members(members, rows), whole)


@pytest.mark.parametrize("n", [2, 3, 15, 16, 17, 63, 64, 65, 191, 192, 193, 256, 257])
def test_a_row_scores_the_same_however_many_there_are(rows, n):
    """Around the sizes at which kernels go another way."""
    train, fresh = rows
    members = [FITTER.fit(name, {}, train, 0) for name in ("knn", "subsample", "cluster")]
    surrogate, _ = FITTER.imitate({"trees": 5}, np.abs(train).sum(axis=1), train, 0)
    members.append(surrogate)
    batch = np.concatenate([fresh] * 3)[:n]
    assert len(batch) == n
    alone = np.column_stack([KERNELS.score_members(members, row[None]) for row in batch])
    np.testing.assert_array_equal(KERNELS.score_members(members, batch), alone)


def test_members_score_together_as_one_by_one(rows):
    train, fresh = rows
    members = [
        FITTER.fit(name, {}, part, 0)
        for part in (train, train[:300])
        for name in ("mahalanobis", "iforest", "cluster")
    ]
    together = KERNELS.score_members(members, fresh)
    np.testing.assert_array_equal(together, [KERNELS.score(member, fresh) for member in members])


def test_all_cores_are_used_except_inside_workers(monkeypatch):
    import os
    import sys
    import types

    from pynomaly.infrastructure.kernels import frozen

    monkeypatch.delenv("PREFECT__FLOW_RUN_ID", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    assert frozen.available_threads() == 3
    outside = types.SimpleNamespace(get_worker=lambda: (_ for _ in ()).throw(ValueError))
    monkeypatch.setitem(sys.modules, "distributed", outside)
    assert frozen.available_threads() == 3
    monkeypatch.setitem(sys.modules, "distributed", types.SimpleNamespace(get_worker=object))
    assert frozen.available_threads() == 1
    monkeypatch.delitem(sys.modules, "distributed")
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "b7")
    assert frozen.available_threads() == 1


def test_a_surrogate_is_grown_by_as_many_threads_and_does_not_depend_on_them(rows, monkeypatch):
    import os

    import sklearn.ensemble

    from pynomaly.adapters import detector_fitter

    threads = []

    class Spied(sklearn.ensemble.ExtraTreesRegressor):
        def fit(self, X, y):
            threads.append(self.n_jobs)
            return super().fit(X, y)

    def grown():
        fitter = detector_fitter(KERNELS)
        member, _ = fitter.imitate({"trees": 12}, rows[0].sum(axis=1), rows[0], 0)
        return [array.tobytes() for array in member.arrays.values()]

    monkeypatch.setattr(sklearn.ensemble, "ExtraTreesRegressor", Spied)
    monkeypatch.delenv("PREFECT__FLOW_RUN_ID", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    outside = grown()
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "b7")
    assert grown() == outside
    assert threads == [3, 1]


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


def test_a_member_with_other_arrays_is_named(rows):
    member = FITTER.fit("knn", {}, rows[0], 0)
    arrays = {name: array for name, array in member.arrays.items() if name != "neighbours"}
    with pytest.raises(IntegrityError, match="the frozen 'knn' has no 'neighbours'"):
        KERNELS.score(replace(member, arrays=arrays), rows[1])


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


def test_the_first_fit_of_a_process_gives_the_bits_of_every_other():
    # Libraries that it is the first to load bring threads of their own.
    fits_twice = (
        "import numpy as np\n"
        "from pynomaly.infrastructure.kernels import FrozenKernels\n"
        "from pynomaly.infrastructure.pyod import PyodFitter\n"
        "X = np.random.default_rng(0).normal(size=(5000, 20))\n"
        "first, second = (PyodFitter(FrozenKernels()).fit('cblof', {}, X, 0) for _ in range(2))\n"
        "assert first.arrays['references'].tobytes() == second.arrays['references'].tobytes()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", fits_twice], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
