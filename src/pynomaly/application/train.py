"""Tune, fit and calibrate a model on staged rows, and write it as a model folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pynomaly.application.ensemble import fit_detector
from pynomaly.application.ports.data import DatasetStore
from pynomaly.application.ports.learning import (
    DetectorFitter,
    Kernels,
    ModelStore,
    Trial,
    Tuner,
)
from pynomaly.application.preprocessing import encode, fit_preprocessing
from pynomaly.application.scoring_rows import score_matrix, score_members
from pynomaly.application.split import fold_of_rows, sample_table, split_rows
from pynomaly.application.tuning import (
    LabelFreeObjective,
    LabelledObjective,
    choose,
    enough_labels,
)
from pynomaly.domain.datasets import Dataset
from pynomaly.domain.errors import NotTrainableError
from pynomaly.domain.evaluation import average_precision, roc_auc
from pynomaly.domain.models import Calibration, Member, Model, ModelCard
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.scores import calibrate

__all__ = ["Choice", "FitModel", "TrainedModel", "TuneDetector", "known_labels"]

GOLDEN_ROWS = 32
MIN_ROWS = 20
CALIBRATION_FOLDS = 5

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Choice:
    """What tuning decided.

    Args:
        detector: Family to fit.
        params: Its parameters.
        objective: ``average_precision`` where labels exist, else ``consensus_stability``.
        trials: Everything that was tried.
    """

    detector: str
    params: Mapping[str, Any]
    objective: str
    trials: tuple[Trial, ...]


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A model folder waiting to be registered.

    Args:
        folder: Where it is.
        manifest_digest: sha256 of its manifest.
        holdout_uri: Staged rows the model was not fitted on.
        detector: Family that won.
        params: Its parameters.
        fitted_rows: Rows it was fitted on.
        metrics: Measured on held-out rows; label metrics only where labels exist.
    """

    folder: str
    manifest_digest: str
    holdout_uri: str
    detector: str
    params: Mapping[str, Any]
    fitted_rows: int
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Split:
    """Training rows, divided the same way in every step of a run."""

    fit: pa.Table
    holdout: pa.Table


def _split(pipeline: Pipeline, dataset: Dataset, datasets: DatasetStore) -> _Split:
    policy = pipeline.training
    table = sample_table(
        datasets.read(dataset.uri),
        dataset.rows,
        round(policy.max_rows / (1 - policy.calibration_share)),
        policy.seed,
    )
    if len(table) < MIN_ROWS:
        raise NotTrainableError(
            f"{dataset.snapshot.uri} has {len(table)} usable rows; at least {MIN_ROWS} are needed",
            hint="point the pipeline at a larger snapshot",
        )
    fit, holdout = split_rows(len(table), policy.calibration_share, policy.seed)
    return _Split(table.take(pa.array(fit)), table.take(pa.array(holdout)))


def known_labels(table: pa.Table, pipeline: Pipeline) -> NDArray[np.float64] | None:
    """Return (n,) labels with NaN for unknown; None where the pipeline has no label column."""
    if pipeline.label_column is None:
        return None
    labels = table.column(pipeline.label_column).to_numpy()
    return np.asarray(labels, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class TuneDetector:
    """Choose a detector and its parameters; the self-cleaning ensemble is the incumbent."""

    datasets: DatasetStore
    fitter: DetectorFitter
    kernels: Kernels
    tuner: Tuner

    def __call__(
        self,
        pipeline: Pipeline,
        dataset: Dataset,
        run_id: str,
        on_trial: Callable[[Trial], None] = lambda _: None,
    ) -> Choice:
        """Tune within the pipeline's budget.

        Args:
            pipeline: Its training policy says how.
            dataset: Staged rows.
            run_id: Names the study; an interrupted study of the same run is resumed.
            on_trial: Told of every trial.

        Raises:
            NotTrainableError: Too few rows or no usable column.
        """
        policy = pipeline.training
        rows = _split(pipeline, dataset, self.datasets).fit
        preprocessing = fit_preprocessing(rows, pipeline.features)
        X, floors = encode(preprocessing, rows), preprocessing.floors
        labels = known_labels(rows, pipeline)
        objective: LabelFreeObjective | LabelledObjective
        if labels is not None and enough_labels(labels):
            objective = LabelledObjective(
                X, labels, fitter=self.fitter, kernels=self.kernels, seed=policy.seed, floors=floors
            )
        else:
            objective = LabelFreeObjective(
                X, fitter=self.fitter, kernels=self.kernels, seed=policy.seed, floors=floors
            )
        result = self.tuner.tune(
            f"{pipeline.name}-{run_id}",
            policy.detectors,
            objective,
            trials=policy.trials,
            timeout_seconds=policy.timeout_seconds,
            seed=policy.seed,
            on_trial=on_trial,
        )
        winner = choose(result, objective.margin(result))
        return Choice(
            winner.detector,
            winner.params,
            objective.name,
            result.trials,
        )


@dataclass(frozen=True, slots=True)
class FitModel:
    """Fit the chosen detector, calibrate it on rows it has not seen, and write its folder."""

    datasets: DatasetStore
    fitter: DetectorFitter
    kernels: Kernels
    store: ModelStore
    models_folder: Path

    def __call__(
        self, pipeline: Pipeline, dataset: Dataset, choice: Choice, run_id: str
    ) -> TrainedModel:
        """Fit and freeze a model.

        Args:
            pipeline: Its training policy says how.
            dataset: Staged rows.
            choice: From tuning.
            run_id: Recorded in the model card.

        Raises:
            NotTrainableError: Too few rows or no usable column.
            IntegrityError: Frozen scores differ from the fitted detector's.
        """
        policy = pipeline.training
        split = _split(pipeline, dataset, self.datasets)
        preprocessing = fit_preprocessing(split.fit, pipeline.features)
        X = encode(preprocessing, split.fit)
        members = self._fit(choice, X, policy.seed, preprocessing.floors)
        holdout_scores = score_members(members, encode(preprocessing, split.holdout), self.kernels)
        calibration = self._calibration(choice, X, preprocessing.floors, holdout_scores, pipeline)
        model = Model(
            ModelCard(
                pipeline=pipeline.name,
                run_id=run_id,
                detector=choice.detector,
                params=choice.params,
                training_fingerprint=dataset.snapshot.fingerprint.content,
                training_rows=len(X),
                seed=policy.seed,
                library_versions=self.fitter.library_versions(),
            ),
            pipeline.features,
            preprocessing,
            members,
            calibration,
        )
        with self.datasets.writer(f"{run_id}-holdout") as holdout:
            holdout.write(split.holdout)
        folder = self.models_folder / pipeline.name / run_id
        # An attempt of this very run that died after writing; nobody registered it.
        shutil.rmtree(folder, ignore_errors=True)
        digest = self.store.save(model, _golden(model, split.holdout, self.kernels), folder)
        return TrainedModel(
            str(folder),
            digest,
            holdout.uri,
            choice.detector,
            choice.params,
            len(X),
            _metrics(holdout_scores, calibration, known_labels(split.holdout, pipeline)),
        )

    def _fit(self, choice: Choice, X: Floats, seed: int, floors: Floats) -> tuple[Member, ...]:
        return fit_detector(
            choice.detector,
            choice.params,
            X,
            fitter=self.fitter,
            kernels=self.kernels,
            seed=seed,
            floors=floors,
        )

    def _calibration(
        self,
        choice: Choice,
        X: Floats,
        floors: Floats,
        holdout_scores: Floats,
        pipeline: Pipeline,
    ) -> Calibration:
        """Calibrate on scores of rows that the model scoring them was not fitted on.

        A small hold-out cannot resolve a small alert budget (n rows give no p-value below
        1/(n+1)), so there the fitted rows add their out-of-fold scores.

        Source: cross-conformal prediction, Vovk (2015).
        """
        scores = [holdout_scores]
        if len(holdout_scores) < 10 / pipeline.decision.budget:
            fold = fold_of_rows(len(X), CALIBRATION_FOLDS, pipeline.training.seed)
            for k in range(CALIBRATION_FOLDS):
                members = self._fit(choice, X[fold != k], pipeline.training.seed, floors)
                scores.append(score_members(members, X[fold == k], self.kernels))
        return calibrate(np.concatenate(scores))


def _golden(model: Model, holdout: pa.Table, kernels: Kernels) -> pa.Table:
    """Return rows spread over the score range with the scores the model must reproduce."""
    columns = holdout.select(list(model.schema.names))
    scores = score_matrix(model, encode(model.preprocessing, columns), kernels)
    order = np.argsort(scores, kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, GOLDEN_ROWS).round().astype(int))]
    return columns.take(pa.array(chosen)).append_column(
        "expected_score", pa.array(scores[chosen], pa.float64())
    )


def _metrics(scores: Floats, calibration: Calibration, labels: Floats | None) -> dict[str, float]:
    metrics = {
        "holdout_rows": float(len(scores)),
        "calibration_rows": float(len(calibration.scores)),
        "holdout_score_median": float(np.median(scores)),
        "holdout_score_q99": float(np.quantile(scores, 0.99)),
        "distinct_score_share": len(np.unique(scores)) / len(scores),
    }
    if labels is not None:
        known = ~np.isnan(labels)
        y = labels[known].astype(int)
        if 0 < y.sum() < len(y):
            metrics["holdout_roc_auc"] = roc_auc(y, scores[known])
            metrics["holdout_average_precision"] = average_precision(y, scores[known])
    return metrics
