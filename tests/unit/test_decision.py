"""Decision policies flag what they say, row by row."""

import numpy as np
import pytest

from pynomaly.domain.decision import decide, policy_version, score_threshold
from pynomaly.domain.models import Calibration
from pynomaly.domain.pipelines import DecisionPolicy
from pynomaly.domain.scores import p_values


@pytest.mark.parametrize("n", [5, 100, 999, 5_000])
@pytest.mark.parametrize("budget", [0.001, 0.01, 0.05, 0.29, 0.58, 0.999])
def test_score_threshold_flags_exactly_what_the_budget_flags(n: int, budget: float) -> None:
    calibration = np.sort(np.random.default_rng(n).normal(size=n).round(2))
    scores = np.concatenate([calibration, np.nextafter(calibration, 9), [calibration[-1] + 1]])
    policy = DecisionPolicy(budget=budget)

    flagged = decide(policy, scores, p_values(Calibration(calibration), scores))

    threshold = score_threshold(policy, calibration)
    expected = np.zeros(len(scores), bool) if threshold is None else scores >= threshold
    np.testing.assert_array_equal(flagged, expected)


def test_an_alert_budget_is_kept_on_exchangeable_rows() -> None:
    rng = np.random.default_rng(0)
    calibration = np.sort(rng.normal(size=5_000))
    fresh = rng.normal(size=50_000)

    flagged = decide(DecisionPolicy(budget=0.01), fresh, p_values(Calibration(calibration), fresh))

    assert 0.006 < flagged.mean() < 0.014


def test_a_fixed_threshold_flags_scores_at_or_above_it() -> None:
    policy = DecisionPolicy(kind="threshold", threshold=2.0)

    flagged = decide(policy, np.array([1.9, 2.0, 2.1]), np.ones(3))

    assert flagged.tolist() == [False, True, True]


def test_a_policy_version_changes_exactly_when_the_policy_does() -> None:
    assert policy_version(DecisionPolicy()) == policy_version(DecisionPolicy(budget=0.01))
    assert policy_version(DecisionPolicy()) != policy_version(DecisionPolicy(budget=0.02))
