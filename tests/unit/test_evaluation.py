"""Our statistics agree with scikit-learn's and with probability."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from pynomaly.domain.evaluation import (
    average_precision,
    paired_lower_bound,
    precision_interval,
    recall_at_budget,
    roc_auc,
    roc_auc_interval,
)


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=2, max_size=40).filter(
        lambda rows: len({label for label, _ in rows}) == 2
    )
)
def test_metrics_agree_with_scikit_learn_with_and_without_ties(
    rows: list[tuple[bool, int]],
) -> None:
    labels = np.array([int(label) for label, _ in rows])
    scores = np.array([float(score) for _, score in rows])

    assert roc_auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert average_precision(labels, scores) == pytest.approx(
        average_precision_score(labels, scores), abs=1e-12
    )


def test_intervals_of_label_metrics_hold_what_is_true_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], [160, 40])
    area, precision = 0.7602, 0.462  # of so many from N(0, 1) and N(1, 1)

    found = np.zeros(2)
    for _ in range(300):
        scores = np.concatenate([rng.normal(0, 1, 160), rng.normal(1, 1, 40)])
        low, high = roc_auc_interval(roc_auc(labels, scores), 40, 160)
        found[0] += low <= area <= high
        low, high = precision_interval(average_precision(labels, scores), 40)
        found[1] += low <= precision <= high

    assert np.all((found >= 276) & (found <= 300))
    assert precision_interval(1.0, 5)[0] < 0.6  # five found are no proof that all will be
    assert roc_auc_interval(0.0, 5, 200)[0] == 0.0


def test_metrics_refuse_labels_of_one_kind() -> None:
    with pytest.raises(ValueError, match="both"):
        roc_auc(np.array([0, 0]), np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match="at least one"):
        average_precision(np.array([0, 0]), np.array([1.0, 2.0]))


def test_the_paired_lower_bound_covers_the_true_mean_about_95_times_in_100() -> None:
    rng = np.random.default_rng(1)
    covered = [
        paired_lower_bound(
            rng.choice([-1.0, 0.0, 1.0], size=400, p=[0.1, 0.7, 0.2]), rng=rng, draws=500
        )
        <= 0.1
        for _ in range(300)
    ]

    assert 0.90 < np.mean(covered) < 0.99


def test_recall_at_budget_flags_what_exceeds_the_clean_quantile() -> None:
    clean = np.arange(100.0)

    assert recall_at_budget(clean, np.array([98.0, 99.5]), 0.01).tolist() == [False, True]
