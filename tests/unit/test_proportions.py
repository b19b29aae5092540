"""Statements about shares are exact: they agree with SciPy, and they hold in simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pynomaly.domain.proportions import calibrated_share_p, same_share_p, share_interval


@given(st.integers(1, 10**6), st.floats(0, 1))
def test_the_interval_is_that_of_clopper_and_pearson(n, share):
    count = round(n * share)
    exact = stats.binomtest(count, n).proportion_ci(method="exact")

    assert share_interval(count, n) == pytest.approx((exact.low, exact.high), rel=1e-6, abs=1e-12)


@given(st.integers(1, 3_000), st.floats(0, 1), st.integers(1, 100_000), st.floats(0, 0.1))
def test_two_shares_are_compared_by_twice_the_smaller_exact_tail(n, share, others, other_share):
    count, other = round(n * share), round(others * other_share)
    drawn = stats.hypergeom(n + others, count + other, n)
    exact = min(1.0, 2 * min(drawn.cdf(count), drawn.sf(count - 1)))

    assert same_share_p(count, n, other, others) == pytest.approx(exact, abs=1e-7)


@given(st.integers(0, 200), st.integers(200, 5_000), st.integers(0, 40), st.integers(50, 3_000))
def test_a_calibrated_line_is_as_uncertain_as_the_calibration_is_small(
    count, n, above, calibration
):
    # Seen from the other side, the true share above the line is beta distributed.
    passing = stats.betabinom(n, above + 1, calibration - above)
    exact = min(1.0, 2 * min(passing.cdf(count), passing.sf(count - 1)))

    assert calibrated_share_p(count, n, above, calibration) == pytest.approx(exact, abs=1e-7)


def test_a_line_drawn_by_few_rows_is_wrongly_accused_as_seldom_as_promised():
    rng = np.random.default_rng(5)
    accused = 0
    for _ in range(2_000):
        calibration, rows = rng.random(199), rng.random(2_000)
        line = np.sort(calibration)[-2]  # one calibration row is above: a budget of 1 %
        accused += calibrated_share_p(int(np.sum(rows > line)), 2_000, 1, 199) <= 0.05

    assert accused / 2_000 <= 0.06
    # Taken for exact, the same line would be accused most of the time.
    assert stats.binomtest(40, 2_000, 0.01).pvalue < 0.001 < calibrated_share_p(40, 2_000, 1, 199)


def test_no_rows_leave_every_share_possible():
    assert share_interval(0, 0) == (0.0, 1.0)
    assert same_share_p(0, 0, 3, 10) == 1.0
