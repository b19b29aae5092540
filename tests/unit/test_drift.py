"""Drift of scores: silent by chance as seldom as promised, and loud when it happens."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pynomaly.domain.drift import (
    calibration_counts,
    count_p_values,
    kolmogorov_p,
    population_stability,
    shift,
)
from pynomaly.domain.scores import calibrate, p_values

N = 400


def counted(calibration, scores):
    return count_p_values(p_values(calibration, scores), len(calibration.scores))


def test_calibration_rows_are_spread_evenly_over_their_own_p_values():
    counts = calibration_counts(calibrate(np.random.default_rng(0).random(99)))

    assert counts.tolist() == [0] + [1] * 99  # no row is stranger than all, itself included


@given(st.integers(1, 60), st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_every_row_is_counted_once_whatever_the_ties(n, rows, seed):
    rng = np.random.default_rng(seed)
    calibration = calibrate(rng.integers(0, 5, n).astype(float))

    assert counted(calibration, rng.integers(-1, 6, rows).astype(float)).sum() == rows


def test_the_distance_is_that_of_the_two_samples_of_scores():
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=300), rng.normal(0.3, 1, 500)
    found = shift(calibration_counts(calibrate(one)), counted(calibrate(one), other))
    exact = stats.ks_2samp(one, other)

    # The batch is known only between calibration scores, so it may lose one of them.
    assert exact.statistic - 1 / 300 <= found.distance <= exact.statistic + 1e-9
    assert found.p == pytest.approx(exact.pvalue, rel=0.3)
    assert found.stranger


def test_kolmogorov_s_limit_is_close_to_the_exact_distribution():
    for n, distance in [(50, 0.2), (400, 0.07), (2_000, 0.03)]:
        assert kolmogorov_p(distance, n) == pytest.approx(
            stats.kstwo.sf(distance, n), rel=0.05, abs=0.002
        )


def test_unchanged_rows_are_found_shifted_no_more_often_than_the_p_value_says():
    rng = np.random.default_rng(2)
    against_calibration, against_earlier = [], []
    for _ in range(1_500):
        calibration = calibrate(rng.normal(size=N))
        batch = counted(calibration, rng.normal(size=250))
        earlier = counted(calibration, rng.normal(size=700))
        against_calibration.append(shift(calibration_counts(calibration), batch).p)
        against_earlier.append(shift(earlier, batch).p)

    for p in (np.array(against_calibration), np.array(against_earlier)):
        assert np.mean(p <= 0.05) <= 0.06
        assert np.mean(p <= 0.01) <= 0.015


def test_ties_never_make_a_shift():
    rng = np.random.default_rng(3)
    p = []
    for _ in range(500):
        calibration = calibrate(rng.integers(0, 4, N).astype(float))
        batch = counted(calibration, rng.integers(0, 4, 250).astype(float))
        p.append(shift(calibration_counts(calibration), batch).p)

    assert np.mean(np.array(p) <= 0.05) <= 0.05


def test_the_index_by_hand_and_unmoved_by_the_size_of_the_sample():
    before, now = np.full(10, 1_000_000), np.array([2_000_000, *[1_000_000] * 8, 0])

    by_hand = (0.2 - 0.1) * np.log(0.2 / 0.1) + (0 - 0.1) * np.log(0.5 / 10_000_005 / 0.1)
    assert population_stability(before, now) == pytest.approx(by_hand, rel=1e-4)
    assert population_stability(before, before * 7) == pytest.approx(0.0, abs=1e-12)


def test_chance_alone_moves_the_index_by_nine_times_the_inverse_sizes():
    rng = np.random.default_rng(4)
    found = [
        population_stability(
            np.bincount(rng.integers(0, 100, 600), minlength=100),
            np.bincount(rng.integers(0, 100, 300), minlength=100),
        )
        for _ in range(500)
    ]

    assert np.mean(found) == pytest.approx(9 * (1 / 600 + 1 / 300), rel=0.1)
