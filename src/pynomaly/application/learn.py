"""Choose, fit and calibrate a model on a table in memory: no staging, no registry, no gates.

The engine behind ``pynomaly detect``, ``pynomaly.detect`` and ``pynomaly.AnomalyDetector``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pynomaly.application.calibration import Fit, Scorer
from pynomaly.application.ensemble import fit_detector
from pynomaly.application.ports.learning import DetectorFitter, Kernels, Tuner
from pynomaly.application.preprocessing import MIN_TRAINING_ROWS, encode, fit_preprocessing
from pynomaly.application.scoring_rows import score_members
from pynomaly.application.split import fold_of_rows, oldest_first
from pynomaly.application.tuning import LabelFreeObjective, choose
from pynomaly.domain.detectors import FAMILIES
from pynomaly.domain.errors import ConfigurationError
from pynomaly.domain.models import Calibration, Member, Model, ModelCard, Preprocessing
from pynomaly.domain.pipelines import Pipeline, TrainingPolicy
from pynomaly.domain.scores import calibrate

__all__ = [
    "BUDGETS",
    "Budget",
    "LearnModel",
    "Learned",
    "budget_named",
    "training_policy",
]

Floats = NDArray[np.float64]

MIN_SPARE_ROWS = 2_000
MAX_SPARE_ROWS = 20_000
"""Rows beyond those fitted on calibrate by themselves if there are this many; more than 20,000 add
nothing, for severity is full at p = 1/10,000."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How much time a model is worth.

    Args:
        name: As users ask for it.
        fit_rows: Rows to fit on at most, drawn uniformly.
        folds: Of the cross-conformal calibration, where too few rows are left for a hold-out.
        trials: Configurations the label-free search tries, the incumbent's included; 0 for none.
        timeout_seconds: No further trial starts after this.
    """

    name: str
    fit_rows: int
    folds: int
    trials: int
    timeout_seconds: float | None


BUDGETS: Mapping[str, Budget] = MappingProxyType(
    {
        budget.name: budget
        for budget in (
            Budget("quick", 2_500, 2, 0, None),
            Budget("default", 20_000, 5, 20, 8.0),
            Budget("thorough", 50_000, 10, 80, 120.0),
        )
    }
)
"""By name."""


def budget_named(name: str) -> Budget:
    """Return a budget.

    Raises:
        ConfigurationError: There is none of that name.

    >>> budget_named("quick").trials
    0
    """
    try:
        return BUDGETS[name]
    except KeyError:
        raise ConfigurationError(
            f"unknown budget {name!r}", hint=f"known are {', '.join(BUDGETS)}"
        ) from None


def training_policy(detector: str | None, seed: int) -> TrainingPolicy:
    """Return what may be fitted: one family, or the ensemble and what the search tries against it.

    Raises:
        ConfigurationError: There is no family of that name.
    """
    if detector is None:
        return TrainingPolicy(seed=seed)
    if detector not in FAMILIES:
        raise ConfigurationError(
            f"unknown detector {detector!r}", hint=f"known are {', '.join(FAMILIES)}"
        )
    return TrainingPolicy(detectors=(detector,), seed=seed)


@dataclass(frozen=True, slots=True)
class Learned:
    """A calibrated model and what came up on the way.

    Args:
        model: Ready to score.
        chosen_by: How the detector was chosen.
        trials: Configurations tried.
        halves: Models fitted on two disjoint halves of the rows, for trust.
    """

    model: Model
    chosen_by: str
    trials: int
    halves: tuple[Scorer, Scorer]


@dataclass(frozen=True, slots=True)
class _Choice:
    detector: str
    params: Mapping[str, Any]
    by: str
    trials: int


@dataclass(frozen=True, slots=True)
class _CrossFit:
    """Scores of rows by models that have not seen them, and those models."""

    scores: Floats
    scorers: tuple[Scorer, ...]


@dataclass(frozen=True, slots=True)
class LearnModel:
    """Choose a detector, fit it, and calibrate it on rows it has not seen."""

    fitter: DetectorFitter
    kernels: Kernels
    tuner: Tuner

    def __call__(
        self, table: pa.Table, pipeline: Pipeline, budget: Budget, *, spare: pa.Table | None = None
    ) -> Learned:
        """Return a calibrated model.

        Args:
            table: Conformed rows to fit on, anomalies among them or not.
            pipeline: Names features, families to search, the time column and the seed.
            budget: What it may cost.
            spare: Further conformed rows of the same kind, drawn at random, to calibrate on.

        Raises:
            NotTrainableError: Fewer than ten rows, or no column that varies.
        """
        rows = table
        if pipeline.time_column is not None:
            rows = table.take(pa.array(oldest_first(table.column(pipeline.time_column))))
        seed, blocked = pipeline.training.seed, pipeline.time_column is not None
        choice = self._choose(rows, pipeline, budget)
        preprocessing = fit_preprocessing(rows, pipeline.features)
        members = self._fit(rows, preprocessing, choice, seed)

        def fit(part: pa.Table) -> Scorer:
            # Of a handful of rows the whole table's encoding has to do.
            own = len(part) >= MIN_TRAINING_ROWS
            encoding = fit_preprocessing(part, pipeline.features) if own else preprocessing
            return self._scorer(encoding, self._fit(part, encoding, choice, seed))

        halves = _cross_fit(rows, fit, 2, seed, blocked=blocked)
        return Learned(
            Model(
                ModelCard(
                    pipeline=pipeline.name,
                    run_id="",
                    detector=choice.detector,
                    params=choice.params,
                    training_fingerprint="",
                    training_rows=len(rows),
                    seed=seed,
                    library_versions=self.fitter.library_versions(),
                ),
                pipeline.features,
                preprocessing,
                members,
                self._calibration(
                    rows, spare, self._scorer(preprocessing, members), fit, halves, budget, pipeline
                ),
            ),
            choice.by,
            choice.trials,
            (halves.scorers[0], halves.scorers[1]),
        )

    def _calibration(
        self,
        rows: pa.Table,
        spare: pa.Table | None,
        scorer: Scorer,
        fit: Fit,
        halves: _CrossFit,
        budget: Budget,
        pipeline: Pipeline,
    ) -> Calibration:
        """Calibrate on rows that were left over if they are many, else across folds.

        Source: cross-conformal prediction, Vovk (2015); blocks, Chernozhukov et al. (2018).
        """
        blocked = pipeline.time_column is not None
        # Rows left over lie between those fitted on, in time; blocks keep neighbours apart.
        if spare is not None and len(spare) >= MIN_SPARE_ROWS and not blocked:
            return calibrate(scorer(spare.slice(0, MAX_SPARE_ROWS)))
        if budget.folds == len(halves.scorers):
            return calibrate(halves.scores)
        seed = pipeline.training.seed
        folds = min(budget.folds, len(rows) // 2)
        return calibrate(_cross_fit(rows, fit, folds, seed, blocked=blocked).scores)

    def _choose(self, rows: pa.Table, pipeline: Pipeline, budget: Budget) -> _Choice:
        policy = pipeline.training
        incumbent = policy.detectors[0]
        if not budget.trials:
            return _Choice(incumbent, {}, "the default, not tuned", 0)
        preprocessing = fit_preprocessing(rows, pipeline.features)
        objective = LabelFreeObjective(
            encode(preprocessing, rows),
            fitter=self.fitter,
            kernels=self.kernels,
            seed=policy.seed,
            floors=preprocessing.floors,
        )
        result = self.tuner.tune(
            pipeline.name,
            policy.detectors,
            objective,
            trials=budget.trials,
            timeout_seconds=budget.timeout_seconds,
            seed=policy.seed,
            on_trial=lambda _: None,
        )
        winner = choose(result, objective.margin(result))
        return _Choice(
            winner.detector,
            winner.params,
            objective.name.replace("_", " and "),
            len(result.trials),
        )

    def _fit(
        self, rows: pa.Table, preprocessing: Preprocessing, choice: _Choice, seed: int
    ) -> tuple[Member, ...]:
        return fit_detector(
            choice.detector,
            choice.params,
            encode(preprocessing, rows),
            fitter=self.fitter,
            kernels=self.kernels,
            seed=seed,
            floors=preprocessing.floors,
        )

    def _scorer(self, preprocessing: Preprocessing, members: tuple[Member, ...]) -> Scorer:
        return lambda rows: score_members(members, encode(preprocessing, rows), self.kernels)


def _cross_fit(
    rows: pa.Table, fit: Callable[[pa.Table], Scorer], folds: int, seed: int, *, blocked: bool
) -> _CrossFit:
    """Score every row by a model that was fitted on the other folds."""
    fold = fold_of_rows(len(rows), folds, seed, blocked=blocked)
    scores, scorers = np.empty(len(rows)), []
    for k in range(folds):
        inside = fold == k
        scorers.append(fit(rows.filter(pa.array(~inside))))
        scores[inside] = scorers[k](rows.filter(pa.array(inside)))
    return _CrossFit(scores, tuple(scorers))
