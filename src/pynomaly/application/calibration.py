"""Calibrate a model on rows it has not seen, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pynomaly.application.ports.learning import Kernels
from pynomaly.application.scoring_rows import score_table
from pynomaly.application.split import TrainingRows, fold_of_rows, known_labels
from pynomaly.domain.errors import NotTrainableError
from pynomaly.domain.models import Calibration, Model
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.scores import calibrate

__all__ = [
    "Fit",
    "Scorer",
    "calibrate_on_unseen_rows",
    "ranked_among_own_rows",
    "require_ordinary_rows",
]

Floats = NDArray[np.float64]

Scorer = Callable[[pa.Table], Floats]
"""Returns (n,) scores of a conformed table, higher = stranger; a row's depends on it alone."""

Fit = Callable[[pa.Table], Scorer]
"""Fits everything that shapes a score on the given rows: preprocessing, members, and what else the
model holds.  Labels are columns of the table."""

CALIBRATION_FOLDS = 5
MIN_CALIBRATION_ROWS = 2_000
MIN_ORDINARY_ROWS = 10
"""As many as anything can be learnt from at all."""


def require_ordinary_rows(rows: pa.Table, pipeline: Pipeline) -> None:
    """Refuse rows nearly all of which are labelled anomalies: they do not tell what is ordinary.

    Args:
        rows: To fit and calibrate on.
        pipeline: Names the label column, if there is one.

    Raises:
        NotTrainableError: There are known anomalies, and fewer than ten others.
    """
    labels = known_labels(rows, pipeline)
    known = 0 if labels is None else int(np.sum(labels == 1))
    ordinary = len(rows) - known
    if known and ordinary < MIN_ORDINARY_ROWS:
        raise NotTrainableError(
            f"{known:,} of {len(rows):,} rows to learn from are anomalies by their label in "
            f"'{pipeline.label_column}': {ordinary} are left to tell what is ordinary, "
            f"{MIN_ORDINARY_ROWS} are the least",
            hint="1 means anomaly, 0 normal, empty unknown: check that the labels are not the other "
            "way round, or give more rows that are normal or unknown",
        )


def calibrate_on_unseen_rows(
    rows: TrainingRows, scorer: Scorer, fit: Fit, *, wanted: int, seed: int
) -> tuple[pa.Table, Calibration]:
    """Return rows kept for the gates, and a calibration on other rows that were not fitted on.

    Of a large hold-out every second row calibrates; in time order where the pipeline has times, so
    that both halves cover the same recent period.  A small one cannot resolve a small alert budget
    (n rows give no p-value below 1/(n+1)); there the fitted rows calibrate, each scored by a model
    that was fitted without it: random folds, or contiguous ones where rows are in time order,
    because a row's neighbours in time would give it away.

    Args:
        rows: Rows of a snapshot, divided.
        scorer: Of the model, fitted on ``rows.fit``.
        fit: How that was fitted; called once per fold where the hold-out is small.
        wanted: Calibration rows the decision policy needs.
        seed: Of random folds.

    Raises:
        NotTrainableError: The rows outside a fold are too few, or never vary.

    Source: cross-conformal prediction, Vovk (2015); blocks, Chernozhukov et al. (2018).
    """
    half = len(rows.holdout) // 2
    if half >= max(MIN_CALIBRATION_ROWS, wanted):
        odd = np.arange(len(rows.holdout)) % 2 == 1
        spent = rows.holdout.filter(pa.array(odd))
        return rows.holdout.filter(pa.array(~odd)), calibrate(scorer(spent))
    n = len(rows.fit)
    fold = fold_of_rows(n, CALIBRATION_FOLDS, seed, blocked=rows.in_time_order)
    scores = np.empty(n)
    for k in range(CALIBRATION_FOLDS):
        inside = fold == k
        others = fit(rows.fit.filter(pa.array(~inside)))
        scores[inside] = others(rows.fit.filter(pa.array(inside)))
    return rows.holdout, calibrate(scores)


def ranked_among_own_rows(
    model: Model, rows: pa.Table, kernels: Kernels, known_anomalies: NDArray[np.bool_]
) -> Model:
    """Return the model with p-values that say how a row ranks among those it was fitted on.

    They hold for these rows alone: exactly the alert budget of them is flagged.  New rows need the
    calibration on rows that the model had not seen.

    Args:
        model: Fitted on ``rows``.
        rows: Conformed.
        kernels: Score them.
        known_anomalies: (n,) rows that are no ordinary ones.
    """
    scores = score_table(model, rows, kernels)
    return replace(model, calibration=calibrate(scores[~known_anomalies]))
