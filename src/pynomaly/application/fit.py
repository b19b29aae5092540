"""Fit everything that shapes a score: encodings, members, and what labels teach on top."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pynomaly.application.ensemble import fit_detector
from pynomaly.application.explain import without_the_strangest
from pynomaly.application.ports.learning import DetectorFitter, Kernels, LabelFitter
from pynomaly.application.preprocessing import MIN_TRAINING_ROWS, encode, fit_preprocessing
from pynomaly.application.scoring_rows import score_members
from pynomaly.application.split import known_labels
from pynomaly.application.supervised import LabelledRows, Supervised, fit_head, fit_supervised
from pynomaly.application.training_marks import fitted_rows, taught_rows
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
        ordinary = fitted_rows(rows)
        preprocessing = fit_preprocessing(ordinary, pipeline.features)
        members = self._members(encode(preprocessing, ordinary), preprocessing, pipeline, choice)
        preprocessing = without_the_strangest(preprocessing, members, self.kernels)
        labelled = self._labelled(rows, pipeline, preprocessing, members)
        supervised = Supervised(None, "")
        if labelled is not None:
            supervised = fit_supervised(
                labelled,
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
            part: Some of the rows, with the known anomalies that may be learnt from.
            pipeline: As before.
            choice: As before.
            whole: Fitted on all rows.

        Raises:
            NotTrainableError: The part teaches nothing.
            IntegrityError: Frozen scores differ from what was fitted.
        """
        ordinary = fitted_rows(part)
        # Of a handful of rows the whole table's encoding has to do.
        own = len(ordinary) >= MIN_TRAINING_ROWS
        preprocessing = (
            fit_preprocessing(ordinary, pipeline.features, part_of=whole.preprocessing)
            if own
            else whole.preprocessing
        )
        members = self._members(encode(preprocessing, ordinary), preprocessing, pipeline, choice)
        head = None
        if whole.head is not None:
            labelled = self._labelled(part, pipeline, preprocessing, members)
            assert labelled is not None  # a head came from them
            # Judged rows of the part that is scored are missing here, which must not change what
            # the label-free score weighs.
            seed = pipeline.training.seed
            head = fit_head(labelled, self.label_fitter, seed, whole.head.weight)
        return FittedScorer(preprocessing, members, head, self.kernels)

    def _labelled(
        self,
        rows: pa.Table,
        pipeline: Pipeline,
        preprocessing: Preprocessing,
        members: tuple[Member, ...],
    ) -> LabelledRows | None:
        """Return what a head may learn from; None where nothing is labelled or judged."""
        known = taught_rows(rows)
        labels = known_labels(known, pipeline)
        if labels is None:
            return None
        X = encode(preprocessing, known)
        return LabelledRows.scored(X, labels, members, self.kernels, preprocessing.floors)

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
