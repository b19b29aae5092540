"""Exact statements about shares: how certain one is, and whether two differ by chance alone."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["calibrated_share_p", "same_share_p", "share_interval"]

_BISECTIONS = 60
_FRACTION_TERMS = 20_000


def share_interval(count: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact confidence interval of a share.

    Source: Clopper & Pearson (1934).  Covers the true share at least as often as it says, for any
    n; so it is wide where few rows were seen.

    Args:
        count: Rows that have it, 0 to ``n``.
        n: Rows looked at; without any the share may be anything.
        confidence: Two-sided.

    >>> low, high = share_interval(3, 100)
    >>> round(low, 4), round(high, 4)
    (0.0062, 0.0852)
    >>> share_interval(0, 0)
    (0.0, 1.0)
    """
    if n == 0:
        return 0.0, 1.0
    tail = (1.0 - confidence) / 2.0
    low = _beta_quantile(tail, count, n - count + 1) if count else 0.0
    high = _beta_quantile(1.0 - tail, count + 1, n - count) if count < n else 1.0
    return low, high


def same_share_p(first: int, n_first: int, second: int, n_second: int) -> float:
    """Return the two-sided p-value that two samples have the same share.

    Source: Fisher's exact test, twice the smaller tail.

    Args:
        first: Rows of the first sample that have it.
        n_first: Rows of the first sample.
        second: Rows of the second sample that have it.
        n_second: Rows of the second sample.

    >>> round(same_share_p(10, 1_000, 100, 10_000), 2), same_share_p(40, 1_000, 100, 10_000) < 1e-6
    (1.0, True)
    """
    drawn, marked, total = n_first, first + second, n_first + n_second
    at_most = _hypergeometric_cdf(first, total, marked, drawn)
    at_least = 1.0 - _hypergeometric_cdf(first - 1, total, marked, drawn)
    return min(1.0, 2.0 * max(min(at_most, at_least), 0.0))


def calibrated_share_p(count: int, n: int, above: int, n_calibration: int) -> float:
    """Return the two-sided p-value that rows pass a calibrated line as often as ordinary rows do.

    The line is the score of a calibration row, so its true share is known no better than the
    calibration is large.  If new rows and calibration rows are exchangeable, at least ``count`` of
    ``n`` new rows pass the line exactly if at most ``above`` of the highest ``count + above`` rows
    of both together are calibration rows, which is hypergeometric; no approximation.

    Args:
        count: New rows above the line.
        n: New rows.
        above: Calibration rows above the line.
        n_calibration: Calibration rows, more than ``above``.

    >>> round(calibrated_share_p(10, 1_000, 9, 1_000), 2)  # 1 in 100, as the line promises
    1.0
    >>> calibrated_share_p(40, 1_000, 9, 1_000) < 0.001
    True
    >>> calibrated_share_p(3, 100, 0, 99) > 0.05  # a line drawn by 99 rows is not that sure
    True
    """
    total = n + n_calibration

    def at_least(k: int) -> float:
        return _hypergeometric_cdf(above, total, n_calibration, k + above) if k <= n else 0.0

    upper, lower = at_least(count), 1.0 - at_least(count + 1)
    return min(1.0, 2.0 * max(min(upper, lower), 0.0))


def _hypergeometric_cdf(x: int, total: int, marked: int, drawn: int) -> float:
    """Return the probability of at most ``x`` marked ones among those drawn.

    Memory and time grow with ``x``.
    """
    lowest, highest = max(0, drawn + marked - total), min(drawn, marked)
    if x < lowest:
        return 0.0
    if x >= highest:
        return 1.0
    first = (
        _log_choose(marked, lowest)
        + _log_choose(total - marked, drawn - lowest)
        - _log_choose(total, drawn)
    )
    k = np.arange(lowest, x, dtype=np.float64)
    steps = np.log(((marked - k) * (drawn - k)) / ((k + 1.0) * (total - marked - drawn + k + 1.0)))
    logs = np.concatenate([[first], first + np.cumsum(steps)])
    return float(min(1.0, np.sum(np.exp(logs))))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _beta_quantile(probability: float, a: float, b: float) -> float:
    """Return x with I_x(a, b) = ``probability``, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        if _beta_cdf(middle, a, b) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def _beta_cdf(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b).

    Source: continued fraction 8.17.22 of the NIST Digital Library of Mathematical Functions,
    evaluated by Lentz's method.
    """
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    if x > (a + 1.0) / (a + b + 2.0):  # where the fraction converges fast for the complement
        return 1.0 - _beta_cdf(1.0 - x, b, a)
    front = math.exp(
        a * math.log(x) + b * math.log1p(-x)
        + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    ) / a  # fmt: skip
    c, d = 1.0, 1.0 / _nonzero(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, _FRACTION_TERMS):
        before = value
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for numerator in (even, odd):
            d = 1.0 / _nonzero(1.0 + numerator * d)
            c = _nonzero(1.0 + numerator / c)
            value *= c * d
        if abs(value - before) < 1e-14 * value:
            break
    return front * value


def _nonzero(value: float) -> float:
    return value if abs(value) > 1e-300 else 1e-300
