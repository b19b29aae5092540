"""Folds of rows in time leave the rhythm of days and weeks whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pynomaly.application.rhythms import DAY, WEEK, blocks, told


def test_blocks_of_hours_are_runs_of_neighbours_of_equal_size() -> None:
    folds = blocks(np.arange(103.0), 5)

    assert np.all(np.diff(folds) >= 0)
    assert np.bincount(folds).tolist() == [21, 21, 21, 20, 20]


@pytest.mark.parametrize(
    ("days", "cycle", "folds"), [(4.3, DAY, 4), (15.0, DAY, 5), (24.0, WEEK, 3), (71.0, WEEK, 5)]
)
def test_blocks_end_between_whole_cycles_counted_from_the_newest(
    days: float, cycle: float, folds: int
) -> None:
    seconds = np.linspace(0, days * DAY, 5_000)
    fold = blocks(seconds, 5)

    assert fold.max() + 1 == folds
    lengths = [np.ptp(seconds[fold == k]) / cycle for k in range(folds)]
    assert np.allclose(lengths[1:], np.round(lengths[1:]), atol=0.02)
    assert min(lengths) > 0.4


HALF_A_DAY = np.linspace(0, DAY / 2, 985)


@pytest.mark.parametrize(
    "seconds",
    [
        np.concatenate([[0.0, DAY, 2 * DAY, 3 * DAY], 4 * DAY + np.linspace(0, DAY - 1, 996)]),
        np.concatenate([np.zeros(15), 20_000 * DAY + HALF_A_DAY]),  # dated 1970 by mistake
        np.concatenate([np.linspace(0, 29 * DAY, 100), 29 * DAY + HALF_A_DAY]),  # it grew
        np.concatenate([HALF_A_DAY, 30 * DAY + HALF_A_DAY]),  # two days, a month apart
        np.concatenate([[0.0], 20_000 * DAY + HALF_A_DAY[:79]]),
    ],
)
def test_rows_nearly_all_of_a_day_or_two_tell_nothing_and_are_divided_equally(
    seconds: NDArray[np.float64],
) -> None:
    assert not told(seconds, DAY)
    assert not told(seconds, WEEK)
    assert np.ptp(np.bincount(blocks(seconds, 5))) <= 1


def test_blocks_that_cycles_would_make_too_unequal_are_cut_anywhere() -> None:
    """Most rows lack their time and count as the oldest; or half of all are of one day of four."""
    missing = np.concatenate([np.full(7_000, np.nan), np.linspace(0, 30 * DAY, 3_000)])
    growing = np.concatenate([np.linspace(0, 3 * DAY, 500), np.linspace(3 * DAY, 4 * DAY, 450)])

    assert told(missing, WEEK)
    assert told(growing, DAY)
    for seconds in (missing, growing):
        assert np.ptp(np.bincount(blocks(seconds, 5))) <= 1


@given(
    st.lists(st.floats(0, 1e9) | st.just(np.nan), min_size=4, max_size=60), st.integers(2, 5)
)  # fmt: skip
def test_every_row_is_in_a_block_and_every_block_has_a_row(drawn: list[float], folds: int) -> None:
    times = np.array(drawn)
    seconds = np.concatenate([times[np.isnan(times)], np.sort(times[~np.isnan(times)])])
    fold = blocks(seconds, min(folds, len(seconds)))

    assert np.all(np.diff(fold) >= 0)
    counts = np.bincount(fold)
    assert counts.min() > 0
    assert min(folds, 3) <= len(counts) <= folds
    assert counts.max() <= max(1.5 * len(seconds) / len(counts), len(seconds) / folds + 1)
