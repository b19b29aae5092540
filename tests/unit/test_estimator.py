"""``AnomalyDetector`` is a scikit-learn outlier detector, to the letter, and a little more."""

import inspect
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.stats import kstest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import pynomaly
from pynomaly import AnomalyDetector
from pynomaly.domain.detectors import detector
from pynomaly.domain.evaluation import roc_auc
from pynomaly.domain.extensions import DetectorExtension, Frozen, provided


@parametrize_with_checks([AnomalyDetector(detector="pca", budget="quick")])
def test_scikit_learn_finds_nothing_to_object_to(estimator, check) -> None:
    check(estimator)


@pytest.fixture(scope="module", name="X")
def rows() -> np.ndarray:
    X = np.random.default_rng(0).normal(size=(400, 3))
    X[:4] = [[9, 0, 0], [0, -9, 0], [0, 0, 9], [9, 9, 9]]
    return X


@pytest.fixture(scope="module")
def fitted(X: np.ndarray) -> AnomalyDetector:
    """The default: the ensemble."""
    return AnomalyDetector().fit(X)


def test_lower_is_stranger_as_scikit_learn_wants_and_higher_where_it_is_named_so(
    fitted: AnomalyDetector, X: np.ndarray
) -> None:
    scores = fitted.anomaly_scores(X)

    assert scores.dtype == np.float64
    assert scores.shape == (400,)
    assert scores[:4].min() > np.quantile(scores, 0.96)
    assert np.argmax(scores) == 3
    np.testing.assert_array_equal(fitted.score_samples(X), -scores)
    np.testing.assert_array_equal(fitted.decision_function(X), -scores - fitted.offset_)
    assert fitted.predict(X)[3] == -1
    assert fitted.predict(X[:4] * 1.5).tolist() == [-1, -1, -1, -1]


def test_the_default_is_the_ensemble_as_every_part_of_the_platform_has_it() -> None:
    budget = inspect.signature(AnomalyDetector).parameters["budget"].default

    assert budget == inspect.signature(pynomaly.detect).parameters["budget"].default


def test_a_score_depends_on_its_row_alone(fitted: AnomalyDetector, X: np.ndarray) -> None:
    whole = fitted.anomaly_scores(X)

    assert [fitted.anomaly_scores(X[i : i + 1])[0] for i in range(5)] == whole[:5].tolist()


def test_contamination_is_the_share_of_training_rows_called_anomalies(X: np.ndarray) -> None:
    labels = AnomalyDetector(detector="pca", budget="quick", contamination=0.05).fit_predict(X)

    assert (labels == -1).sum() == 20


def test_automatic_contamination_means_p_values_within_the_alert_budget(X: np.ndarray) -> None:
    detector = AnomalyDetector(detector="pca", budget="quick", alert_budget=0.03).fit(X)

    np.testing.assert_array_equal(detector.predict(X) == -1, detector.p_values(X) <= 0.03)


def test_with_too_few_rows_for_the_budget_rows_beyond_all_seen_are_anomalies() -> None:
    X = np.random.default_rng(3).normal(size=(30, 2))
    detector = AnomalyDetector(detector="pca", budget="quick").fit(X)

    assert detector.predict([[0.0, 0.0], [50.0, 50.0]]).tolist() == [1, -1]


def test_p_values_of_new_ordinary_rows_are_uniform() -> None:
    rng = np.random.default_rng(5)
    detector = AnomalyDetector(detector="pca", budget="quick").fit(rng.normal(size=(2_000, 3)))

    p = detector.p_values(rng.normal(size=(2_000, 3)))

    # Both the 2,000 calibration rows and the 2,000 new ones are draws: the 1 % limit of two samples.
    assert kstest(p, "uniform").statistic < 1.63 * np.sqrt(2 / 2_000)
    assert 0.004 < (p <= 0.01).mean() < 0.018


def test_reasons_name_the_column_that_was_shifted(fitted: AnomalyDetector, X: np.ndarray) -> None:
    reasons = fitted.reasons(X[:3])

    assert [row[0].column for row in reasons] == ["x0", "x1", "x2"]
    assert [row[0].direction for row in reasons] == ["high", "low", "high"]
    assert reasons[0][0].sentence.startswith("x0 9 — ")


def mixed(rows: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    data = pd.DataFrame(
        {
            "amount": rng.normal(50, 5, rows),
            "number": np.arange(rows),
            "country": rng.choice(["DE", "FR"], rows),
            "kind": pd.Categorical(rng.choice(["a", "b"], rows)),
            "vip": rng.random(rows) < 0.5,
            "at": pd.date_range("2026-01-05 09:00", periods=rows, freq="s"),
            "key": [f"k{i}" for i in range(rows)],
        }
    )
    data.loc[3, ["amount", "country", "at"]] = None
    return data


def test_tables_may_have_columns_of_any_type() -> None:
    data = mixed()
    detector = AnomalyDetector(detector="pca", budget="quick").fit(data)

    assert detector.columns_ == {
        "amount": "numeric", "number": "numeric", "country": "categorical",
        "kind": "categorical", "vip": "boolean", "at": "datetime", "key": "id",
    }  # fmt: skip
    assert detector.feature_names_in_.tolist() == data.columns.tolist()
    assert detector.n_features_in_ == 7
    odd = data.head(2).assign(country=["DE", "XX"], amount=[50.0, 900.0])
    assert detector.predict(odd).tolist() == [1, -1]
    assert detector.reasons(odd)[1][0].column == "amount"
    arrow = pa.Table.from_pandas(data)
    np.testing.assert_array_equal(detector.anomaly_scores(arrow), detector.anomaly_scores(data))


def test_missing_numbers_are_imputed_not_refused(X: np.ndarray) -> None:
    holes = X.copy()
    holes[::9, 1] = np.nan

    assert np.isfinite(
        AnomalyDetector(detector="pca", budget="quick").fit(holes).anomaly_scores(holes)
    ).all()


@pytest.fixture(scope="module")
def hidden() -> tuple[np.ndarray, np.ndarray]:
    """Rows of which the anomalies are nowhere near an edge, and which they are."""
    rng = np.random.default_rng(6)
    X = rng.normal(size=(600, 4))
    truth = np.arange(600) < 60
    X[truth, 1:3] = rng.normal(1.0, 0.1, (60, 2))
    return X, truth


@pytest.mark.parametrize("unknown", [-1, np.nan, None])
def test_partial_labels_are_used(hidden: tuple[np.ndarray, np.ndarray], unknown: object) -> None:
    X, truth = hidden
    y = np.where(truth, 1, 0).astype(object)
    y[30:60] = unknown
    y[400:] = unknown
    unseen = np.r_[30:60, 400:600]

    taught = AnomalyDetector(detector="pca", budget="quick").fit(X, y)
    alone = AnomalyDetector(detector="pca", budget="quick").fit(X)

    assert roc_auc(truth[unseen].astype(int), taught.anomaly_scores(X[unseen])) > 0.95
    assert roc_auc(truth[unseen].astype(int), alone.anomaly_scores(X[unseen])) < 0.6
    assert taught.labels_.startswith("Labels shape the score (30 known")
    assert alone.labels_ == ""


@pytest.mark.parametrize(
    "y", [np.arange(400), ["ham", "spam"] * 200, np.zeros(400), np.linspace(0, 1, 400)]
)
def test_a_y_that_is_no_label_is_ignored(X: np.ndarray, y: object) -> None:
    with_y = AnomalyDetector(detector="pca", budget="quick").fit(X, y)

    np.testing.assert_array_equal(
        with_y.anomaly_scores(X),
        AnomalyDetector(detector="pca", budget="quick").fit(X).anomaly_scores(X),
    )


def test_labels_survive_pandas_missing_values(hidden: tuple[np.ndarray, np.ndarray]) -> None:
    X, truth = hidden
    y = pd.Series(truth).astype("boolean")
    y[400:] = pd.NA

    assert (
        "(60 known anomalies, 340 known normal)"
        in AnomalyDetector(detector="pca", budget="quick").fit(X, y).labels_
    )


def test_a_y_of_inliers_alone_is_no_label(X: np.ndarray) -> None:
    found = AnomalyDetector(detector="pca", budget="quick").fit(X, np.ones(len(X)))

    assert found.labels_ == ""
    np.testing.assert_array_equal(
        found.anomaly_scores(X),
        AnomalyDetector(detector="pca", budget="quick").fit(X).anomaly_scores(X),
    )


def test_predictions_are_not_mistaken_for_labels(X: np.ndarray) -> None:
    detector = AnomalyDetector(detector="pca", budget="quick")

    with pytest.raises(ValueError, match="predictions of an outlier detector"):
        detector.fit(X, detector.fit_predict(X))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda d: d.assign(amount=np.inf), "amount: inf is not a finite number"),
        (lambda d: d.assign(amount="much"), "amount: 'much' is not a number"),
        (lambda d: d.drop(columns="vip"), "vip"),
    ],
)
def test_rows_that_do_not_fit_are_refused_by_name(change, named: str) -> None:
    detector = AnomalyDetector(detector="pca", budget="quick").fit(mixed())

    with pytest.raises(ValueError, match=named):
        detector.predict(change(mixed()))


@pytest.mark.parametrize(
    "params",
    [{"contamination": 0.7}, {"budget": "huge"}, {"detector": "magic"}, {"alert_budget": 0}],
)
def test_impossible_parameters_are_refused(params: dict[str, object], X: np.ndarray) -> None:
    with pytest.raises(ValueError, match=next(iter(params))):
        AnomalyDetector(**params).fit(X)


def test_infinities_are_refused(X: np.ndarray) -> None:
    with pytest.raises(ValueError, match="infinity"):
        AnomalyDetector().fit(np.where(X > 8, np.inf, X))


@pytest.mark.parametrize("kind", [np.asarray, pd.DataFrame, pa.table])
def test_no_row_is_refused_alike_in_arrays_and_tables(kind) -> None:
    rows = np.random.default_rng(0).normal(size=(40, 2))
    columns = pd.DataFrame(rows, columns=["a", "b"])
    given = {np.asarray: rows, pd.DataFrame: columns, pa.table: pa.table(dict(columns))}[kind]
    found = AnomalyDetector(detector="pca", budget="quick").fit(given)

    for method in (found.predict, found.score_samples, found.p_values, found.reasons):
        with pytest.raises(
            ValueError, match=r"0 sample\(s\) \(shape=\(0, 2\)\) while a minimum of 1"
        ):
            method(given[:0])


def test_a_copy_from_bytes_scores_alike(fitted: AnomalyDetector, X: np.ndarray) -> None:
    copy = pickle.loads(pickle.dumps(fitted))

    np.testing.assert_array_equal(copy.anomaly_scores(X), fitted.anomaly_scores(X))


def test_it_is_cloned_and_piped_like_any_estimator(X: np.ndarray) -> None:
    detector = AnomalyDetector(detector="pca", budget="quick", alert_budget=0.05)
    assert clone(detector).get_params() == detector.get_params()
    assert set(make_pipeline(StandardScaler(), detector).fit(X).predict(X)) == {-1, 1}


def test_equal_seeds_give_equal_scores_and_none_gives_others(X: np.ndarray) -> None:
    def scores(seed: int | None) -> np.ndarray:
        return (
            AnomalyDetector(detector="iforest", budget="quick", random_state=seed)
            .fit(X)
            .anomaly_scores(X)
        )

    np.testing.assert_array_equal(scores(1), scores(1))
    assert not np.array_equal(scores(None), scores(None))


def test_nothing_is_warned_of(X: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AnomalyDetector(detector="pca", budget="quick").fit(X).predict(X)


def test_detectors_of_other_packages_and_uncertified_ones_go_by_name(X: np.ndarray) -> None:
    def far_out(arrays: Mapping[str, np.ndarray], params: object, X: np.ndarray) -> np.ndarray:
        return np.abs(X - arrays["center"]).max(axis=1)

    def fit(params: object, X: np.ndarray, seed: int, floors: np.ndarray) -> Frozen:
        arrays = {"center": np.median(X, axis=0)}
        return Frozen(arrays, lambda rows: far_out(arrays, {}, X[rows]))

    entry = replace(detector("ecod"), name="borrowed")
    with provided(DetectorExtension(entry, fit, far_out)):
        scores = AnomalyDetector(detector="borrowed", budget="quick").fit(X).anomaly_scores(X)
    tried = AnomalyDetector(detector="pyod:KDE", budget="quick").fit(X)

    assert set(np.argsort(scores)[-4:]) == {0, 1, 2, 3}
    assert not tried.certified_
    assert np.argmax(tried.anomaly_scores(X)) in range(4)
    assert AnomalyDetector(detector="pca", budget="quick").fit(X).certified_
    with pytest.raises(ValueError, match="did you mean 'pyod:KDE'"):
        AnomalyDetector(detector="pyod:KDEE").fit(X)
