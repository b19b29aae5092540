"""The spread that columns are scaled by."""

from __future__ import annotations

import numpy as np
import pytest

from pynomaly.domain.spread import robust_spread


def spread_of(values):
    return float(robust_spread(np.asarray(values, dtype=float)[:, None])[0])


def test_of_normal_values_it_is_the_standard_deviation():
    values = np.random.default_rng(0).normal(5.0, 3.0, size=20_000)
    assert spread_of(values) == pytest.approx(3.0, rel=0.03)


@pytest.mark.parametrize("share", [0.3, 0.1, 0.02])
def test_of_normal_values_whose_middle_is_cut_out_it_is_still_theirs(share):
    values = np.random.default_rng(1).normal(0.0, 3.0, size=50_000)
    limit = np.quantile(np.abs(values), 1 - share)
    assert spread_of(np.where(np.abs(values) > limit, values, 0.0)) == pytest.approx(3.0, rel=0.05)


@pytest.mark.parametrize(("share", "deviations"), [(0.2, 1.64), (0.01, 2.81), (0.001, 3.48)])
def test_a_rare_flag_lies_as_far_out_as_normal_values_that_rare(share, deviations):
    flag = np.arange(10_000) < share * 10_000
    assert 1 / spread_of(flag) == pytest.approx(deviations, abs=0.01)


def test_rounding_is_no_spread_where_real_values_differ():
    values = np.full(100, 1e9)
    values[1::2] = np.nextafter(1e9, 2e9)
    values[:5] = 1e9 + 50
    assert spread_of(values) > 10


@pytest.mark.parametrize(("residues", "real"), [(900, 100), (960, 40), (5_000, 100), (9_000, 300)])
def test_residues_are_no_spread_however_many_they_are(residues, real):
    values = np.zeros(20_000)
    values[:residues] = 1e-11 * np.random.default_rng(0).normal(size=residues)
    values[-real:] = 20
    assert spread_of(values) > 5


@pytest.mark.parametrize("absurd", [1e12, 1e30])
@pytest.mark.parametrize("real", [15, 100])
def test_an_absurd_value_makes_no_residues_of_the_others(absurd, real):
    values = np.zeros(5_000)
    values[:real], values[-1] = 20, absurd
    assert spread_of(values) < 20


@pytest.mark.parametrize("value", [5e-324, 1e-200, 1.0, 1e200])
def test_it_is_above_zero_for_all_columns_that_vary_and_for_no_other(value):
    assert spread_of([0.0] * 9 + [value]) > 0
    assert spread_of([value] * 10) == 0
