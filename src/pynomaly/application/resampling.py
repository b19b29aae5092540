"""Models fitted again on parts of the rows: for p-values, and to see what another sample does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pynomaly.application.split import fold_of_rows, known_anomalies_apart
from pynomaly.domain.errors import NotTrainableError
from pynomaly.domain.pipelines import Pipeline

__all__ = ["CrossFit", "Fit", "Resampling", "Scorer"]

Floats = NDArray[np.float64]

Scorer = Callable[[pa.Table], Floats]
"""Returns (n,) scores of a conformed table, higher = stranger; a row's depends on it alone."""

Fit = Callable[[pa.Table], Scorer]
"""Fits everything that shapes a score on the given rows; labels are columns of the table."""


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
        ordinary, anomalies = known_anomalies_apart(rows, pipeline)
        blocked = pipeline.time_column is not None
        return cls(ordinary, anomalies, fit, pipeline.training.seed, blocked)

    def cross_fit(self, folds: int) -> CrossFit:
        """Score every ordinary row by a model fitted on the other folds.

        Args:
            folds: How many.

        Raises:
            NotTrainableError: The rows outside a fold teach nothing.

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
                f"the rows are too much alike: {len(part):,} of "
                f"{len(self.ordinary) + len(self.anomalies):,} teach nothing ({error.message})",
                hint="give more rows, or columns that vary more often",
            ) from error
