"""The engine as a scikit-learn outlier detector."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from pynomaly.adapters import detector_kernels, model_learner
from pynomaly.application.columns import declared_columns
from pynomaly.application.conform import conform
from pynomaly.application.explain import explain
from pynomaly.application.learn import BUDGETS, budget_named, training_policy
from pynomaly.application.preprocessing import encode
from pynomaly.application.raw_rows import split_rows
from pynomaly.application.scoring_rows import score_table
from pynomaly.domain.datasets import ROW_ID, Schema
from pynomaly.domain.decision import score_threshold
from pynomaly.domain.detectors import detector
from pynomaly.domain.errors import PynomalyError
from pynomaly.domain.pipelines import DecisionPolicy, Pipeline
from pynomaly.domain.scores import Reason, p_values
from pynomaly.domain.sources import SourceSpec
from pynomaly.presentation.python.labels import partial_labels
from pynomaly.presentation.python.tables import is_table, to_table

if TYPE_CHECKING:
    from pynomaly.application.ports.learning import Kernels
    from pynomaly.domain.models import Model

__all__ = ["AnomalyDetector"]

Floats = NDArray[np.float64]


class AnomalyDetector(OutlierMixin, BaseEstimator):  # type: ignore[misc]
    """Detect anomalies with the self-cleaning ensemble, calibrated and explained.

    Follows scikit-learn's conventions: of :meth:`score_samples` and :meth:`decision_function`
    lower is stranger, :meth:`predict` gives −1 for anomalies and 1 otherwise.  Beside them
    :meth:`anomaly_scores` (higher is stranger), :meth:`p_values` and :meth:`reasons`.

    ``X`` is an array of numbers, or a pandas, polars or pyarrow table with columns of any type.
    Of a table, numbers, booleans and times are taken as such; texts are categories unless they
    are numbers or times in writing; identifiers and free text are left out (``columns_`` says
    so).  NaN and null are missing values; infinities are refused.

    Args:
        detector: One of ``pynomaly detectors list``, ``pyod:NAME`` among them, which are
            uncertified; ``None`` for the ensemble.
        contamination: Share of the training rows that :meth:`predict` calls anomalies, 0–0.5;
            ``"auto"`` for the rows whose p-value is at most ``alert_budget``.  That is meant for
            new rows: anomalies among the training rows calibrate too, so not all of those are.
        alert_budget: Share of ordinary rows that may be called anomalies, for ``"auto"``.  With
            fewer than ``1 / alert_budget`` rows no p-value is so small; then rows stranger than
            every row seen are.
        budget: ``"default"`` and ``"thorough"`` tune; ``"quick"`` does not, and cleans once.
        random_state: Seed, generator, or None for other results each time.

    Attributes:
        offset_: ``decision_function(X) = score_samples(X) - offset_``.
        columns_: What every column was taken for; name → ``numeric``, ``categorical``, ….
        labels_: What labels did for the model, in a sentence; empty where there were none.
        certified_: Whether the detector is certified: repeats itself, and scores every row alone.
        model_: The frozen model: arrays and tables, no code.
        n_features_in_: Columns seen in :meth:`fit`.
        feature_names_in_: Their names, where ``X`` had names.

    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2))
    >>> detector = AnomalyDetector().fit(X)
    >>> detector.predict([[0.0, 0.0], [9.0, 9.0]]).tolist()
    [1, -1]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "detector": [str, None],
        "contamination": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="right")],
        "alert_budget": [Interval(Real, 0, 1, closed="neither")],
        "budget": [StrOptions(set(BUDGETS))],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        detector: str | None = None,
        contamination: float | str = "auto",
        alert_budget: float = 0.01,
        budget: str = "default",
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.detector = detector
        self.contamination = contamination
        self.alert_budget = alert_budget
        self.budget = budget
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> AnomalyDetector:
        """Learn what is usual.

        Args:
            X: (n, d) rows, anomalies among them or not.
            y: (n,) labels: 1 = anomaly, 0 = ordinary, −1 or NaN = unknown.  They are used where
                ``y`` holds nothing else and at least one 1, as far as they prove their worth on
                held-out rows; ``labels_`` says what became of them.  A ``y`` with other values
                (classes of another task, say), or of 1 alone (scikit-learn's word for inliers),
                is ignored, as scikit-learn wants it.

        Raises:
            ValueError: Fewer rows than can teach anything, fewer than ten that are not labelled
                anomalies, infinities, a wrong parameter, or a
                ``y`` of 1 and −1 alone that is mostly 1: what :meth:`predict` gives, where 1
                means ordinary.
        """
        self._validate_params()
        with _as_value_errors():
            budget = budget_named(self.budget)
            seed = int(check_random_state(self.random_state).randint(2**31 - 1))
            table = self._table(X, reset=True)
            schema = Schema(declared_columns(table))
            rows = _conformed(table, schema)
            labels = partial_labels(y, len(rows))
            name = next(n for n in ("y", "y_", "y__", "labels of y") if n not in schema.names)
            if labels is not None:
                rows = rows.append_column(name, pa.array(labels, pa.float64()))
            pipeline = Pipeline(
                "estimator",
                SourceSpec(""),
                schema,
                label_column=None if labels is None else name,
                training=training_policy(self.detector, seed),
                decision=DecisionPolicy(budget=self.alert_budget),
            )
            chosen, spare = split_rows(rows, budget.fit_rows, seed, pipeline.label_column)
            learned = model_learner()(chosen, pipeline, budget, spare=spare)
            self.columns_ = {column.name: column.kind for column in schema.columns}
            self.model_: Model = learned.model
            self.certified_ = detector(learned.model.card.detector).certified
            self.labels_ = learned.model.card.labels
            self.offset_ = self._offset(rows)
        return self

    def anomaly_scores(self, X: Any) -> Floats:
        """Return (n,) float64 scores, higher = stranger; a row's depends on that row alone."""
        rows = self._rows(X)
        return score_table(self.model_, rows, _kernels())

    def score_samples(self, X: Any) -> Floats:
        """Return (n,) the opposite of :meth:`anomaly_scores`: lower = stranger."""
        return -self.anomaly_scores(X)

    def decision_function(self, X: Any) -> Floats:
        """Return (n,) ``score_samples(X) - offset_``: negative for anomalies."""
        scores = self.score_samples(X)
        return scores - self.offset_

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Return (n,) −1 for anomalies and 1 otherwise."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def p_values(self, X: Any) -> Floats:
        """Return (n,) conformal p-values: how often an ordinary row scores at least as high.

        They come from rows scored by models that had not seen them, so for rows of the same kind
        that were not fitted on they are uniform.

        Source: Bates et al., Testing for outliers with conformal p-values (2023).
        """
        scores = self.anomaly_scores(X)
        return p_values(self.model_.calibration, scores)

    def reasons(self, X: Any) -> list[list[Reason]]:
        """Return for every row the columns that make it strange, the strongest first.

        A reason has ``column``, ``contribution`` (what the column adds to the score),
        ``direction``, ``value``, and what is ``normal`` there; ``sentence`` says it in words.  At
        most three per row; none where no single column adds anything.
        """
        rows = self._rows(X)
        encoded = encode(self.model_.preprocessing, rows)
        scores = score_table(self.model_, rows, _kernels())
        return explain(self.model_, rows, encoded, scores, _kernels()).to_lists()

    def __sklearn_tags__(self) -> Any:
        """Missing values are welcome."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _rows(self, X: Any) -> pa.Table:
        """Return new rows as the fitted model reads them."""
        check_is_fitted(self)
        with _as_value_errors():
            return _conformed(self._table(X, reset=False), self.model_.schema)

    def _table(self, X: Any, *, reset: bool) -> pa.Table:
        if is_table(X):
            table = to_table(X)
            if not len(table):  # of arrays scikit-learn says the same
                raise ValueError(
                    f"Found array with 0 sample(s) (shape=(0, {table.num_columns})) while a "
                    f"minimum of 1 is required by {type(self).__name__}."
                )
            validate_data(self, X, skip_check_array=True, reset=reset)
            return table
        array = validate_data(
            self,
            X,
            reset=reset,
            dtype=np.float64,
            ensure_all_finite="allow-nan",
            ensure_min_samples=2 if reset else 1,
        )
        return to_table(array)

    def _offset(self, rows: pa.Table) -> float:
        """Return where ordinary rows end, in terms of ``score_samples``."""
        if self.contamination != "auto":
            scores = score_table(self.model_, rows, _kernels())
            return float(np.percentile(-scores, 100 * float(self.contamination)))
        ordinary = self.model_.calibration.scores
        flagged_from = score_threshold(DecisionPolicy(budget=self.alert_budget), ordinary)
        if flagged_from is None:  # too few rows for any p-value that small
            return -float(ordinary[-1])
        return -float(np.nextafter(flagged_from, -np.inf))


def _conformed(table: pa.Table, schema: Schema) -> pa.Table:
    """Return rows typed as declared.

    Raises:
        ValueError: A cell cannot be read as its column's kind.
    """
    numbered = table.add_column(0, ROW_ID, pa.array(np.arange(len(table))).cast(pa.string()))
    rows, failures = conform(numbered, Pipeline("estimator", SourceSpec(""), schema))
    if failures:
        raise ValueError(
            f"row {failures[0].position}: {failures[0].reason} ({len(failures):,} such cells)"
        )
    return rows


@contextmanager
def _as_value_errors() -> Iterator[None]:
    """Raise what scikit-learn's users and tools expect of wrong input."""
    try:
        yield
    except PynomalyError as error:
        raise ValueError(str(error)) from error


@cache
def _kernels() -> Kernels:
    return detector_kernels()
