"""Choose, fit and calibrate a model on a table in memory: no staging, no registry, no gates.

The engine behind ``pynomaly detect``, ``pynomaly.detect`` and ``pynomaly.AnomalyDetector``.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pynomaly.application.calibration import Scorer, require_ordinary_rows
from pynomaly.application.ensemble import fit_detector
from pynomaly.application.ports.learning import DetectorFitter, Kernels, LabelFitter, Tuner
from pynomaly.application.preprocessing import MIN_TRAINING_ROWS, encode, fit_preprocessing
from pynomaly.application.resampling import Resampling
from pynomaly.application.scoring_rows import score_members
from pynomaly.application.split import known_labels, oldest_first
from pynomaly.application.supervised import Supervised, fit_head, fit_supervised
from pynomaly.application.tuning import LabelFreeObjective, choose
from pynomaly.domain.detectors import FAMILIES, families
from pynomaly.domain.errors import ConfigurationError
from pynomaly.domain.models import Head, Member, Model, ModelCard, Preprocessing
from pynomaly.domain.pipelines import Pipeline, TrainingPolicy

__all__ = [
    "BUDGETS",
    "Budget",
    "LearnModel",
    "Learned",
    "budget_named",
    "training_policy",
]

Floats = NDArray[np.float64]


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
            Budget("default", 20_000, 3, None, 12, 8.0),
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
class _Choice:
    detector: str
    params: Mapping[str, Any]
    by: str
    trials: int


@dataclass(frozen=True, slots=True)
class LearnModel:
    """Choose a detector, fit it, and calibrate it on rows it has not seen.

    Args:
        fitter: Fits and freezes detectors.
        label_fitter: Fits and freezes what labels teach.
        kernels: Score.
        tuner: Searches.
    """

    fitter: DetectorFitter
    label_fitter: LabelFitter
    kernels: Kernels
    tuner: Tuner

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
        seed = pipeline.training.seed
        choice = self._choose(rows, pipeline, budget)
        preprocessing = fit_preprocessing(rows, pipeline.features)
        members = self._members(rows, preprocessing, choice, seed)
        taught = self._taught(rows, preprocessing, members, pipeline)

        def fit(part: pa.Table) -> Scorer:
            # Of a handful of rows the whole table's encoding has to do.
            own = len(part) >= MIN_TRAINING_ROWS
            encoding = fit_preprocessing(part, pipeline.features) if own else preprocessing
            refitted = self._members(part, encoding, choice, seed)
            head = None
            if taught is not None and taught.head is not None:
                head = self._head(part, encoding, refitted, pipeline)
            return self._scorer(encoding, refitted, head)

        resampling = Resampling.of(rows, pipeline, fit)
        halves = resampling.cross_fit(2)
        head = taught.head if taught else None
        scorer = self._scorer(preprocessing, members, head)
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
                    labels=taught.reason if taught else "",
                ),
                pipeline.features,
                preprocessing,
                members,
                resampling.calibration(halves, scorer, spare, budget.folds),
                head=head,
            ),
            choice.by,
            choice.trials,
            (halves.scorers[0], halves.scorers[1]),
        )

    def _choose(self, rows: pa.Table, pipeline: Pipeline, budget: Budget) -> _Choice:
        policy = pipeline.training
        incumbent = policy.detectors[0]
        if not budget.trials:
            cleaned = budget.rounds is not None and incumbent == "self_cleaning"
            params = {"rounds": budget.rounds} if cleaned else {}
            return _Choice(incumbent, params, "the default, not tuned", 0)
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

    def _members(
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

    def _taught(
        self,
        rows: pa.Table,
        preprocessing: Preprocessing,
        members: tuple[Member, ...],
        pipeline: Pipeline,
    ) -> Supervised | None:
        labels = known_labels(rows, pipeline)
        if labels is None:
            return None
        return fit_supervised(
            encode(preprocessing, rows),
            labels,
            members,
            fitter=self.label_fitter,
            kernels=self.kernels,
            seed=pipeline.training.seed,
            floors=preprocessing.floors,
        )

    def _head(
        self,
        rows: pa.Table,
        preprocessing: Preprocessing,
        members: tuple[Member, ...],
        pipeline: Pipeline,
    ) -> Head:
        labels = known_labels(rows, pipeline)
        assert labels is not None  # there is a head only where there are labels
        return fit_head(
            encode(preprocessing, rows),
            labels,
            members,
            fitter=self.label_fitter,
            kernels=self.kernels,
            seed=pipeline.training.seed,
            floors=preprocessing.floors,
        )

    def _scorer(
        self, preprocessing: Preprocessing, members: tuple[Member, ...], head: Head | None
    ) -> Scorer:
        return lambda rows: score_members(members, encode(preprocessing, rows), self.kernels, head)
