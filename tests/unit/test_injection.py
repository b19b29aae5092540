"""Injected anomalies disturb just the cells they name."""

import numpy as np

from pynomaly.domain.injection import columns_to_shift, shifted_values


def test_each_row_is_disturbed_in_one_to_three_columns() -> None:
    mask = columns_to_shift(500, 10, np.random.default_rng(0))

    assert set(mask.sum(axis=1)) == {1, 2, 3}
    assert mask.any(axis=0).all()


def test_a_single_column_is_always_the_disturbed_one() -> None:
    assert columns_to_shift(20, 1, np.random.default_rng(0)).all()


def test_only_masked_cells_move_and_by_four_to_eight_robust_deviations() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(5, 2, (2_000, 4))
    values[::7, 1] = np.nan
    mask = columns_to_shift(len(values), 4, rng)

    moved = shifted_values(values, mask, rng)

    np.testing.assert_array_equal(moved[~mask], values[~mask])
    distance = np.abs(moved - values)[mask & ~np.isnan(values)] / 2
    assert 3.5 < distance.min() < distance.max() < 8.8
    assert not np.isnan(moved[mask]).any()


def test_a_constant_column_moves_too() -> None:
    values = np.full((10, 1), 3.0)

    moved = shifted_values(values, np.ones((10, 1), bool), np.random.default_rng(0))

    assert (np.abs(moved - 3.0) >= 4).all()
