"""Calibrate a model on rows it has not seen, whatever it is made of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pynomaly.application.ports.learning import Kernels
from pynomaly.application.resampling import CrossFit, Resampling, Scorer
from pynomaly.application.scoring_rows import score_table
from pynomaly.application.split import known_labels
from pynomaly.domain.errors import NotTrainableError
from pynomaly.domain.models import Calibration, Model
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.scores import calibrate

__all__ = [
    "calibrate_on_spare_rows",
    "calibrate_on_unseen_rows",
    "ranked_among_own_rows",
    "require_ordinary_rows",
]

Floats = NDArray[np.float64]

CALIBRATION_FOLDS = 5
MIN_BLOCKS = 3
MIN_CALIBRATION_ROWS = 2_000
"""Rows that fitting has not seen calibrate by themselves if there are this many."""

MAX_SPARE_ROWS = 20_000
"""More add nothing, for severity is full at p = 1/10,000."""

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
        by = f"their label in '{pipeline.label_column}'" if pipeline.label_column else "verdict"
        raise NotTrainableError(
            f"{known:,} of {len(rows):,} rows to learn from are anomalies by {by}: {ordinary} are "
            f"left to tell what is ordinary, {MIN_ORDINARY_ROWS} are the least",
            hint="1 means anomaly, 0 normal, empty unknown: check that the labels are not the other "
            "way round, or give more rows that are normal or unknown",
        )


def calibrate_on_unseen_rows(
    holdout: pa.Table, scorer: Scorer, resampling: Resampling, *, wanted: int
) -> tuple[pa.Table, Calibration]:
    """Return rows kept for the gates, and a calibration on other rows that were not fitted on.

    Of a large hold-out every second row calibrates; in time order where the pipeline has times, so
    that both halves cover the same recent period.  A small one cannot resolve a small alert budget
    (n rows give no p-value below 1/(n+1)); there the fitted rows calibrate, each scored by a model
    that was fitted without it: random folds, or contiguous ones where rows are in time order,
    because a row's neighbours in time would give it away (:mod:`~pynomaly.application.rhythms`).

    Args:
        holdout: Ordinary rows that were not fitted on.
        scorer: Of the model.
        resampling: Of the rows it was fitted on.
        wanted: Calibration rows the decision policy needs.

    Raises:
        NotTrainableError: The rows outside a fold teach nothing.
    """
    half = len(holdout) // 2
    if half >= max(MIN_CALIBRATION_ROWS, wanted):
        odd = np.arange(len(holdout)) % 2 == 1
        spent = holdout.filter(pa.array(odd))
        return holdout.filter(pa.array(~odd)), calibrate(scorer(spent))
    return holdout, calibrate(resampling.cross_fit(CALIBRATION_FOLDS).scores)


def calibrate_on_spare_rows(
    spare: pa.Table, scorer: Scorer, resampling: Resampling, halves: CrossFit, folds: int
) -> Calibration:
    """Calibrate on rows that were left over if they are many, else across folds.

    Args:
        spare: Rows left over.
        scorer: Of the model.
        resampling: Of the rows it was fitted on.
        halves: Its result of two folds, to be used again.
        folds: How many, otherwise.

    Raises:
        NotTrainableError: The rows outside a fold teach nothing.
    """
    if resampling.times is not None:
        # Rows left over lie between those fitted on, in time; of two blocks one is the past.
        folds = max(folds, MIN_BLOCKS)
    elif len(spare) >= MIN_CALIBRATION_ROWS:
        return calibrate(scorer(spare.slice(0, MAX_SPARE_ROWS)))
    folds = min(folds, len(resampling.ordinary) // 2)
    cross = halves if folds == len(halves.scorers) else resampling.cross_fit(folds)
    return calibrate(cross.scores)


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
