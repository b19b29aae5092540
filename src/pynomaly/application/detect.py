"""Find anomalies in any table, without configuration, and say how far to trust the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pynomaly.application.calibration import ranked_among_own_rows
from pynomaly.application.columns import column_uses
from pynomaly.application.learn import LearnModel, budget_named, training_policy
from pynomaly.application.ports.data import OutputSinks, OutputWriter, Source
from pynomaly.application.ports.learning import Kernels
from pynomaly.application.profile import profile_source
from pynomaly.application.raw_rows import divide, learning_rows, pipeline_of_the_moment
from pynomaly.application.scoring_pass import ScoringPass
from pynomaly.application.split import known_labels
from pynomaly.application.trust import (
    compare_with_cloud,
    rank_by_halves,
    rows_to_label,
    stability,
)
from pynomaly.domain.detection import Detection
from pynomaly.domain.detectors import detector
from pynomaly.domain.errors import ConfigurationError
from pynomaly.domain.pipelines import DecisionPolicy, Pipeline
from pynomaly.domain.trust import Trust

__all__ = ["DetectAnomalies", "Question"]

PROFILED_ROWS = 100_000
"""Rows that tell what the columns hold, drawn uniformly from larger sources."""


KEPT_TO_LABEL = 50
"""Strangest rows from which to choose some to label; those on top may be labelled already."""


@dataclass(frozen=True, slots=True)
class Question:
    """What to look for anomalies in, and how.

    Args:
        uri: How the data is called in messages and outputs.
        id_columns: Identify a row; rows get ``row_id`` where empty.
        time_column: When it happened.
        label_column: 1 = anomaly, 0 = normal, empty = unknown.
        budget: ``quick``, ``default`` or ``thorough``.
        alert_budget: Share of ordinary rows that may be flagged, 0–1.
        detector: A family, a detector of an installed package, or ``pyod:NAME``, uncertified;
            None for the ensemble, tuned as the budget allows.
        top: Strangest rows to return.
        to_label: Rows to propose for labelling.
        seed: Of everything random.
    """

    uri: str
    id_columns: tuple[str, ...] = ()
    time_column: str | None = None
    label_column: str | None = None
    budget: str = "default"
    alert_budget: float = 0.01
    detector: str | None = None
    top: int = 10
    to_label: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if not 0 < self.alert_budget < 1:
            raise ConfigurationError(
                f"an alert budget of {self.alert_budget:g} is no share of rows",
                hint="give a number between 0 and 1, e.g. 0.01 for one row in a hundred",
            )


class _Clock:
    """Wall time by stage."""

    def __init__(self, on_stage: Callable[[str], None]) -> None:
        self._on_stage = on_stage
        self._seconds: dict[str, float] = {}
        self._stage = ""
        self._since = 0.0

    def start(self, stage: str) -> None:
        self.stop()
        self._on_stage(stage)
        self._stage, self._since = stage, time.perf_counter()

    def stop(self) -> Mapping[str, float]:
        if self._stage:
            self._seconds[self._stage] = time.perf_counter() - self._since
        self._stage = ""
        return self._seconds


@dataclass(frozen=True, slots=True)
class DetectAnomalies:
    """Read a source twice: to learn from a sample of it, and to score all of it in chunks.

    Nothing is kept but what the caller asks for.

    Args:
        learn: Chooses, fits and calibrates.
        kernels: Score.
        sinks: Write outputs.
        batch_rows: Rows in memory at a time, beside the sample.
    """

    learn: LearnModel
    kernels: Kernels
    sinks: OutputSinks
    batch_rows: int = 50_000

    def __call__(
        self,
        source: Source,
        question: Question,
        *,
        out: str | None = None,
        quarantine: str | None = None,
        overwrite: bool = False,
        on_scored: Callable[[pa.Table], None] = lambda _: None,
        on_refused: Callable[[pa.Table], None] = lambda _: None,
        on_stage: Callable[[str], None] = lambda _: None,
    ) -> Detection:
        """Detect anomalies.

        Args:
            source: Opened.
            question: What to do.
            out: Where to write every scored row (.parquet, .csv, .jsonl); nowhere where None.
            quarantine: Where to write refused rows with their reasons; nowhere where None.
            overwrite: Whether ``out`` and ``quarantine`` may be replaced.
            on_scored: Given every scored chunk, as written to ``out``.
            on_refused: Given the refused rows of every chunk, as written to ``quarantine``.
            on_stage: Told what begins: ``read``, ``fit``, ``score``.

        Raises:
            NotTrainableError: Too few rows or no usable column, or a named column is missing.
            ConfigurationError: A named column does not hold what it should; unknown detector.
            OutputExistsError: An output exists and ``overwrite`` is false; nothing was computed.
            ConflictError: The source changed between the two readings.
            IntegrityError: Rows were lost or repeated on the way.
        """
        budget = budget_named(question.budget)
        clock = _Clock(on_stage)
        with ExitStack() as outputs:
            # Opened first: an output that cannot be written should not cost a fit.
            scored = self._opened(outputs, out, overwrite)
            refused = self._opened(outputs, quarantine, overwrite)
            clock.start("read")
            sample, profile = profile_source(
                source,
                question.uri,
                max(PROFILED_ROWS, 2 * budget.fit_rows),
                id_columns=question.id_columns,
                time_column=question.time_column,
                label_column=question.label_column,
            )
            content = source.snapshot().fingerprint.content
            pipeline = pipeline_of_the_moment(
                profile,
                id_columns=question.id_columns,
                time_column=question.time_column,
                label_column=question.label_column,
                training=training_policy(question.detector, question.seed),
                decision=DecisionPolicy(budget=question.alert_budget),
            )
            rows, spare = learning_rows(sample, source, pipeline, budget.fit_rows)
            del sample
            clock.start("fit")
            learned = self.learn(rows, pipeline, budget, spare=spare)
            model = learned.model
            halves = rank_by_halves(rows, learned.halves, question.seed)
            clock.start("score")
            # A model knows the rows it was fitted on: they score more extreme than new ones, and
            # p-values from unseen rows would flag too many of them.
            mostly_fitted = 2 * len(rows) >= profile.rows
            ranked = model
            if mostly_fitted:
                labels = known_labels(rows, pipeline)
                known = np.zeros(len(rows), dtype=np.bool_) if labels is None else labels == 1
                ranked = ranked_among_own_rows(model, rows, self.kernels, known)
            passed = ScoringPass(ranked, pipeline, self.kernels, keep=question.top + KEPT_TO_LABEL)
            for batch in source.batches(self.batch_rows):
                accepted, turned_away = divide(batch, pipeline)
                if len(turned_away):
                    passed.refuse(turned_away)
                    on_refused(turned_away)
                    if refused is not None:
                        refused.write(turned_away)
                if len(accepted):
                    table = passed.score(accepted)
                    on_scored(table)
                    if scored is not None:
                        scored.write(table)
            passed.check(source, content)
        certified = detector(model.card.detector).certified
        trust = Trust(
            stability=stability(halves),
            cloud=None
            if model.head is not None
            else compare_with_cloud(
                model,
                rows,
                passed.strangest.rows,
                passed.scored,
                self.kernels,
                question.seed,
            ),
            rows=len(rows),
            calibration_rows=len(ranked.calibration.scores),
            alert_budget=question.alert_budget,
            labels=model.card.labels,
            uncertified="" if certified else model.card.detector,
            in_time=question.time_column is not None,
        )
        return Detection(
            source=question.uri,
            profile=profile,
            columns=column_uses(profile, model.preprocessing),
            rows=passed.scored + passed.quarantined,
            scored=passed.scored,
            quarantined=passed.quarantined,
            flagged=passed.flagged,
            alert_budget=question.alert_budget,
            budget=budget.name,
            detector=model.card.detector,
            certified=certified,
            params=model.card.params,
            chosen_by=learned.chosen_by,
            trials=learned.trials,
            fitted_rows=len(rows),
            calibration_rows=len(ranked.calibration.scores),
            ranked_among_own_rows=mostly_fitted,
            known_labels=_label_counts(rows, pipeline),
            trust=trust,
            top=passed.top(question.top),
            to_label=rows_to_label(passed.strangest, halves, pipeline, question.to_label),
            refusals=tuple(passed.refusals),
            seconds=clock.stop(),
            model=model,
        )

    def _opened(self, outputs: ExitStack, uri: str | None, overwrite: bool) -> OutputWriter | None:
        if uri is None:
            return None
        return outputs.enter_context(self.sinks.writer(uri, overwrite=overwrite))


def _label_counts(rows: pa.Table, pipeline: Pipeline) -> tuple[int, int]:
    if pipeline.label_column is None:
        return 0, 0
    labels = rows.column(pipeline.label_column)
    anomalies, normal = (pc.sum(pc.equal(labels, value)).as_py() or 0 for value in (1.0, 0.0))
    return anomalies, normal
