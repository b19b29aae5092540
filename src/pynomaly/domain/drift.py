"""Whether scores still come from where they came from.

Scores of one model version are counted by conformal p-value.  A model calibrated on n rows gives
n + 1 different p-values, so (n + 1,) counts hold everything that comparisons need, however many
rows there are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pynomaly.domain.models import Calibration
from pynomaly.domain.scores import p_values

__all__ = [
    "PSI_BINS",
    "Shift",
    "calibration_counts",
    "count_p_values",
    "kolmogorov_p",
    "population_stability",
    "shift",
]

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

PSI_BINS = 10
"""Tenths of the range of p-values, each of which holds a tenth of ordinary rows."""


def count_p_values(p: Floats, n_calibration: int) -> Counts:
    """Return (n + 1,) counts of rows by p-value: 1/(n + 1), 2/(n + 1)… 1.

    Args:
        p: Conformal p-values of any rows.
        n_calibration: n, of the model that gave them.

    >>> count_p_values(np.array([0.25, 1.0, 0.25]), 3).tolist()
    [2, 0, 0, 1]
    """
    level = np.rint(p * (n_calibration + 1.0)).astype(np.int64) - 1
    return np.bincount(level, minlength=n_calibration + 1)


def calibration_counts(calibration: Calibration) -> Counts:
    """Return (n + 1,) counts of the calibration rows themselves: what ordinary rows look like.

    Uniform but for equal scores.
    """
    return count_p_values(p_values(calibration, calibration.scores), len(calibration.scores))


@dataclass(frozen=True, slots=True)
class Shift:
    """How two samples of scores differ.

    Args:
        psi: Population stability index: how much.
        distance: Kolmogorov–Smirnov: the largest difference of their distributions, 0–1.
        p: Two-sided p-value of that distance: whether it may be chance.
        stranger: Whether rows of the second sample score higher on the whole.
    """

    psi: float
    distance: float
    p: float
    stranger: bool


def shift(before: Counts, now: Counts) -> Shift:
    """Compare two samples of one model's scores.

    Source: two-sample Kolmogorov–Smirnov test; on scores with ties it errs towards no difference.

    Args:
        before: (k,) counts by p-value, together at least 1.
        now: (k,) likewise.

    >>> shift(np.array([5, 5, 5, 5]), np.array([50, 50, 50, 50])).distance
    0.0
    """
    n, m = int(before.sum()), int(now.sum())
    difference = np.cumsum(now) / m - np.cumsum(before) / n
    distance = float(np.max(np.abs(difference)))
    return Shift(
        population_stability(before, now),
        distance,
        kolmogorov_p(distance, n * m / (n + m)),
        bool(np.mean(difference) > 0.0),
    )


def population_stability(before: Counts, now: Counts) -> float:
    """Return the population stability index over ten fixed bins of p-values.

    Σ (now − before) · ln(now / before) over the shares of each bin, with half a row added to every
    bin so that empty ones stay finite.

    Source: Siddiqi, Credit risk scorecards (2006), who calls 0.1 a small shift and 0.25 a large
    one.  It grows by about 9 · (1/n + 1/m) by chance alone (Yurdakul & Naranjo, 2020), so in small
    samples a large value means nothing without a test.

    Args:
        before: (k,) counts by p-value.
        now: (k,) likewise.

    >>> population_stability(np.full(100, 10), np.full(100, 30))
    0.0
    """
    levels = np.arange(len(before))
    bins = (PSI_BINS * (levels + 1) - 1) // len(before)  # of p = (level + 1) / k
    was, is_now = (
        np.bincount(bins, weights=counts, minlength=PSI_BINS) + 0.5 for counts in (before, now)
    )
    was, is_now = was / was.sum(), is_now / is_now.sum()
    return float(np.sum((is_now - was) * np.log(is_now / was)))


def kolmogorov_p(distance: float, n: float) -> float:
    """Return the p-value of a Kolmogorov–Smirnov distance.

    Source: Kolmogorov's limit with the correction by Stephens (1970) for finite n.

    Args:
        distance: 0–1.
        n: Rows behind it; of two samples half their harmonic mean, n · m / (n + m).

    >>> round(kolmogorov_p(0.1, 100), 2)
    0.26
    """
    root = math.sqrt(n)
    x = (root + 0.12 + 0.11 / root) * distance
    if x < 0.2:  # where the series converges slowly, and nothing is surprising
        return 1.0
    terms = ((-1) ** (k - 1) * math.exp(-2.0 * (k * x) ** 2) for k in range(1, 101))
    return min(1.0, max(0.0, 2.0 * math.fsum(terms)))
