"""Choose, fit and calibrate a model on a table in memory: no staging, no registry, no gates.

The engine behind ``pynomaly detect``, ``pynomaly.detect`` and ``pynomaly.AnomalyDetector``.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import pyarrow as pa

from pynomaly.application.calibration import calibrate_on_spare_rows, require_ordinary_rows
from pynomaly.application.fit import FitScorer, FittedScorer
from pynomaly.application.resampling import Resampling, Scorer
from pynomaly.application.split import oldest_first
from pynomaly.application.tune import Choice, ChooseDetector
from pynomaly.domain.detectors import FAMILIES, families
from pynomaly.domain.errors import ConfigurationError
from pynomaly.domain.models import Model, ModelCard
from pynomaly.domain.pipelines import Pipeline, TrainingPolicy

__all__ = [
    "BUDGETS",
    "Budget",
    "LearnModel",
    "Learned",
    "budget_named",
    "training_policy",
]


@dataclass(frozen=True, slots=True)
class Budget:
    """How much time a model is worth.

    Args:
        name: As users ask for it.
        fit_rows: Rows to fit on at most, drawn uniformly.
        folds: Of the cross-conformal calibration, where too few rows are left for a hold-out.
        rounds: In which the ensemble cleans; None for its own default.
        trials: Configurations the label-free search tries, the incumbent's included; 0 for none.
        timeout_seconds: No further trial starts after this.
    """

    name: str
    fit_rows: int
    folds: int
    rounds: int | None
    trials: int
    timeout_seconds: float | None


BUDGETS: Mapping[str, Budget] = MappingProxyType(
    {
        budget.name: budget
        for budget in (
            Budget("quick", 4_000, 2, 1, 0, None),
            Budget("default", 20_000, 3, None, 12, 4.0),
            Budget("thorough", 50_000, 10, None, 80, 120.0),
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

    Args:
        detector: A family, a detector of an installed package, or ``pyod:NAME``, uncertified; None
            for the ensemble.
        seed: Of everything random.

    Raises:
        ConfigurationError: There is no such detector; the hint suggests the nearest.
    """
    if detector is None:
        return TrainingPolicy(seed=seed)
    if detector not in families():
        near = difflib.get_close_matches(detector, families(), n=1)
        known = f"known are {', '.join(FAMILIES)}; `pynomaly detectors list` has all"
        raise ConfigurationError(
            f"unknown detector {detector!r}", hint=f"did you mean {near[0]!r}?" if near else known
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
class LearnModel:
    """Choose a detector, fit it, and calibrate it on rows it has not seen.

    Args:
        choose: Searches for a detector.
        fit: Fits it.
    """

    choose: ChooseDetector
    fit: FitScorer

    def __call__(
        self, table: pa.Table, pipeline: Pipeline, budget: Budget, *, spare: pa.Table
    ) -> Learned:
        """Return a calibrated model.

        Args:
            table: Conformed rows to fit on, anomalies among them or not.
            pipeline: Names features, families to search, label and time column, and the seed.
            budget: What it may cost.
            spare: Further rows of the same kind without labels, drawn at random, to calibrate on.

        Raises:
            NotTrainableError: Fewer than ten rows that are no known anomalies, or no column that
                varies.
        """
        require_ordinary_rows(table, pipeline)
        rows = table
        if pipeline.time_column is not None:
            rows = table.take(pa.array(oldest_first(table.column(pipeline.time_column))))
        choice = self._chosen(rows, pipeline, budget)
        scorer, supervised = self.fit(rows, pipeline, choice)

        def refit(part: pa.Table) -> FittedScorer:
            return self.fit.again(part, pipeline, choice, scorer)

        resampling = Resampling.of(rows, pipeline, refit)
        halves = resampling.cross_fit(2)
        return Learned(
            Model(
                ModelCard(
                    pipeline=pipeline.name,
                    run_id="",
                    detector=choice.detector,
                    params=choice.params,
                    training_fingerprint="",
                    training_rows=len(rows),
                    seed=pipeline.training.seed,
                    library_versions=self.fit.fitter.library_versions(),
                    labels=supervised.reason,
                ),
                pipeline.features,
                scorer.preprocessing,
                scorer.members,
                calibrate_on_spare_rows(spare, scorer, resampling, halves, budget.folds),
                scorer.head,
            ),
            choice.objective.replace("_", " and ") or "the default, not tuned",
            len(choice.trials),
            (halves.scorers[0], halves.scorers[1]),
        )

    def _chosen(self, rows: pa.Table, pipeline: Pipeline, budget: Budget) -> Choice:
        policy = pipeline.training
        if not budget.trials:
            incumbent = policy.detectors[0]
            cleaned = budget.rounds is not None and incumbent == "self_cleaning"
            return Choice(incumbent, {"rounds": budget.rounds} if cleaned else {}, "", ())
        limited = replace(policy, trials=budget.trials, timeout_seconds=budget.timeout_seconds)
        return self.choose(rows, replace(pipeline, training=limited), pipeline.name)
