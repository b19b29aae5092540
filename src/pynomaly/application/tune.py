"""Choose a detector and its parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pynomaly.application.ports.data import DatasetStore
from pynomaly.application.ports.learning import DetectorFitter, Kernels, Trial, Tuner
from pynomaly.application.preprocessing import encode, fit_preprocessing
from pynomaly.application.split import training_rows
from pynomaly.application.tuning import LabelFreeObjective, choose
from pynomaly.domain.datasets import Dataset
from pynomaly.domain.pipelines import Pipeline

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Choice", "ChooseDetector", "TuneDetector"]


@dataclass(frozen=True, slots=True)
class Choice:
    """What to fit.

    Args:
        detector: Family.
        params: Its parameters.
        objective: What was maximised; empty where nothing was tried.
        trials: Everything that was tried.
    """

    detector: str
    params: Mapping[str, Any]
    objective: str
    trials: tuple[Trial, ...]


@dataclass(frozen=True, slots=True)
class ChooseDetector:
    """Choose a detector and its parameters; the first detector of the policy is the incumbent."""

    fitter: DetectorFitter
    kernels: Kernels
    tuner: Tuner

    def __call__(
        self,
        rows: pa.Table,
        pipeline: Pipeline,
        study: str,
        on_trial: Callable[[Trial], None] = lambda _: None,
    ) -> Choice:
        """Search within the pipeline's budget.

        Args:
            rows: Conformed rows to fit on.
            pipeline: Its training policy says how.
            study: Names the search; finished trials of an interrupted one are kept.
            on_trial: Told of every trial.

        Raises:
            NotTrainableError: Too few rows or no usable column.
        """
        policy = pipeline.training
        preprocessing = fit_preprocessing(rows, pipeline.features)
        objective = LabelFreeObjective(
            encode(preprocessing, rows),
            fitter=self.fitter,
            kernels=self.kernels,
            seed=policy.seed,
            floors=preprocessing.floors,
        )
        result = self.tuner.tune(
            study,
            policy.detectors,
            objective,
            trials=policy.trials,
            timeout_seconds=policy.timeout_seconds,
            seed=policy.seed,
            on_trial=on_trial,
        )
        winner = choose(result, objective.margin(result))
        return Choice(winner.detector, winner.params, objective.name, result.trials)


@dataclass(frozen=True, slots=True)
class TuneDetector:
    """Choose a detector and its parameters on the rows of a snapshot that a model is fitted on."""

    datasets: DatasetStore
    choose: ChooseDetector

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
        rows = training_rows(pipeline, dataset, self.datasets).fit
        return self.choose(rows, pipeline, f"{pipeline.name}-{run_id}", on_trial)
