"""Normalisation, combination, calibration and severity."""

from __future__ import annotations

import numpy as np
import pytest

from pynomaly.domain.models import Member, Normalisation
from pynomaly.domain.scores import (
    calibrate,
    combine,
    fit_normalisation,
    normalise,
    p_values,
    severity,
)


def test_training_scores_are_centred_and_of_unit_spread():
    scores = np.random.default_rng(0).lognormal(size=500)
    z = normalise(scores, fit_normalisation(scores))
    assert (z.mean(), z.std()) == pytest.approx((0.0, 1.0))


def test_normalising_keeps_the_order():
    scores = np.sort(np.random.default_rng(1).exponential(size=200))
    assert np.all(np.diff(normalise(scores, fit_normalisation(scores))) > 0)


@pytest.mark.parametrize(
    "scores", [[2.0] * 9, [0.0] * 99 + [5.0], [1e-300] * 3, [1e300, 0.0, 1.0], [-3.0]]
)
def test_degenerate_training_scores_give_finite_scores(scores):
    normalisation = fit_normalisation(np.array(scores))
    assert np.isfinite(normalise(np.array([*scores, 7.0, -1e6]), normalisation)).all()


def test_members_count_equally():
    members = [Member("a", {}, {}, Normalisation(0, 1, 0, 1)) for _ in range(2)]
    scores = [np.arcsinh([1.0, 2.0]), np.zeros(2)]
    half = np.arcsinh(scores[0]) / 2
    np.testing.assert_allclose(combine(scores, members), half)


def test_p_values_of_fresh_rows_are_uniform():
    rng = np.random.default_rng(2)
    calibration = calibrate(rng.normal(size=2_000))
    p = p_values(calibration, rng.normal(size=20_000))
    for level in (0.01, 0.1, 0.5):
        assert np.mean(p <= level) == pytest.approx(level, rel=0.25)


def test_a_tie_with_calibration_counts_against_the_row():
    assert p_values(calibrate(np.array([1.0, 1.0, 1.0])), np.array([1.0]))[0] == 1.0


def test_severity_never_falls_when_p_does():
    p = np.linspace(1e-6, 1.0, 5_000)
    values = severity(p)
    assert np.all(np.diff(values) <= 0)
    assert (values[0], values[-1]) == (100.0, 0.0)
