"""Put a trained model and its evidence into the registry."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pynomaly.application.ports.data import DatasetStore
from pynomaly.application.ports.learning import Kernels, ModelStore
from pynomaly.application.ports.records import Records
from pynomaly.application.ports.registry import ModelRegistry, Registration
from pynomaly.application.ports.reporting import Plots, Reports
from pynomaly.application.profile import profile_document
from pynomaly.application.scoring_rows import score_table
from pynomaly.application.split import known_labels
from pynomaly.application.train import TrainedModel
from pynomaly.application.tune import Choice
from pynomaly.application.validate import Validated
from pynomaly.domain.decision import score_threshold
from pynomaly.domain.detectors import detector
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.profiles import Profile
from pynomaly.domain.releases import ModelVersion

__all__ = ["PROFILE_ARTIFACT", "RegisterModel"]

PROFILE_ARTIFACT = "data/profile.json"
EXAMPLE_ROWS = 5


@dataclass(frozen=True, slots=True)
class RegisterModel:
    """Log parameters, metrics, plots, profile and validation report, and create a version."""

    registry: ModelRegistry
    records: Records
    store: ModelStore
    datasets: DatasetStore
    kernels: Kernels
    reports: Reports
    plots: Plots
    plots_folder: Path

    def __call__(
        self,
        pipeline: Pipeline,
        validated: Validated,
        profile: Profile,
        choice: Choice,
        trained: TrainedModel,
        run_id: str,
    ) -> ModelVersion:
        """Register ``trained`` under the pipeline's name and record the version.

        Raises:
            IntegrityError: The registered copy does not score like the trained model.
        """
        for known in self.records.versions(pipeline.name):
            if known.manifest_digest == trained.manifest_digest:
                return known  # an earlier attempt of this run got this far
        holdout = self.datasets.table(trained.holdout_uri)
        fingerprint = validated.dataset.snapshot.fingerprint
        with tempfile.TemporaryDirectory() as work:
            artifacts = self._artifacts(
                pipeline, validated, profile, choice, trained, run_id, Path(work)
            )
            version = self.registry.register(
                Registration(
                    pipeline=pipeline.name,
                    run_id=run_id,
                    folder=Path(trained.folder),
                    manifest_digest=trained.manifest_digest,
                    training_fingerprint=fingerprint.content,
                    holdout_uri=trained.holdout_uri,
                    example=holdout.select(list(pipeline.features.names)).slice(0, EXAMPLE_ROWS),
                    params={
                        "detector": choice.detector,
                        "objective": choice.objective,
                        "trials": str(len(choice.trials)),
                        "seed": str(pipeline.training.seed),
                        "labels": trained.labels or "none",
                        **{f"detector.{k}": str(v) for k, v in choice.params.items()},
                    },
                    metrics=trained.metrics,
                    trials=[
                        {**asdict(trial), "certified": detector(trial.detector).certified}
                        for trial in choice.trials
                    ],
                    artifacts=artifacts,
                    tags={
                        "detector": choice.detector,
                        "certified": str(detector(choice.detector).certified).lower(),
                        "validation_report": validated.report.id,
                        "validation_verdict": validated.report.verdict,
                        **{name: f"{value:.6g}" for name, value in trained.metrics.items()},
                    },
                    description=_description(pipeline, validated, choice, trained, run_id),
                )
            )
        self.records.add_version(version)
        return version

    def _artifacts(
        self,
        pipeline: Pipeline,
        validated: Validated,
        profile: Profile,
        choice: Choice,
        trained: TrainedModel,
        run_id: str,
        work: Path,
    ) -> dict[str, Path]:
        """Write everything to log; plots stay in our own folder for the run report."""
        model = self.store.load(Path(trained.folder), trained.manifest_digest)
        plots = self.plots_folder / run_id
        plots.mkdir(parents=True, exist_ok=True)
        drawn = {
            "score_distribution.png": plots / "score_distribution.png",
            "tuning_history.png": plots / "tuning_history.png",
        }
        self.plots.score_distribution(
            model.calibration.scores,
            score_threshold(pipeline.decision, model.calibration.scores),
            drawn["score_distribution.png"],
        )
        self.plots.tuning_history(choice.trials, drawn["tuning_history.png"])
        if "holdout_average_precision" in trained.metrics:
            holdout = self.datasets.table(trained.holdout_uri)
            labels = known_labels(holdout, pipeline)
            assert labels is not None  # the metric exists only where labels do
            known = ~np.isnan(labels)
            drawn["precision_recall.png"] = plots / "precision_recall.png"
            self.plots.precision_recall(
                labels[known].astype(int),
                score_table(model, holdout, self.kernels)[known],
                drawn["precision_recall.png"],
            )
        (work / "profile.json").write_bytes(profile_document(profile))
        (work / "profile.html").write_text(
            self.reports.profile_html(profile, f"Profile of {pipeline.name}"), encoding="utf-8"
        )
        return {
            **{f"plots/{name}": path for name, path in drawn.items()},
            PROFILE_ARTIFACT: work / "profile.json",
            "data/profile.html": work / "profile.html",
            "data/validation.html": Path(validated.report_path),
        }


def _description(
    pipeline: Pipeline, validated: Validated, choice: Choice, trained: TrainedModel, run_id: str
) -> str:
    """Return what a person finds beside the version, as Markdown."""
    snapshot = validated.dataset.snapshot
    measured = [
        f"- {name.replace('_', ' ')}: {value:.4g}" for name, value in trained.metrics.items()
    ]
    return "\n".join(
        [
            f"{choice.detector} for pipeline {pipeline.name}, fitted on "
            f"{trained.fitted_rows:,} of {validated.dataset.rows:,} accepted rows.",
            "",
            f"- trained on `{snapshot.uri}`, content `{snapshot.fingerprint.content[:12]}`, "
            f"{validated.dataset.quarantined:,} rows quarantined",
            f"- chosen in {len(choice.trials)} trials by {choice.objective.replace('_', ' ')}",
            f"- labels: {trained.labels or 'none'}",
            *([f"- verdicts: {trained.verdicts}"] if trained.verdicts else []),
            *measured,
            f"- run `{run_id}`: `pynomaly report {run_id}`",
            "",
            "The training run holds parameters, every trial, the validation report, the profile and "
            "plots. Tags `gate.*` and `release_*` say what the release gates found; what serves is "
            f"decided by Pynomaly's records (`pynomaly releases list {pipeline.name}`), the aliases "
            "follow.",
        ]
    )
