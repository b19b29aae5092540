"""From calibrated scores to alerts."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from pynomaly.domain.pipelines import DecisionPolicy

__all__ = ["calibration_rows_wanted", "decide", "policy_version", "score_threshold"]


def decide(
    policy: DecisionPolicy, scores: NDArray[np.float64], p_values: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return which rows are alerts.

    Each row is decided by itself, so a decision never depends on the rest of the batch.

    Args:
        policy: The pipeline's decision policy.
        scores: (n,) higher = stranger.
        p_values: (n,) conformal p-values of the scores.
    """
    if policy.kind == "threshold":
        assert policy.threshold is not None  # configuration requires it for this kind
        return scores >= policy.threshold
    return p_values <= policy.budget


def score_threshold(policy: DecisionPolicy, calibration: NDArray[np.float64]) -> float | None:
    """Return the lowest score that is flagged; None if the calibration set can flag none.

    Args:
        policy: The pipeline's decision policy.
        calibration: (n,) ascending calibration scores.
    """
    if policy.kind == "threshold":
        return policy.threshold
    n = len(calibration)
    # p-values by the number of calibration scores at or above, in the arithmetic of p_values.
    p = (1.0 + np.arange(n + 1)) / (n + 1.0)
    allowed = int(np.searchsorted(p, policy.budget, side="right")) - 1
    if allowed < 0:
        return None
    return -np.inf if allowed >= n else float(np.nextafter(calibration[n - 1 - allowed], np.inf))


def calibration_rows_wanted(policy: DecisionPolicy) -> int:
    """Return how many calibration rows give the policy's smallest p-value ten steps.

    >>> calibration_rows_wanted(DecisionPolicy(budget=0.01))
    1000
    """
    return round(10 / policy.budget)


def policy_version(policy: DecisionPolicy) -> str:
    """Return a short name that changes exactly when the policy does.

    >>> policy_version(DecisionPolicy()) == policy_version(DecisionPolicy(budget=0.01))
    True
    """
    text = json.dumps(asdict(policy), sort_keys=True)
    return f"{policy.kind}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
