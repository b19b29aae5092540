"""Fit everything that shapes a score: encodings, members, and what labels teach on top."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pynomaly.application.ensemble import fit_detector
from pynomaly.application.ports.learning import DetectorFitter, Kernels, LabelFitter
from pynomaly.application.preprocessing import MIN_TRAINING_ROWS, encode, fit_preprocessing
from pynomaly.application.scoring_rows import score_members
from pynomaly.application.split import known_labels
from pynomaly.application.supervised import LabelledRows, Supervised, fit_head, fit_supervised
from pynomaly.application.tune import Choice
from pynomaly.domain.models import Head, Member, Preprocessing
from pynomaly.domain.pipelines import Pipeline

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FitScorer", "FittedScorer"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FittedScorer:
    """Everything that shapes a score; called with conformed rows, returns their (n,) scores.

    Args:
        preprocessing: Encodes rows.
        members: Label-free, at least one.
        head: What labels taught; None where the score is label-free.
        kernels: Score.
    """

    preprocessing: Preprocessing
    members: tuple[Member, ...]
    head: Head | None
    kernels: Kernels

    def __call__(self, rows: pa.Table) -> Floats:
        """Return (n,) scores, higher = stranger; a row's depends on it alone."""
        X = encode(self.preprocessing, rows)
        return score_members(self.members, X, self.kernels, self.head)


@dataclass(frozen=True, slots=True)
class FitScorer:
    """Fit a scorer on rows of a pipeline, and fit it again on parts of them.

    Args:
        fitter: Fits and freezes detectors.
        label_fitter: Fits and freezes what labels teach.
        kernels: Score.
    """

    fitter: DetectorFitter
    label_fitter: LabelFitter
    kernels: Kernels

    def __call__(
        self, rows: pa.Table, pipeline: Pipeline, choice: Choice
    ) -> tuple[FittedScorer, Supervised]:
        """Return a scorer, and what came of the labels.

        Args:
            rows: Conformed.
            pipeline: Names features, label column and seed.
            choice: Detector and parameters.

        Raises:
            NotTrainableError: Too few rows, or no column that varies.
            IntegrityError: Frozen scores differ from what was fitted.
        """
        preprocessing = fit_preprocessing(rows, pipeline.features)
        X = encode(preprocessing, rows)
        members = self._members(X, preprocessing, pipeline, choice)
        labels = known_labels(rows, pipeline)
        supervised = Supervised(None, "")
        if labels is not None:
            supervised = fit_supervised(
                LabelledRows.scored(X, labels, members, self.kernels, preprocessing.floors),
                fitter=self.label_fitter,
                kernels=self.kernels,
                seed=pipeline.training.seed,
            )
        return FittedScorer(preprocessing, members, supervised.head, self.kernels), supervised

    def again(
        self, part: pa.Table, pipeline: Pipeline, choice: Choice, whole: FittedScorer
    ) -> FittedScorer:
        """Return a scorer of a part of the rows, with a head where the one of all rows has one.

        Args:
            part: Some of the rows, with all known anomalies.
            pipeline: As before.
            choice: As before.
            whole: Fitted on all rows.

        Raises:
            NotTrainableError: The part teaches nothing.
            IntegrityError: Frozen scores differ from what was fitted.
        """
        # Of a handful of rows the whole table's encoding has to do.
        own = len(part) >= MIN_TRAINING_ROWS
        preprocessing = fit_preprocessing(part, pipeline.features) if own else whole.preprocessing
        X = encode(preprocessing, part)
        members = self._members(X, preprocessing, pipeline, choice)
        head = None
        if whole.head is not None:
            labels = known_labels(part, pipeline)
            assert labels is not None  # a head came from them
            rows = LabelledRows.scored(X, labels, members, self.kernels, preprocessing.floors)
            head = fit_head(rows, self.label_fitter, pipeline.training.seed)
        return FittedScorer(preprocessing, members, head, self.kernels)

    def _members(
        self, X: Floats, preprocessing: Preprocessing, pipeline: Pipeline, choice: Choice
    ) -> tuple[Member, ...]:
        return fit_detector(
            choice.detector,
            choice.params,
            X,
            fitter=self.fitter,
            kernels=self.kernels,
            seed=pipeline.training.seed,
            floors=preprocessing.floors,
        )
