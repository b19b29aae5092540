"""The self-cleaning ensemble."""

from __future__ import annotations

import numpy as np
import pytest

from pynomaly.application.ensemble import fit_detector
from pynomaly.application.scoring_rows import score_members
from pynomaly.domain.errors import ConfigurationError
from pynomaly.domain.evaluation import roc_auc
from pynomaly.domain.models import Member
from pynomaly.infrastructure.kernels import FrozenKernels
from pynomaly.infrastructure.pyod import PyodFitter

KERNELS = FrozenKernels()
FITTER = PyodFitter(KERNELS)


def _fit(detector, X, params=None, seed=0):
    return fit_detector(detector, params or {}, X, fitter=FITTER, kernels=KERNELS, seed=seed)


def _contaminated(rows: int = 600) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, 6)) @ rng.normal(size=(6, 6))
    labels = (np.arange(rows) < rows // 20).astype(int)
    X[labels == 1] = rng.normal(scale=5.0, size=(rows // 20, 6))
    return X, labels


@pytest.fixture(scope="module")
def ensemble():
    return _fit("self_cleaning", _contaminated()[0])


def test_it_is_three_detectors_on_three_cleaned_remainders_a_surrogate_and_a_guard(ensemble):
    kinds = ["knn", "subsample", "mahalanobis"]
    assert [m.detector for m in ensemble] == [*kinds * 3, "surrogate", "deviation"]


def test_the_surrogate_weighs_half_as_much_as_the_members_it_imitates(ensemble):
    assert ensemble[-2].weight == 0.5 * sum(member.weight for member in ensemble[:-2])


def test_the_guard_is_silent_on_ordinary_rows(ensemble):
    X, labels = _contaminated()
    spoken = KERNELS.score(ensemble[-1], X) > 0
    assert not spoken[labels == 0].any()


def test_the_guard_sees_absurd_values_in_a_column_of_mostly_one_value():
    """Counts of errors: 0, a few 1, and once in training a value that must not hide the next."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=(2_000, 4)), np.zeros(2_000)])
    X[:8, 4], X[8, 4] = 1.0, 1e6
    guard = _fit("self_cleaning", X)[-1]
    rows = np.zeros((4, 5))
    rows[:, 4] = 0.0, 1.0, 50.0, 1e9
    spoken = KERNELS.score(guard, rows)
    assert (spoken[:2] == 0).all()  # a rare flag is nothing absurd
    assert 0 < spoken[2] < spoken[3]


def _guard(X: np.ndarray) -> Member:
    return FITTER.fit("deviation", {}, X, 0)


def test_the_guard_sees_a_value_that_the_tail_of_its_column_cannot_reach():
    """An age of 150 among 18 to 79 is five deviations out, as many a sum of money is."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=(800, 6)), rng.integers(18, 80, 800)])
    X[5:8, 6] = 150.0  # also where training holds a few
    spoken = KERNELS.score(_guard(X), np.column_stack([np.zeros((5, 6)), [18, 79, 85, 150, -60]]))
    assert (spoken[:3] == 0).all()
    assert (spoken[3:] > 0).all()


def test_the_guard_sees_a_count_that_no_tail_reaches_and_a_sign_never_seen():
    rng = np.random.default_rng(3)

    def ordinary(rows):
        return np.column_stack(
            [rng.poisson(2.5, rows) + 1, rng.lognormal(3.2, 0.75, rows), rng.normal(size=rows)]
        )

    X, usual = ordinary(4_000), [3.0, 25.0, 0.0]
    told = [[40, 25, 0], [25, 25, 0], [-3, 25, 0], [3, -9, 0], [3, -50, 0]]
    X[:2] = told[0], told[3]  # also where training holds one
    spoken = KERNELS.score(_guard(X), np.array([usual, [1, 0.5, 0], [12, 25, 0], *told]))
    assert (spoken[:3] == 0).all()
    assert (spoken[3:] > 0).all()
    assert (KERNELS.score(_guard(X), ordinary(20_000)) > 0).mean() <= 0.0005


def test_the_guard_leaves_counts_with_many_large_ones_and_columns_of_both_signs_alone():
    rng = np.random.default_rng(0)
    counts = rng.poisson(2.5, 4_000)
    counts[:20] = rng.integers(40, 400, 20)
    degrees = rng.normal(15.0, 6.0, 4_000)
    assert np.mean(degrees < 0) > 0.001
    guard = _guard(np.column_stack([counts, degrees]))
    assert (KERNELS.score(guard, np.array([[80.0, 15.0], [3.0, -5.0]])) == 0).all()


def test_a_column_may_end_abruptly_beyond_zero():
    rng = np.random.default_rng(0)
    clipped = np.maximum(rng.normal(size=4_000), -1.0 - 1e-3 * rng.random(4_000))
    spoken = KERNELS.score(_guard(clipped[:, np.newaxis]), np.array([[-1.3], [4.0]]))
    assert (spoken == 0).all()


@pytest.mark.parametrize("columns", [5, 100])
def test_the_guard_takes_no_sign_of_many_columns_for_a_rule(columns):
    rng = np.random.default_rng(0)
    guard = _guard(rng.normal(3.3, 1.0, (2_000, columns)))
    spoken = KERNELS.score(guard, rng.normal(3.3, 1.0, (5_000, columns)))
    assert (spoken > 0).mean() <= 0.005
    assert spoken.max() < np.log(2)


@pytest.mark.parametrize("draw", ["normal", "uniform", "lognormal", "standard_cauchy"])
def test_the_guard_is_silent_in_tails_of_any_weight(draw):
    rng = np.random.default_rng(0)
    X = getattr(rng, draw)(size=(5_000, 20))
    assert (KERNELS.score(_guard(X), X) > 0).mean() <= (0.003 if "cauchy" in draw else 0.0005)


def test_the_guard_sees_a_sign_that_a_column_of_amounts_never_has():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.lognormal(3.5, 0.8, 6_000), rng.normal(size=6_000)])
    X[:4, 0] = -50.0
    spoken = KERNELS.score(_guard(X), np.array([[-50.0, 0.0], [0.1, 0.0], [400.0, 0.0]]))
    assert spoken[0] > 0
    assert (spoken[1:] == 0).all()


def test_the_guard_is_silent_where_many_columns_are_mostly_zero():
    rng = np.random.default_rng(0)
    sparse = np.where(rng.random((5_000, 20)) < 0.02, rng.lognormal(size=(5_000, 20)), 0.0)
    X = np.column_stack([rng.normal(size=(5_000, 4)), sparse])
    assert (KERNELS.score(_guard(X), X) > 0).mean() <= 0.001


def test_rounding_is_no_measure_of_the_guard():
    rng = np.random.default_rng(0)
    X = np.column_stack([np.full(2_000, 0.3), rng.normal(size=2_000)])
    X[:8, 0], X[8, 0] = np.nextafter(0.3, 1.0), 1.0
    rows = np.array([[0.3 + 1e-14, 0.0], [1.0, 0.0], [1e3, 0.0]])
    spoken = KERNELS.score(_guard(X), rows)
    assert spoken[0] == 0
    assert 0 < spoken[1] < spoken[2]


def test_it_finds_anomalies_in_the_data_it_learned_from(ensemble):
    X, labels = _contaminated()
    assert roc_auc(labels, score_members(ensemble, X, KERNELS)) > 0.9


def test_equal_seeds_give_bit_identical_members(ensemble):
    again = _fit("self_cleaning", _contaminated()[0])
    for one, other in zip(ensemble, again, strict=True):
        assert (one.detector, one.params, one.normalisation) == (
            other.detector, other.params, other.normalisation,
        )  # fmt: skip
        for key, array in one.arrays.items():
            assert array.tobytes() == other.arrays[key].tobytes()


def test_another_seed_gives_other_members(ensemble):
    other = _fit("self_cleaning", _contaminated()[0], seed=1)
    assert other[1].arrays["references"].tobytes() != ensemble[1].arrays["references"].tobytes()


def test_cleaning_removes_the_planted_anomalies_from_what_is_learned(ensemble):
    X, labels = _contaminated()
    dirty = FITTER.fit("mahalanobis", {}, X, 0)
    gap_dirty = roc_auc(labels, KERNELS.score(dirty, X))
    gap_clean = roc_auc(labels, KERNELS.score(ensemble[2], X))
    assert gap_clean > gap_dirty


@pytest.mark.parametrize("rounds", [1, 2])
def test_every_round_cleans_and_only_the_last_one_is_kept(rounds):
    X, labels = _contaminated(300)
    members = _fit("self_cleaning", X, {"rounds": rounds})
    assert len(members) == 11
    assert roc_auc(labels, score_members(members, X, KERNELS)) > 0.9


def test_a_single_family_is_one_member():
    assert [m.detector for m in _fit("ecod", _contaminated(100)[0])] == ["ecod"]


def test_ten_rows_are_enough():
    X = np.random.default_rng(0).normal(size=(10, 3))
    assert np.isfinite(score_members(_fit("self_cleaning", X), X, KERNELS)).all()


def test_rows_that_are_equal_after_cleaning_keep_their_variation():
    X = np.zeros((200, 2))
    X[:5] = np.arange(10.0).reshape(5, 2) + 1
    scores = score_members(_fit("self_cleaning", X), X, KERNELS)
    assert scores[:5].min() > scores[5:].max()


def test_cleaning_does_not_blind_it_to_a_flag_that_only_suspicious_rows_carry():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=(600, 4)), np.zeros(600)])
    X[:12] = [9.0, -9.0, 9.0, -9.0, 1.0]
    fresh = np.column_stack([rng.normal(size=(400, 4)), np.zeros(400)])
    flagged = fresh + np.array([0, 0, 0, 0, 1.0])
    members = _fit("self_cleaning", X)[0:2]  # distances, to rows none of which has the flag
    assert (score_members(members, flagged, KERNELS) > score_members(members, fresh, KERNELS)).all()


def test_a_single_value_far_outside_is_on_top_among_many_ordinary_columns():
    X = np.random.default_rng(0).normal(size=(2_000, 20))
    X[[3, 4, 5], [0, 7, 19]] = (12.0, -12.0, 15.0)
    strangest = np.argsort(-score_members(_fit("self_cleaning", X), X, KERNELS))
    assert set(strangest[:3]) == {3, 4, 5}


def test_an_unknown_detector_is_refused():
    with pytest.raises(ConfigurationError, match="did you mean 'knn'"):
        _fit("knnn", np.zeros((10, 2)))


@pytest.mark.parametrize("value", [2.0, 1000.0, -1e6])
def test_the_only_row_that_differs_in_a_column_is_told(value):
    X = np.column_stack([np.ones(4_000), np.random.default_rng(0).normal(size=4_000)])
    X[7, 0] = value
    members = _fit("self_cleaning", X, {"rounds": 1})
    assert np.argmax(score_members(members, X, KERNELS)) == 7


def test_rare_flags_are_told_unless_there_are_many():
    rng = np.random.default_rng(0)
    for columns, spoken in ((3, 6), (40, 0)):
        flags = np.zeros((2_000, columns))
        for j in range(columns):
            flags[rng.choice(2_000, 2, replace=False), j] = 1.0
        guard = _guard(np.column_stack([rng.normal(size=(2_000, 2)), flags]))
        rows = np.column_stack([np.zeros((2_000, 2)), flags])
        assert (KERNELS.score(guard, rows) > 0).sum() == spoken


@pytest.mark.parametrize("residue", [1e-9, 1e-10, 1e-12, 1e-305])
@pytest.mark.parametrize("real", [1e3, 1e6])
def test_a_sum_that_is_zero_but_for_rounding_is_zero(residue, real):
    X = np.column_stack([np.zeros(4_000), np.random.default_rng(0).normal(size=4_000)])
    X[7, 0], X[8, 0] = residue, real
    spoken = KERNELS.score(_guard(X), X)
    assert spoken[7] == 0
    assert spoken[8] > 0


@pytest.mark.parametrize("residue", [1e-9, 1e-12])
def test_many_residues_do_not_hide_what_is_absurd(residue):
    rng = np.random.default_rng(0)
    amounts = np.zeros(10_000)
    amounts[:500] = residue * rng.normal(size=500)
    amounts[:50] = rng.lognormal(3, 1, size=50)
    guard = _guard(np.column_stack([amounts, rng.normal(size=10_000)]))
    told = KERNELS.score(guard, np.array([[residue, 0], [20, 0], [1e4, 0], [1e6, 0]]))
    assert told[:2].tolist() == [0, 0]
    assert 0 < told[2] < told[3]


@pytest.mark.parametrize("rows", [20, 30, 100, 199])
def test_small_tables_have_neither_ends_nor_exceptions(rows):
    rng = np.random.default_rng(0)
    flags = np.eye(rows)[:, :5]
    for draw in (rng.normal, rng.lognormal):
        guard = _guard(np.column_stack([draw(size=(rows, 10)), flags]))
        fresh = np.column_stack([draw(size=(500, 10)), np.zeros((500, 5))])
        assert (KERNELS.score(guard, fresh) > 0).mean() < 0.01
        assert (KERNELS.score(guard, np.column_stack([np.ones((rows, 10)), flags])) == 0).all()
