"""Models fitted again on parts of the rows: for p-values, and to see what another sample does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pynomaly.application.preprocessing import epoch_seconds
from pynomaly.application.rhythms import blocks
from pynomaly.application.split import fold_of_rows, known_anomalies_apart
from pynomaly.application.training_marks import verdicts_of
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

    Anomalies of the label column are no ordinary rows: they calibrate nothing, and every part has
    them all.  Judged rows calibrate, and teach nothing that scores them.

    Args:
        ordinary: Rows that calibrate, whether or not they are fitted on; in time order where they
            have ``times``.
        anomalies: Rows that every part has and that calibrate nothing.
        fit: Fits everything that shapes a score.
        seed: Of random folds.
        times: (n,) of ordinary rows, seconds since 1970, NaN where missing; None where they have
            none.  With times folds are runs of neighbouring rows: a row's neighbours in time would
            give it away.
    """

    ordinary: pa.Table
    anomalies: pa.Table
    fit: Fit
    seed: int
    times: Floats | None

    @classmethod
    def of(
        cls, rows: pa.Table, pipeline: Pipeline, fit: Fit, added: pa.Table | None = None
    ) -> Resampling:
        """Divide rows by what a pipeline's label column says of them.

        Args:
            rows: Conformed; in time order where the pipeline has a time column.
            pipeline: Names label, time column and seed.
            fit: Called for every part.
            added: Judged rows from elsewhere, which teach and are no sample of anything.
        """
        ordinary, anomalies = known_anomalies_apart(rows, pipeline)
        if added is not None:
            anomalies = pa.concat_tables([anomalies, added])
        times = None
        if pipeline.time_column is not None:
            cells = ordinary.column(pipeline.time_column)
            dated = pa.types.is_timestamp(cells.type)
            # Numbers are in order, but nobody knows what they count.
            times = epoch_seconds(cells) if dated else np.full(len(cells), np.nan)
        return cls(ordinary, anomalies, fit, pipeline.training.seed, times)

    def cross_fit(self, folds: int) -> CrossFit:
        """Score every ordinary row by a model fitted on the other folds.

        Args:
            folds: How many; fewer where times leave no more.

        Raises:
            NotTrainableError: The rows outside a fold teach nothing.

        Source: cross-conformal prediction, Vovk (2015); blocks, Chernozhukov et al. (2018).
        """
        n = len(self.ordinary)
        fold = (
            fold_of_rows(n, folds, self.seed) if self.times is None else blocks(self.times, folds)
        )
        said = verdicts_of(self.ordinary)
        judged = np.zeros(n, dtype=np.bool_) if said is None else said == 1
        if self.times is None:  # else some fold might have none, or all
            fold[judged] = np.arange(judged.sum()) % folds
        scores, scorers = np.empty(n), []
        for k in range(int(fold.max()) + 1):
            inside = fold == k
            taught = ~inside
            if not (judged & taught).any() and not self._teaches_anomalies:
                taught |= judged  # nothing else teaches what the model was taught
            others = self.ordinary.filter(pa.array(taught))
            scorers.append(self._fitted(pa.concat_tables([others, self.anomalies])))
            scores[inside] = scorers[k](self.ordinary.filter(pa.array(inside)))
        return CrossFit(scores, tuple(scorers))

    @property
    def _teaches_anomalies(self) -> bool:
        """Whether any row that every part has is an anomaly."""
        said = verdicts_of(self.anomalies)
        return bool(len(self.anomalies) if said is None else (said != 0).any())

    def _fitted(self, part: pa.Table) -> Scorer:
        try:
            return self.fit(part.combine_chunks())
        except NotTrainableError as error:
            raise NotTrainableError(
                f"the rows are too much alike: {len(part):,} of "
                f"{len(self.ordinary) + len(self.anomalies):,} teach nothing ({error.message})",
                hint="give more rows, or columns that vary more often",
            ) from error
