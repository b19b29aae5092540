"""Decision policies flag what they say: row by row, or batch by batch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pynomaly.domain.decision import (
    calibration_rows_wanted,
    decide,
    draw_line,
    policy_version,
    require_resolution,
    score_threshold,
)
from pynomaly.domain.errors import ConfigurationError
from pynomaly.domain.models import Calibration
from pynomaly.domain.pipelines import DecisionPolicy
from pynomaly.domain.scores import calibrate, p_values

FDR = DecisionPolicy("fdr", q=0.1)


@pytest.mark.parametrize("n", [5, 100, 999, 5_000])
@pytest.mark.parametrize("budget", [0.001, 0.01, 0.05, 0.29, 0.58, 0.999])
def test_a_budget_flags_exactly_the_rows_with_a_p_value_within_it(n: int, budget: float) -> None:
    calibration = Calibration(np.sort(np.random.default_rng(n).normal(size=n).round(2)))
    known = calibration.scores
    scores = np.concatenate([known, np.nextafter(known, 9), [known[-1] + 1]])
    policy = DecisionPolicy(budget=budget)

    flagged = decide(policy, scores, calibration)

    np.testing.assert_array_equal(flagged, p_values(calibration, scores) <= budget)
    threshold = score_threshold(policy, known)
    expected = np.zeros(len(scores), bool) if threshold is None else scores >= threshold
    np.testing.assert_array_equal(flagged, expected)


def test_a_budget_of_one_percent_flags_one_percent_of_clean_rows() -> None:
    """The flagged share of fresh rows is Beta(⌊b(n+1)⌋, ·) given n calibration rows."""
    rng = np.random.default_rng(0)
    calibration_rows, fresh_rows, repeats, budget = 2_000, 5_000, 200, 0.01
    shares = [
        decide(
            DecisionPolicy(budget=budget),
            rng.normal(size=fresh_rows),
            calibrate(rng.normal(size=calibration_rows)),
        ).mean()
        for _ in range(repeats)
    ]

    mean = np.floor(budget * (calibration_rows + 1)) / (calibration_rows + 1)
    spread = np.sqrt(mean * (1 - mean) * (1 / (calibration_rows + 2) + 1 / fresh_rows))
    # 4 standard errors of the mean; every single share within 5 standard deviations.
    assert abs(np.mean(shares) - mean) < 4 * spread / np.sqrt(repeats)
    assert np.all(np.abs(np.array(shares) - mean) < 5 * spread)


def test_a_fixed_threshold_flags_scores_at_or_above_it() -> None:
    policy = DecisionPolicy(kind="threshold", threshold=2.0)

    flagged = decide(policy, np.array([1.9, 2.0, 2.1]), calibrate(np.ones(3)))

    assert flagged.tolist() == [False, True, True]


def benjamini_hochberg(p: np.ndarray, q: float) -> np.ndarray:
    """As in the paper: flag the k smallest for the largest k with p(k) ≤ q·k/m."""
    ordered = np.sort(p)
    passing = np.flatnonzero(ordered <= q * np.arange(1, len(p) + 1) / len(p) + 1e-12)
    return p <= (ordered[passing[-1]] if len(passing) else -1.0)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    q=st.sampled_from([0.05, 0.1, 0.3]),
    anomalies=st.integers(0, 40),
    digits=st.integers(1, 6),
)
def test_fdr_is_benjamini_hochberg_on_the_p_values(
    seed: int, q: float, anomalies: int, digits: int
) -> None:
    rng = np.random.default_rng(seed)
    calibration = calibrate(rng.normal(size=3_000).round(digits))
    scores = np.concatenate([rng.normal(size=200), rng.normal(4, 1, anomalies)]).round(digits)

    flagged = decide(DecisionPolicy("fdr", q=q), scores, calibration)

    np.testing.assert_array_equal(flagged, benjamini_hochberg(p_values(calibration, scores), q))


@pytest.mark.parametrize(
    "policy",
    [FDR, DecisionPolicy("top_k", k=7), DecisionPolicy(), DecisionPolicy("threshold", threshold=2)],
    ids=lambda policy: policy.kind,
)
@pytest.mark.parametrize("chunk", [1, 7, 250, 1_000])
def test_the_line_is_the_same_however_a_batch_is_cut_into_chunks(
    policy: DecisionPolicy, chunk: int
) -> None:
    rng = np.random.default_rng(1)
    calibration = calibrate(rng.normal(size=5_000).round(1))
    scores = np.concatenate([rng.normal(size=480), rng.normal(5, 1, 20)]).round(1)
    chunks = [scores[i : i + chunk] for i in range(0, len(scores), chunk)]

    line = draw_line(policy, calibration, iter(chunks))
    flagged = [line.flags(part, first=i * chunk) for i, part in enumerate(chunks)]

    whole = decide(policy, scores, calibration)
    assert whole.any()
    np.testing.assert_array_equal(np.concatenate(flagged), whole)


def test_top_k_flags_the_strangest_and_of_equal_ones_the_earlier() -> None:
    policy = DecisionPolicy("top_k", k=3)
    scores = np.array([1.0, 5.0, 5.0, 9.0, 5.0, 0.0])

    assert decide(policy, scores, calibrate(scores)).tolist() == [
        False, True, True, True, False, False,
    ]  # fmt: skip
    assert decide(policy, scores[:2], calibrate(scores)).all()
    assert decide(policy, scores[:0], calibrate(scores)).shape == (0,)


def test_the_false_discovery_share_stays_below_q() -> None:
    """Bates et al. (2023): E[FDP] ≤ q·(share of ordinary rows) for conformal p-values."""
    rng = np.random.default_rng(2)
    ordinary, strange, repeats = 900, 100, 300
    false_shares, found = [], []
    for _ in range(repeats):
        calibration = calibrate(rng.normal(size=2_000))
        scores = np.concatenate([rng.normal(size=ordinary), rng.normal(4, 1, strange)])
        flagged = decide(FDR, scores, calibration)
        false_shares.append(flagged[:ordinary].sum() / max(1, flagged.sum()))
        found.append(flagged[ordinary:].mean())

    error = np.std(false_shares) / np.sqrt(repeats)
    assert np.mean(false_shares) <= FDR.q * 0.9 + 4 * error
    assert np.mean(false_shares) >= FDR.q * 0.9 - 4 * error - 0.01  # and is not idle
    assert np.mean(found) > 0.8


def test_fdr_seldom_flags_anything_in_a_clean_batch() -> None:
    """Without anomalies every discovery is false: the share of batches with any is at most q."""
    rng = np.random.default_rng(3)
    repeats = 400
    any_flagged = [
        decide(FDR, rng.normal(size=200), calibrate(rng.normal(size=2_000))).any()
        for _ in range(repeats)
    ]

    assert np.mean(any_flagged) <= FDR.q + 4 * np.sqrt(FDR.q * (1 - FDR.q) / repeats)


def test_conformal_p_values_of_exchangeable_rows_are_uniform() -> None:
    """Pooled over fresh calibrations their distance to uniform obeys the DKW inequality."""
    rng = np.random.default_rng(4)
    n, repeats = 499, 4_000
    p = np.array([
        p_values(calibrate(rng.standard_t(3, size=n)), rng.standard_t(3, size=1))[0]
        for _ in range(repeats)
    ])  # fmt: skip

    levels = np.arange(1, n + 2) / (n + 1)
    share_at_most = np.searchsorted(np.sort(p), levels + 1e-9) / repeats
    # P(distance > ε) ≤ 2·exp(−2·repeats·ε²) = 1e-6
    assert np.abs(share_at_most - levels).max() < np.sqrt(np.log(2 / 1e-6) / (2 * repeats))


def test_fdr_refuses_a_calibration_that_could_flag_nothing_and_says_what_would_do() -> None:
    with pytest.raises(ConfigurationError) as caught:
        decide(FDR, np.random.default_rng(0).normal(size=5_000), calibrate(np.arange(299.0)))

    message = str(caught.value)
    assert "calibrated on 299 rows" in message
    assert "can flag 167 rows (3.3%) or more at once" in message
    assert "calibration on 999 rows resolves batches of any size" in message
    assert "up to 30 rows" in message


@pytest.mark.parametrize(
    ("n", "m", "refused"),
    [(999, 10**6, False), (998, 10**6, True), (299, 30, False), (299, 31, True), (8, 1, True)],
)
def test_fdr_is_refused_where_one_anomaly_in_a_hundred_would_pass_unseen(
    n: int, m: int, refused: bool
) -> None:
    if refused:
        with pytest.raises(ConfigurationError, match="decision policy fdr"):
            require_resolution(FDR, n, m)
    else:
        require_resolution(FDR, n, m)
        least = int(np.ceil(m / (FDR.q * (n + 1)) - 1e-9))
        scores = np.zeros(min(m, 10_000))
        if m <= 10_000:
            scores[:least] = 10.0
            assert decide(FDR, scores, calibrate(np.linspace(0, 1, n)))[:least].all()


def test_fdr_wants_ten_times_the_rows_it_cannot_do_without() -> None:
    wanted = calibration_rows_wanted(FDR)

    require_resolution(FDR, wanted // 10, 10**9)
    with pytest.raises(ConfigurationError):
        require_resolution(FDR, wanted // 10 - 2, 10**9)


def test_a_policy_version_changes_exactly_when_the_policy_does() -> None:
    same = [
        (DecisionPolicy(), DecisionPolicy(threshold=3.0, q=0.5, k=9)),
        (DecisionPolicy("top_k", k=5), DecisionPolicy("top_k", k=5, budget=0.2)),
    ]
    different = [
        DecisionPolicy(),
        DecisionPolicy(budget=0.02),
        DecisionPolicy("threshold", threshold=1.0),
        DecisionPolicy("threshold", threshold=2.0),
        FDR,
        DecisionPolicy("fdr", q=0.2),
        DecisionPolicy("top_k", k=5),
        DecisionPolicy("top_k", k=6),
    ]

    assert all(policy_version(a) == policy_version(b) for a, b in same)
    assert len({policy_version(policy) for policy in different}) == len(different)
