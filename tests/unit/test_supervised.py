"""What labels teach, when it is believed, and that it is frozen faithfully."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from pynomaly.application.ensemble import fit_detector
from pynomaly.application.evidence import label_free_weight, weigh
from pynomaly.application.scoring_rows import head_rows, score_members
from pynomaly.application.supervised import LabelledRows, fit_head, fit_supervised
from pynomaly.domain.errors import IntegrityError, NotTrainableError
from pynomaly.domain.evaluation import average_precision
from pynomaly.infrastructure.kernels import FrozenKernels, plain
from pynomaly.infrastructure.pyod import PyodFitter
from pynomaly.infrastructure.pyod.labels import SklearnLabelFitter

KERNELS = FrozenKernels()
FITTER, LABELLER = PyodFitter(KERNELS), SklearnLabelFitter(KERNELS)
ROWS = 1_200


def _hidden(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose anomalies nothing label-free can see: ordinary values in one corner."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(ROWS, 4))
    y = ((X[:, 0] > 0.8) & (X[:, 1] > 0.8)).astype(int)
    return X, y


@pytest.fixture(scope="module")
def members():
    return fit_detector("iforest", {}, _hidden()[0], fitter=FITTER, kernels=KERNELS, seed=0)


@pytest.fixture(scope="module")
def head(members):
    X, y = _hidden()
    return _head(X, _some(y, 30, 60), members)


def _head(X, labels, members, fitter=LABELLER, seed=0):
    rows = LabelledRows.scored(X, labels, members, KERNELS)
    return fit_head(rows, fitter, seed, label_free_weight(max(1, int(np.sum(labels == 1)))))


def _some(y: np.ndarray, anomalies: int, normal: int) -> np.ndarray:
    labels = np.full(len(y), np.nan)
    labels[np.flatnonzero(y == 1)[:anomalies]] = 1.0
    labels[np.flatnonzero(y == 0)[:normal]] = 0.0
    return labels


def _supervise(labels, members):
    rows = LabelledRows.scored(_hidden()[0], labels, members, KERNELS)
    return fit_supervised(rows, fitter=LABELLER, kernels=KERNELS, seed=0)


def test_a_few_labels_find_what_nothing_label_free_can_see(members):
    _, y = _hidden()
    unseen, truth = _hidden(1)
    found = _supervise(_some(y, 15, 30), members)
    before = average_precision(truth, score_members(members, unseen, KERNELS))
    after = average_precision(truth, score_members(members, unseen, KERNELS, found.head))
    assert before < 0.2 < 0.6 < after


def test_known_anomalies_alone_are_enough(members):
    _, y = _hidden()
    unseen, truth = _hidden(1)
    found = _supervise(_some(y, 10, 0), members)
    before = average_precision(truth, score_members(members, unseen, KERNELS))
    after = average_precision(truth, score_members(members, unseen, KERNELS, found.head))
    assert found.metrics["known_normal"] == 0
    assert after > 2 * before


def test_many_rows_stand_in_for_normal_ones_where_only_anomalies_are_known(members):
    X, y = _hidden()
    unseen, truth = _hidden(1)
    heads = [_head(X, _some(y, 10, 0), members, seed=seed) for seed in range(3)]
    found = [
        average_precision(truth, score_members(members, unseen, KERNELS, head)) for head in heads
    ]
    assert np.mean(found) > 0.755  # one stand-in for each anomaly: 0.737, ten: 0.769


def test_labels_of_one_kind_do_not_hide_what_is_blatant_of_another():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3_000, 4))
    X[:20, 0], X[20:25, 1] = rng.normal(4.5, 0.3, 20), -60
    labels = np.full(len(X), np.nan)
    labels[:12] = 1.0
    members = fit_detector(
        "self_cleaning", {"rounds": 1}, X, fitter=FITTER, kernels=KERNELS, seed=0
    )
    rows = LabelledRows.scored(X, labels, members, KERNELS)
    head = fit_supervised(rows, fitter=LABELLER, kernels=KERNELS, seed=0).head

    def ranks(of):
        return (-score_members(members, X, KERNELS, of)).argsort().argsort()

    assert ranks(head)[:25].max() < 30
    assert ranks(replace(head, ordinary=np.inf))[20:25].min() >= 30


def test_what_is_known_to_be_normal_is_not_blatant():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3_000, 4))
    X[:20, 0], X[20:60, 1] = rng.normal(4.5, 0.3, 20), -60
    labels = np.full(len(X), np.nan)
    labels[:12], labels[20:50] = 1.0, 0.0
    members = fit_detector("knn", {}, X, fitter=FITTER, kernels=KERNELS, seed=0)
    rows = LabelledRows.scored(X, labels, members, KERNELS)
    head = fit_supervised(rows, fitter=LABELLER, kernels=KERNELS, seed=0).head
    judged = rows.label_free[20:50]
    assert np.all(judged > np.quantile(rows.label_free, 0.98))
    assert head.ordinary >= np.sort(judged)[-2]


def test_one_blatant_row_judged_normal_does_not_let_labels_hide_the_others():
    scores = np.arange(3_000.0)
    labels = np.full(3_000, np.nan)
    labels[0], labels[-1] = 1.0, 0.0
    rows = LabelledRows(np.zeros((3_000, 1)), scores[:, np.newaxis], labels, None)
    assert rows.ordinary == np.quantile(scores, 0.99)
    labels[-5:] = 0.0  # whoever judges several of them normal knows
    assert rows.ordinary == scores[-2]


def test_useless_labels_leave_the_score_alone(members):
    believed = []
    for seed in range(10):
        labels = np.full(ROWS, np.nan)
        labels[np.random.default_rng(seed).permutation(ROWS)[:200]] = 0.0
        labels[np.flatnonzero(labels == 0)[::8]] = 1.0
        believed.append(_supervise(labels, members).head is not None)
    assert sum(believed) <= 1  # one in a thousand is what the level of the test allows


def test_without_a_known_anomaly_the_score_stays_label_free(members):
    nothing = np.full(ROWS, np.nan)
    normal = np.zeros(ROWS)
    for labels in (nothing, normal):
        found = _supervise(labels, members)
        assert found.head is None
        assert found.reason.startswith("Label-free: no anomaly is known")
        assert found.metrics["labels_used"] == 0.0


@pytest.mark.parametrize("others", [1, 2, 4])
def test_with_hardly_any_other_row_the_score_stays_label_free(members, others):
    labels = np.ones(ROWS)
    labels[:others] = 0

    found = _supervise(labels, members)

    assert found.head is None
    assert "too few other rows" in found.reason
    assert f"{others} known normal" in found.reason


def test_a_single_anomaly_is_believed_where_the_label_free_score_agrees(members):
    X, _ = _hidden()
    order = np.argsort(score_members(members, X, KERNELS))
    for row, believed in ((order[-1], True), (order[0], False)):
        labels = np.full(ROWS, np.nan)
        labels[row] = 1.0
        found = _supervise(labels, members)
        assert (found.head is not None) == believed
        assert "cannot be checked by holding it out" in found.reason


def test_labels_that_are_probably_the_other_way_round_are_said_to_be(members):
    _, y = _hidden()
    assert "the other way round" in _supervise(1.0 - y, members).reason
    assert "the other way round" not in _supervise(y.astype(float), members).reason


def test_the_reason_gives_numbers_with_an_interval(members):
    _, y = _hidden()
    found = _supervise(_some(y, 15, 30), members)
    lower, upper = found.metrics["labels_gain_lower"], found.metrics["labels_gain_upper"]
    assert found.reason.startswith("Labels shape the score (15 known anomalies, 30 known normal)")
    assert f"(difference {lower:+.2f} to {upper:+.2f})" in found.reason
    assert f"{found.metrics['labels_roc_auc']:.2f}" in found.reason


def test_too_few_labelled_rows_to_tell_are_called_so_with_no_impossible_figure():
    anomaly = np.array([1, 1, 0])
    perfect = np.array([2.0, 1.0, 0.0])

    found = weigh(anomaly, taught=perfect, label_free=perfect, ordinary=np.inf, seed=0)

    assert found.least_chance > 0.01
    assert not found.convinces
    assert "too few labelled rows to tell" in found.sentence
    assert "p =" not in found.sentence


def _evidence(anomalies: int, above: float, label_free_above: float):
    """Known anomalies at places among 1,000 others, by what labels teach and without labels."""
    anomaly = np.repeat([1, 0], [anomalies, 1_000])
    taught, label_free = (
        np.concatenate([np.full(anomalies, 1_000 * place), np.arange(1_000.0)])
        for place in (above, label_free_above)
    )
    return weigh(anomaly, taught=taught, label_free=label_free, ordinary=np.inf, seed=0)


def test_a_label_free_score_that_agrees_speaks_for_labels_and_one_that_does_not_is_not_asked():
    alone = [_evidence(5, above, 0.5).chance for above in (0.85, 0.92, 0.99)]
    agreed = [_evidence(5, above, 0.9).chance for above in (0.85, 0.92, 0.99)]

    assert alone[0] > alone[1] > 0.01 > alone[2]
    assert agreed[0] > agreed[1] > agreed[2]
    assert agreed[1] < 0.01
    assert all(less < more for less, more in zip(agreed, alone, strict=True))
    assert _evidence(5, 0.92, 0.1).chance == _evidence(5, 0.92, 0.4).chance >= alone[1]
    assert "p = " in _evidence(5, 0.92, 0.9).sentence


def test_labels_that_certainly_harm_are_not_believed():
    found = _evidence(40, 0.8, 0.99)
    assert found.chance < 0.01
    assert found.gain[1] < 0
    assert not found.convinces


def test_useless_labels_that_judge_one_another_are_believed_as_rarely_as_stated():
    """Each row is scored by its likeness to known anomalies: of two alike both come out on top."""
    rng = np.random.default_rng(5)
    believed = 0
    for draw in range(200):
        X = rng.normal(size=(200, 2))
        alike = np.exp(-np.square(X[:, None] - X).sum(axis=2))
        np.fill_diagonal(alike, 0.0)
        known = np.repeat([1, 0], [8, 192])
        taught = alike[:, :8].sum(axis=1) / alike.mean(axis=1)
        taught[8:] *= 7 / 8  # the others are judged by as many
        found = weigh(
            known, taught=taught, label_free=rng.normal(size=200), ordinary=np.inf, seed=draw
        )
        believed += found.chance <= 0.05

    assert 0.02 < believed / 200 < 0.08  # as independent judgements they would be in 12 %


def test_the_label_free_score_weighs_less_the_more_anomalies_are_known():
    assert [label_free_weight(n) for n in (1, 4, 25)] == [1.0, 0.5, 0.2]


def test_frozen_trees_decide_as_scikit_learn_does(members, monkeypatch):
    from sklearn.tree import DecisionTreeClassifier

    grown = []
    grow = DecisionTreeClassifier.fit  # extremely randomised trees inherit it

    def fit(self, *args, **kwargs):
        grown.append(grow(self, *args, **kwargs))
        return self

    monkeypatch.setattr(DecisionTreeClassifier, "fit", fit)
    X, y = _hidden()
    head = _head(X, _some(y, 30, 60), members)
    rows = head_rows(members, _hidden(2)[0], KERNELS)
    forest = head.parts[0]
    seen = (rows - forest.arrays["center"]).astype(np.float32)
    p = np.mean([tree.predict_proba(seen)[:, 1] for tree in grown], axis=0)
    expected = np.log((p + 0.02) / (1.02 - p))
    assert len(grown) == 100
    np.testing.assert_allclose(KERNELS.score(forest, rows), expected, atol=1e-12)


def test_frozen_boosting_decides_as_scikit_learn_does(members, monkeypatch):
    from sklearn.ensemble import HistGradientBoostingClassifier

    boosted = []
    boost = HistGradientBoostingClassifier.fit

    def fit(self, *args, **kwargs):
        boosted.append(boost(self, *args, **kwargs))
        return self

    monkeypatch.setattr(HistGradientBoostingClassifier, "fit", fit)
    X, y = _hidden()
    head = _head(X, _some(y, 30, 60), members)
    part = head.parts[2]
    rows = head_rows(members, _hidden(2)[0], KERNELS)
    inner = np.flatnonzero(part.arrays["child"])
    rows[np.arange(len(inner)), part.arrays["feature"][inner]] = part.arrays["threshold"][inner]
    expected = 0.5 * boosted[0].decision_function(rows)
    np.testing.assert_allclose(KERNELS.score(part, rows), expected, atol=1e-12)


def test_boosting_waits_for_more_than_ten_of_each_kind(members):
    X, y = _hidden()
    for anomalies, normal, parts in ((10, 40, 2), (40, 10, 2), (11, 11, 3)):
        labels = _some(y, anomalies, normal)
        head = _head(X, labels, members)
        assert len(head.parts) == parts


def test_values_on_a_threshold_go_the_way_scikit_learn_sends_them(members, head):
    forest = head.parts[0]
    inner = np.flatnonzero(forest.arrays["child"])[:200]
    X = np.zeros((len(inner), 4 + len(members) + 1))
    X[np.arange(len(inner)), forest.arrays["feature"][inner]] = forest.arrays["threshold"][inner]
    X += forest.arrays["center"]
    np.testing.assert_allclose(
        KERNELS.score(forest, X), plain.SCORERS["grown_forest"](forest.arrays, {}, X.T), atol=1e-12
    )


def test_a_damaged_copy_is_refused(members):
    class Damaged(FrozenKernels):
        def score(self, member, X):
            return super().score(member, X) + 1e-3

    X, y = _hidden()
    with pytest.raises(IntegrityError, match="grown_forest: the frozen classifier disagrees"):
        _head(X, _some(y, 5, 5), members, fitter=SklearnLabelFitter(Damaged()))


def test_a_row_scores_the_same_alone_in_any_batch_and_in_threads(members, head):
    X = _hidden(3)[0]
    whole = score_members(members, X, KERNELS, head)
    alone = np.array([score_members(members, X[i : i + 1], KERNELS, head)[0] for i in range(100)])
    assert alone.tobytes() == whole[:100].tobytes()
    backwards = score_members(members, X[::-1], KERNELS, head)[::-1]
    assert backwards.tobytes() == whole.tobytes()
    with ThreadPoolExecutor(4) as pool:
        for scores in pool.map(lambda _: score_members(members, X, KERNELS, head), range(8)):
            assert scores.tobytes() == whole.tobytes()


@pytest.mark.parametrize("number", [0, 1, 2])
def test_numpy_gives_the_same_log_odds_without_numba(members, head, number):
    rows = head_rows(members, _hidden(3)[0], KERNELS)
    part = head.parts[number]
    expected = plain.SCORERS[part.detector](part.arrays, part.params, rows.T)
    np.testing.assert_allclose(KERNELS.score(part, rows), expected, rtol=1e-9, atol=1e-9)


def test_equal_seeds_give_bit_identical_heads(members, head):
    X, y = _hidden()
    again = _head(X, _some(y, 30, 60), members)
    other = _head(X, _some(y, 30, 60), members, seed=1)
    for one, two in zip(head.parts, again.parts, strict=True):
        for name, array in one.arrays.items():
            assert array.tobytes() == two.arrays[name].tobytes()
    assert other.parts[0].arrays["share"].tobytes() != head.parts[0].arrays["share"].tobytes()


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_huge_and_tiny_magnitudes_give_finite_scores(scale):
    X, y = _hidden()
    X = np.column_stack([X * scale, np.ones(ROWS)])
    few = fit_detector("ecod", {}, X, fitter=FITTER, kernels=KERNELS, seed=0)
    head = _head(X, _some(y, 5, 5), few)
    assert np.isfinite(score_members(few, X, KERNELS, head)).all()


def test_nothing_to_tell_apart_is_refused(members):
    for labels in (np.full(ROWS, np.nan), np.ones(ROWS)):
        with pytest.raises(NotTrainableError, match="nothing to tell apart"):
            _head(_hidden()[0], labels, members)
    assert _supervise(np.ones(ROWS), members).head is None
