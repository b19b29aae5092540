"""Models fitted again on parts of the rows: for p-values, and to see what another sample does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pynomaly.application.calibration import Fit, Scorer
from pynomaly.application.split import fold_of_rows, known_labels
from pynomaly.domain.errors import NotTrainableError
from pynomaly.domain.models import Calibration
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.scores import calibrate

__all__ = ["CrossFit", "Resampling"]

Floats = NDArray[np.float64]

MIN_SPARE_ROWS = 2_000
MAX_SPARE_ROWS = 20_000
"""Rows beyond those fitted on calibrate by themselves if there are this many; more than 20,000 add
nothing, for severity is full at p = 1/10,000."""

MIN_BLOCKS = 3


@dataclass(frozen=True, slots=True)
class CrossFit:
    """Scores of ordinary rows by models that have not seen them, and those models."""

    scores: Floats
    scorers: tuple[Scorer, ...]


@dataclass(frozen=True, slots=True)
class Resampling:
    """Fits again on parts of the rows.

    Known anomalies are no ordinary rows: they calibrate nothing, and every part has them all.

    Args:
        ordinary: Rows that are not known to be anomalies; in time order where ``blocked``.
        anomalies: Rows that are.
        fit: Fits everything that shapes a score.
        seed: Of random folds.
        blocked: Whether folds are runs of neighbouring rows: a row's neighbours in time would
            give it away.
    """

    ordinary: pa.Table
    anomalies: pa.Table
    fit: Fit
    seed: int
    blocked: bool

    @classmethod
    def of(cls, rows: pa.Table, pipeline: Pipeline, fit: Fit) -> Resampling:
        """Divide rows by what a pipeline's label column says of them.

        Args:
            rows: Conformed; in time order where the pipeline has a time column.
            pipeline: Names label, time column and seed.
            fit: Called for every part.
        """
        labels = known_labels(rows, pipeline)
        known = np.zeros(len(rows), dtype=np.bool_) if labels is None else labels == 1
        return cls(
            rows.filter(pa.array(~known)),
            rows.filter(pa.array(known)),
            fit,
            pipeline.training.seed,
            pipeline.time_column is not None,
        )

    def cross_fit(self, folds: int) -> CrossFit:
        """Score every ordinary row by a model fitted on the other folds.

        Args:
            folds: How many.

        Source: cross-conformal prediction, Vovk (2015); blocks, Chernozhukov et al. (2018).
        """
        n = len(self.ordinary)
        fold = fold_of_rows(n, folds, self.seed, blocked=self.blocked)
        scores, scorers = np.empty(n), []
        for k in range(folds):
            inside = fold == k
            others = self.ordinary.filter(pa.array(~inside))
            scorers.append(self._fitted(pa.concat_tables([others, self.anomalies])))
            scores[inside] = scorers[k](self.ordinary.filter(pa.array(inside)))
        return CrossFit(scores, tuple(scorers))

    def _fitted(self, part: pa.Table) -> Scorer:
        try:
            return self.fit(part.combine_chunks())
        except NotTrainableError as error:
            raise NotTrainableError(
                f"the rows are too much alike: {len(part):,} of {len(self.ordinary):,} drawn at "
                f"random teach nothing ({error.message})",
                hint="give more rows, or columns that vary more often",
            ) from error

    def calibration(
        self, halves: CrossFit, scorer: Scorer, spare: pa.Table, folds: int
    ) -> Calibration:
        """Calibrate on rows that were left over if they are many, else across folds.

        Args:
            halves: The result of two folds, to be used again.
            scorer: Of the model, fitted on all rows.
            spare: Rows left over.
            folds: How many, otherwise.
        """
        if self.blocked:
            # Rows left over lie between those fitted on, in time; of two blocks one is the past.
            folds = max(folds, MIN_BLOCKS)
        elif len(spare) >= MIN_SPARE_ROWS:
            return calibrate(scorer(spare.slice(0, MAX_SPARE_ROWS)))
        folds = min(folds, len(self.ordinary) // 2)
        cross = halves if folds == len(halves.scorers) else self.cross_fit(folds)
        return calibrate(cross.scores)
