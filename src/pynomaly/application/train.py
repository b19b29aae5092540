"""Fit and calibrate a model on staged rows, and write it as a model folder."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pynomaly.application.calibration import calibrate_on_unseen_rows, require_ordinary_rows
from pynomaly.application.configuration import effective_configuration
from pynomaly.application.fit import FitScorer, FittedScorer
from pynomaly.application.held_out import digest_of_rows
from pynomaly.application.judgements import Judgements, nothing_said
from pynomaly.application.lesson import prepare_lesson
from pynomaly.application.ports.data import DatasetStore
from pynomaly.application.ports.learning import Kernels, ModelStore, Trial
from pynomaly.application.resampling import Resampling
from pynomaly.application.scoring_rows import score_table
from pynomaly.application.split import known_anomalies_apart, known_labels, training_rows
from pynomaly.application.training_marks import fitted_rows
from pynomaly.application.tune import Choice
from pynomaly.domain.datasets import EXPECTED_SCORE, Dataset
from pynomaly.domain.decision import calibration_rows_wanted
from pynomaly.domain.evaluation import (
    average_precision,
    precision_interval,
    roc_auc,
    roc_auc_interval,
)
from pynomaly.domain.models import Calibration, Model, ModelCard
from pynomaly.domain.pipelines import Pipeline

__all__ = ["FitModel", "TrainedModel"]

GOLDEN_ROWS = 32

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A model folder waiting to be registered.

    Args:
        folder: Where it is.
        manifest_digest: sha256 of its manifest.
        holdout_uri: Staged rows that neither fitting nor calibration has seen, for the gates.
        detector: Family that won.
        params: Its parameters.
        fitted_rows: Rows it was fitted on.
        metrics: Measured on held-out rows; label metrics only where labels exist.
        labels: What labels did for the model and why, for people; empty where there are none.
        verdicts: What became of rows that were judged or wait for it; empty where there are none.
    """

    folder: str
    manifest_digest: str
    holdout_uri: str
    detector: str
    params: Mapping[str, Any]
    fitted_rows: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    labels: str = ""
    verdicts: str = ""


@dataclass(frozen=True, slots=True)
class FitModel:
    """Fit the chosen detector, let labels shape its score, calibrate it, and write its folder.

    Verdicts are labels.  Labels count as far as they prove that they should; rows that calibrate
    are ordinary ones that fitting has not seen.

    Args:
        datasets: Staged rows.
        fit: Fits what shapes a score.
        store: Writes folders.
        models_folder: Where.
        revision: Tells what code fits, as far as that is known (:class:`ModelCard`).
        judgements: Tells what people said about rows, and which wait for it.
    """

    datasets: DatasetStore
    fit: FitScorer
    store: ModelStore
    models_folder: Path
    revision: Callable[[], Mapping[str, str]] = dict
    judgements: Callable[[Pipeline], Judgements] = nothing_said

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
            NotTrainableError: Too few rows that are no known anomalies, or no usable column.
            IntegrityError: Frozen scores differ from the fitted detector's.
        """
        rows = training_rows(pipeline, dataset, self.datasets)
        lesson = prepare_lesson(rows, pipeline, self.judgements(pipeline))
        require_ordinary_rows(lesson.rows, pipeline)
        scorer, supervised = self.fit(lesson.to_fit, pipeline, choice)
        fitted = len(fitted_rows(lesson.rows))

        def refit(part: pa.Table) -> FittedScorer:
            return self.fit.again(part, pipeline, choice, scorer)

        # A p-value says how often an *ordinary* row scores as high; known anomalies would raise it.
        ordinary, known_anomalies = known_anomalies_apart(rows.holdout, pipeline)
        kept, calibration = calibrate_on_unseen_rows(
            ordinary,
            scorer,
            Resampling.of(lesson.rows, pipeline, refit, lesson.added),
            wanted=calibration_rows_wanted(pipeline.decision),
        )
        if len(kept) < len(ordinary):
            # Half of the ordinary rows calibrate.  With all known anomalies beside the other half,
            # the gates would see twice their share.
            every_second = np.arange(len(known_anomalies)) % 2 == 0
            known_anomalies = known_anomalies.filter(pa.array(every_second))
        holdout = pa.concat_tables([kept, known_anomalies]).combine_chunks()
        model = Model(
            ModelCard(
                pipeline=pipeline.name,
                run_id=run_id,
                detector=choice.detector,
                params=choice.params,
                training_fingerprint=dataset.snapshot.fingerprint.content,
                training_rows=fitted,
                seed=pipeline.training.seed,
                library_versions=self.fit.fitter.library_versions(),
                labels=" ".join(filter(None, (supervised.reason, lesson.sentence))),
                configuration=effective_configuration(pipeline),
                revision=self.revision(),
                trials=tuple(_tried(trial) for trial in choice.trials),
                verdicts=lesson.counts,
                holdout_digest=digest_of_rows(holdout),
            ),
            pipeline.features,
            scorer.preprocessing,
            scorer.members,
            calibration,
            scorer.head,
            lesson.seen,
        )
        folder, digest = self._save(model, _golden(model, holdout, self.fit.kernels))
        # Named after the model: a run taken up again never changes what gates of another read.
        with self.datasets.writer(f"holdout-{digest}") as staged:
            staged.write(holdout)
        return TrainedModel(
            str(folder),
            digest,
            staged.uri,
            choice.detector,
            choice.params,
            fitted,
            {
                **_metrics(
                    score_table(model, holdout, self.fit.kernels),
                    calibration,
                    known_labels(holdout, pipeline),
                ),
                **supervised.metrics,
                **{f"verdicts_{name}": float(count) for name, count in lesson.counts.items()},
            },
            supervised.reason,
            lesson.sentence,
        )

    def _save(self, model: Model, golden: pa.Table) -> tuple[Path, str]:
        """Write the folder, which becomes visible whole under its digest."""
        home = self.models_folder / model.card.pipeline
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home, prefix=".incoming-") as incoming:
            written = Path(incoming) / "model"
            digest = self.store.save(model, golden, written)
            folder = home / digest
            if not folder.exists():
                written.rename(folder)
        return folder, digest


def _tried(trial: Trial) -> dict[str, Any]:
    """Return a row of the tuning table, without its time: equal searches give equal models."""
    value = trial.value if trial.value is not None and math.isfinite(trial.value) else None
    return {
        "number": trial.number,
        "detector": trial.detector,
        "params": dict(trial.params),
        "value": value,
    }


def _golden(model: Model, holdout: pa.Table, kernels: Kernels) -> pa.Table:
    """Return rows spread over the score range with the scores the model must reproduce."""
    columns = holdout.select(list(model.schema.names))
    scores = score_table(model, columns, kernels)
    order = np.argsort(scores, kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, GOLDEN_ROWS).round().astype(int))]
    return columns.take(pa.array(chosen)).append_column(
        EXPECTED_SCORE, pa.array(scores[chosen], pa.float64())
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
        positives, negatives = int(y.sum()), int((1 - y).sum())
        if positives and negatives:
            area, precision = roc_auc(y, scores[known]), average_precision(y, scores[known])
            metrics |= _bounded("roc_auc", area, roc_auc_interval(area, positives, negatives))
            interval = precision_interval(precision, positives)
            metrics |= _bounded("average_precision", precision, interval)
    return metrics


def _bounded(name: str, value: float, interval: tuple[float, float]) -> dict[str, float]:
    low, high = interval
    key = f"holdout_{name}"
    return {key: value, f"{key}_lower": low, f"{key}_upper": high}
