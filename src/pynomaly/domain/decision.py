"""From calibrated scores to alerts."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pynomaly.domain.errors import ConfigurationError
from pynomaly.domain.models import Calibration
from pynomaly.domain.pipelines import DecisionPolicy
from pynomaly.domain.scores import p_values

__all__ = [
    "Line",
    "calibration_rows_wanted",
    "decide",
    "draw_line",
    "policy_version",
    "require_resolution",
    "score_threshold",
]

Floats = NDArray[np.float64]

_RESOLVED_SHARE = 0.01
"""A false-discovery policy must be able to flag an anomaly share this small."""

_ALL = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Line:
    """Where a policy cuts one batch.

    Args:
        score: Rows that score higher are alerts.
        last: So are rows with exactly this score up to this position in the batch.
    """

    score: float
    last: int = _ALL

    def flags(self, scores: Floats, first: int = 0) -> NDArray[np.bool_]:
        """Return which rows are alerts.

        Args:
            scores: (n,) of consecutive rows of the batch.
            first: Position of the first of them in the batch.
        """
        position = first + np.arange(len(scores))
        flags: NDArray[np.bool_] = scores > self.score
        flags |= (scores == self.score) & (position <= self.last)
        return flags


def decide(policy: DecisionPolicy, scores: Floats, calibration: Calibration) -> NDArray[np.bool_]:
    """Return which rows of a batch are alerts.

    Args:
        policy: The pipeline's decision policy.
        scores: (n,) of the whole batch, higher = stranger.
        calibration: Of the model that gave them.

    Raises:
        ConfigurationError: Too few calibration rows for the policy ``fdr``.
    """
    return draw_line(policy, calibration, [scores]).flags(scores)


def draw_line(policy: DecisionPolicy, calibration: Calibration, chunks: Iterable[Floats]) -> Line:
    """Return where the policy cuts a batch.

    ``alert_budget`` and ``threshold`` draw the same line for every batch and read no chunk; for
    ``fdr`` and ``top_k`` the line depends on the whole batch, in memory that doesn't.

    Args:
        policy: The pipeline's decision policy.
        calibration: Of the model that scores.
        chunks: (n,) scores each, together the batch in order.

    Raises:
        ConfigurationError: Too few calibration rows for the policy ``fdr``.
    """
    if policy.kind == "fdr":
        return _false_discovery_line(policy, calibration, chunks)
    if policy.kind == "top_k":
        assert policy.k is not None  # configuration requires it for this kind
        return _top_line(policy.k, chunks)
    threshold = score_threshold(policy, calibration.scores)
    return Line(math.inf, last=-1) if threshold is None else Line(threshold)


def score_threshold(policy: DecisionPolicy, calibration: Floats) -> float | None:
    """Return the lowest score that is flagged, whatever the batch.

    None if the calibration set can flag none, or the policy draws its line batch by batch.

    Args:
        policy: The pipeline's decision policy.
        calibration: (n,) ascending calibration scores.
    """
    if policy.kind == "threshold":
        return policy.threshold
    return _line_at(policy.budget, calibration) if policy.kind == "alert_budget" else None


def require_resolution(policy: DecisionPolicy, calibration_rows: int, batch_rows: int) -> None:
    """Refuse a false-discovery policy that would flag nothing, whatever the batch holds.

    With n calibration rows no p-value is below 1/(n + 1), so among m rows Benjamini–Hochberg
    flags at least m/(q(n + 1)) rows, all above every calibration score, or none.  It is
    refused where that is more than one row and more than a hundredth of the batch: silence would
    look like a clean batch.

    Args:
        policy: Others than ``fdr`` pass.
        calibration_rows: n.
        batch_rows: m.

    Raises:
        ConfigurationError: With the numbers and what to do.
    """
    if policy.kind != "fdr":
        return
    q, floor = policy.q, 1 / (calibration_rows + 1)
    least = math.ceil(batch_rows * floor / q - 1e-9)
    if least <= max(1.0, _RESOLVED_SHARE * batch_rows):
        return
    if least > batch_rows:
        can = "can flag none of them"
    else:
        can = (
            f"can flag {least:,} rows ({least / batch_rows:.1%}) or more at once, all stranger "
            "than every calibration row, or none"
        )
    raise ConfigurationError(
        f"decision policy fdr: the model is calibrated on {calibration_rows:,} rows, so no p-value "
        f"is below {floor:.2g}; at q = {q:g} and {batch_rows:,} rows in the batch, "
        f"Benjamini–Hochberg {can}; fewer anomalies would look like a clean batch",
        hint=f"train on more rows (calibration on {math.ceil(1 / (q * _RESOLVED_SHARE) - 1e-9) - 1:,} "
        "rows resolves batches of any size), score smaller batches "
        f"(up to {math.floor(q / floor + 1e-9):,} rows), raise decision.q, or use "
        "`decision: {policy: alert_budget}`",
    )


def calibration_rows_wanted(policy: DecisionPolicy) -> int:
    """Return how many calibration rows a model for this policy should have.

    Ten times as many as it takes to flag anything at all.

    >>> calibration_rows_wanted(DecisionPolicy(budget=0.01))
    1000
    >>> calibration_rows_wanted(DecisionPolicy("fdr", q=0.1))
    10000
    """
    if policy.kind == "fdr":
        return round(10 / (policy.q * _RESOLVED_SHARE))
    return round(10 / policy.budget) if policy.kind == "alert_budget" else 0


def policy_version(policy: DecisionPolicy) -> str:
    """Return a short name that changes exactly when the policy does.

    Settings that belong to another kind of policy do not count.

    >>> policy_version(DecisionPolicy()) == policy_version(DecisionPolicy(budget=0.01, k=20))
    True
    """
    setting = {
        "alert_budget": policy.budget,
        "threshold": policy.threshold,
        "fdr": policy.q,
        "top_k": policy.k,
    }[policy.kind]
    text = json.dumps([policy.kind, setting])
    return f"{policy.kind}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _line_at(p_value: float, calibration: Floats) -> float | None:
    """Return the lowest score whose p-value is at most ``p_value``; None if there is none."""
    n = len(calibration)
    # p-values by the number of calibration scores at or above, in the arithmetic of p_values.
    p = (1.0 + np.arange(n + 1)) / (n + 1.0)
    allowed = int(np.searchsorted(p, p_value, side="right")) - 1
    if allowed < 0:
        return None
    return -np.inf if allowed >= n else float(np.nextafter(calibration[n - 1 - allowed], np.inf))


def _false_discovery_line(
    policy: DecisionPolicy, calibration: Calibration, chunks: Iterable[Floats]
) -> Line:
    """Benjamini & Hochberg (1995): flag p ≤ p(k) for the largest k with p(k) ≤ q·k/m.

    Conformal p-values have n + 1 levels, so counts per level are all that has to be kept.
    """
    n = len(calibration.scores)
    counts = np.zeros(n + 1, dtype=np.int64)
    for scores in chunks:
        level = np.rint(p_values(calibration, scores) * (n + 1.0)).astype(np.int64) - 1
        counts += np.bincount(level, minlength=n + 1)
    m = int(counts.sum())
    require_resolution(policy, n, m)
    p = (1.0 + np.arange(n + 1)) / (n + 1.0)
    passing = np.flatnonzero((counts > 0) & (p * m <= policy.q * np.cumsum(counts)))
    if not len(passing):
        return Line(math.inf, last=-1)
    score = _line_at(float(p[passing[-1]]), calibration.scores)
    assert score is not None  # p is a level of this calibration
    return Line(score)


def _top_line(k: int, chunks: Iterable[Floats]) -> Line:
    """Cut below the k strangest rows; of equally strange ones the earlier go first."""
    best, positions = np.empty(0), np.empty(0, dtype=np.int64)
    seen = 0
    for scores in chunks:
        best = np.concatenate([best, scores])
        positions = np.concatenate([positions, seen + np.arange(len(scores))])
        seen += len(scores)
        strangest = np.lexsort((positions, -best))[:k]
        best, positions = best[strangest], positions[strangest]
    return Line(float(best[-1]), int(positions[-1])) if seen else Line(math.inf, last=-1)
