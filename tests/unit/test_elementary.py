"""The arithmetic kernels share is as accurate as the C library, bit for bit in any loop."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from pynomaly.infrastructure.kernels import _elementary


def _loop(function):
    # Compiled like any loop over rows: as vectors, with a scalar rest.
    @njit(error_model="numpy")
    def apply(numbers):
        out = np.empty_like(numbers)
        for i in range(numbers.shape[0]):
            out[i] = function(numbers[i])
        return out

    return apply


ASINH, EXP, LOG = (
    _loop(function) for function in (_elementary.asinh, _elementary.exp, _elementary.log)
)
RNG = np.random.default_rng(0)
WIDE = 10.0 ** RNG.uniform(-300, 300, 100_000)
NARROW = RNG.uniform(-4, 4, 100_000)
BORDERS = np.array([0.125, 1.0, 1e9, 1e300, 5e-324])


def _largest_error(found, numbers, exact):
    with np.errstate(over="ignore"):
        wanted = exact(numbers.astype(np.longdouble))
    return float(np.max(np.abs(found - wanted) / np.abs(wanted)))


def test_asinh_is_accurate_to_fourteen_digits():
    numbers = np.concatenate([WIDE, -WIDE, NARROW, BORDERS, np.nextafter(BORDERS, 1)])
    assert _largest_error(ASINH(numbers), numbers, np.arcsinh) < 1e-14
    zeros = ASINH(np.array([0.0, -0.0]))
    assert zeros.tolist() == [0.0, 0.0]
    assert np.signbit(zeros).tolist() == [False, True]


def test_log_is_accurate_to_fourteen_digits():
    numbers = np.concatenate([WIDE, 1 + RNG.uniform(-1e-3, 1e-3, 10_000), np.abs(NARROW)])
    assert _largest_error(LOG(numbers), numbers, np.log) < 1e-14
    assert LOG(np.array([1.0]))[0] == 0.0


def test_exp_is_accurate_to_fourteen_digits_and_nothing_far_below():
    numbers = np.concatenate([RNG.uniform(-700, 700, 100_000), NARROW, NARROW * 1e-9])
    assert _largest_error(EXP(numbers), numbers, np.exp) < 1e-14
    assert EXP(np.array([0.0]))[0] == 1.0
    assert EXP(np.array([-1e6, -1e308])).max() < 1e-300


@pytest.mark.parametrize("function", [ASINH, EXP, LOG], ids=["asinh", "exp", "log"])
def test_a_number_gives_the_same_bits_alone_and_anywhere_in_a_loop(function):
    numbers = np.abs(NARROW[:203])
    together = function(numbers)
    for begin in range(0, 203, 7):
        np.testing.assert_array_equal(function(numbers[begin:]), together[begin:])
    np.testing.assert_array_equal([function(numbers[i : i + 1])[0] for i in range(203)], together)
