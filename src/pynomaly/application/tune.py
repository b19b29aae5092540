"""Choose a detector and its parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pynomaly.application.ports.data import DatasetStore
from pynomaly.application.ports.learning import DetectorFitter, Kernels, Trial, Tuner
from pynomaly.application.preprocessing import encode, fit_preprocessing
from pynomaly.application.split import training_rows
from pynomaly.application.tuning import LabelFreeObjective, choose
from pynomaly.domain.datasets import Dataset
from pynomaly.domain.pipelines import Pipeline

__all__ = ["Choice", "TuneDetector"]


@dataclass(frozen=True, slots=True)
class Choice:
    """What tuning decided.

    Args:
        detector: Family to fit.
        params: Its parameters.
        objective: What was maximised.
        trials: Everything that was tried.
    """

    detector: str
    params: Mapping[str, Any]
    objective: str
    trials: tuple[Trial, ...]


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
        rows = training_rows(pipeline, dataset, self.datasets).fit
        preprocessing = fit_preprocessing(rows, pipeline.features)
        X, floors = encode(preprocessing, rows), preprocessing.floors
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
