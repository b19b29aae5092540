"""The pipeline: a named job that owns its source, schema and policies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pynomaly.domain.datasets import (
    EXPECTED_SCORE,
    FITTED,
    ROW_ID,
    SCORED_COLUMNS,
    VERDICT,
    Schema,
)
from pynomaly.domain.deployments import DeployedFlow, Schedule, TriggerPolicy
from pynomaly.domain.errors import ConfigurationError
from pynomaly.domain.rollouts import RolloutPolicy
from pynomaly.domain.sources import SourceSpec

__all__ = [
    "DecisionKind",
    "DecisionPolicy",
    "Expectation",
    "Pipeline",
    "ReleasePolicy",
    "Severity",
    "TrainingPolicy",
    "ValidationPolicy",
]

DecisionKind = Literal["alert_budget", "threshold", "fdr", "top_k"]
Severity = Literal["critical", "row", "warning"]

_QUOTED = re.compile(r"""(["'])(?:\\.|(?!\1).)*\1""")


@dataclass(frozen=True, slots=True)
class Expectation:
    """One Great Expectations expectation and what its failure means.

    Args:
        type: Snake-case name, e.g. ``expect_column_values_to_be_between``.
        kwargs: Its arguments, ``column`` and ``mostly`` among them.
        severity: ``critical`` refuses the snapshot, ``row`` quarantines the failing rows,
            ``warning`` is reported only.
    """

    type: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    severity: Severity = "critical"

    def concerns(self, column: str) -> bool:
        """Whether it looks at a column.

        >>> pair = {"column_A": "a", "column_B": "b"}
        >>> [Expectation("values_are_equal", pair).concerns(name) for name in "abc"]
        [True, True, False]
        """
        named = [value for key, value in self.kwargs.items() if key.startswith("column")]
        condition = _QUOTED.sub("", str(self.kwargs.get("row_condition", "")))
        whole = re.findall("`([^`]*)`", condition)  # names that are no Python identifiers
        return (
            column in named
            or any(column in several for several in named if isinstance(several, list | tuple))
            or column in whole
            or column in re.findall(r"\w+", re.sub("`[^`]*`", "", condition))
        )


@dataclass(frozen=True, slots=True)
class ValidationPolicy:
    """When a snapshot is good enough.

    Args:
        expectations: Checked in order, on top of the schema.
        max_quarantine_share: Largest share of refused rows with which the rest goes on, 0–1.
        max_age_hours: Refuse a snapshot whose newest time value is older; None to not look.
        min_rows: Refuse smaller snapshots.
        max_rows: Refuse larger snapshots; None for no limit.
    """

    expectations: tuple[Expectation, ...] = ()
    max_quarantine_share: float = 0.05
    max_age_hours: float | None = None
    min_rows: int = 1
    max_rows: int | None = None


@dataclass(frozen=True, slots=True)
class TrainingPolicy:
    """How a model is chosen and fitted.

    Args:
        detectors: Families the tuner may try against the incumbent ensemble.
        trials: Tuning trials, the incumbent's included.
        timeout_seconds: Tuning stops starting trials after this; None for no limit.
        seed: Of everything random.
        max_rows: Rows sampled for fitting; the rest serves calibration.
        calibration_share: Share of rows held out for calibration, 0–1.
    """

    detectors: tuple[str, ...] = (
        "self_cleaning", "iforest", "ecod", "hbos", "pca", "knn", "gmm",
    )  # fmt: skip
    trials: int = 20
    timeout_seconds: float | None = 60.0
    seed: int = 0
    max_rows: int = 20_000
    calibration_share: float = 0.25


@dataclass(frozen=True, slots=True)
class ReleasePolicy:
    """Gate thresholds; defaults come from simulated releases (docs: label-free gates).

    Args:
        recall_block: Block when the 95 % lower bound of the paired difference in
            injected-anomaly recall (challenger − champion) is below this.
        recall_review: Ask for review below this.
        min_champion_recall: Below it the recall gate has no power: inconclusive.
        min_gate_rows: Fewer held-out rows than this are inconclusive as well.
        min_first_recall: A first model (no champion) must find this share of injected anomalies.
        min_distinct_scores: Smallest share of pairs of different held-out rows whose scores differ.
        alert_rate_review: Review outside ``1/x … x`` times the champion's alert rate.
        alert_rate_block_high: Block above this multiple.
        alert_rate_block_low: Block below this multiple.
        max_alerts_per_day: Alerts a team can look at; block when the challenger would certainly
            raise more, by the rows that recent batches had a day.  None for no limit.
        min_rank_agreement: Block when Spearman's ρ with the champion on held-out rows is certainly
            below this.
        training_share_block: Block a model fitted on less than this multiple of the champion's
            rows.
        training_share_review: Review below this multiple.
        max_scale_change: Block when a numeric column is spread more than so many times wider or
            narrower than in the champion's training rows.
        max_precision_drop: With labels, block when average precision certainly dropped by more
            than this (upper bound of the paired difference), review when it may have.
        max_recall_drop: With labels or verdicts, block when the share of known anomalies that is
            found certainly dropped by more than this, review when it did so perhaps by chance.
        min_positives: Below this many known anomalies what labels say is advice: review at most.
        max_call_millis: Time to score one row alone, median of repetitions, milliseconds.
        max_row_micros: Time per row of a batch, median of repetitions, microseconds.
        max_model_mib: Size of the model folder, MiB.
        replay_batches: Of the last scored batches so many are scored again with champion and
            challenger; 0 for none.
        replay_kept_review: Review when certainly less than this share of the champion's alerts in
            them stay alerts.
        allow_inconclusive: Let a release with inconclusive gates (but none blocking) proceed;
            recorded with the release.
    """

    recall_block: float = -0.10
    recall_review: float = -0.05
    min_champion_recall: float = 0.3
    min_gate_rows: int = 1_000
    min_first_recall: float = 0.3
    min_distinct_scores: float = 0.05
    alert_rate_review: float = 2.0
    alert_rate_block_high: float = 3.0
    alert_rate_block_low: float = 0.25
    max_alerts_per_day: float | None = None
    min_rank_agreement: float = 0.5
    training_share_block: float = 0.1
    training_share_review: float = 0.5
    max_scale_change: float = 10.0
    max_precision_drop: float = 0.05
    max_recall_drop: float = 0.05
    min_positives: int = 50
    max_call_millis: float = 250.0
    max_row_micros: float = 1_000.0
    max_model_mib: float = 256.0
    replay_batches: int = 5
    replay_kept_review: float = 0.25
    allow_inconclusive: bool = False


@dataclass(frozen=True, slots=True)
class DecisionPolicy:
    """Turns calibrated scores into alerts; versioned apart from the model.

    Args:
        kind: ``alert_budget`` flags rows with p-value ≤ ``budget``; ``threshold`` flags rows
            with score ≥ ``threshold``; ``fdr`` flags as many rows of a batch as it can while
            at most a share ``q`` of them is expected to be ordinary (Benjamini–Hochberg);
            ``top_k`` flags the ``k`` strangest rows of a batch, the earlier of equally strange
            ones.
        budget: Share of ordinary rows a team can look at, 0–1.
        threshold: Score, same unit as the model's output.
        q: Share of alerts that may be false, 0–1.
        k: Rows per batch.
    """

    kind: DecisionKind = "alert_budget"
    budget: float = 0.01
    threshold: float | None = None
    q: float = 0.1
    k: int | None = None

    @property
    def looks_at_whole_batch(self) -> bool:
        """Whether a row's decision depends on the rows it is scored with."""
        return self.kind in ("fdr", "top_k")


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A named job; everything a user does names one.

    Args:
        name: Lower-case letters, digits, ``-`` and ``_``.
        source: Where its rows come from by default.
        schema: Every column the pipeline reads: ids, time, label and features.
        id_columns: Identify a row; empty means rows get ``row_id``.
        time_column: Event time, if any.
        label_column: 1 = anomaly, 0 = normal, null = unknown; never a feature.
        excluded: Present in the source but not read.
        validation: When a snapshot is good enough.
        training: How a model is chosen and fitted.
        release: What the gates demand.
        rollout: How a new model takes over from the one that serves.
        decision: When a row is flagged.
        triggers: What happens by itself when something has happened.
        schedules: When a flow (``train``, ``score``, ``monitor``…) runs by itself.
        purpose: What the scores are for and who acts on them, for people; on the model card.
    """

    name: str
    source: SourceSpec
    schema: Schema
    id_columns: tuple[str, ...] = ()
    time_column: str | None = None
    label_column: str | None = None
    excluded: tuple[str, ...] = ()
    validation: ValidationPolicy = field(default_factory=ValidationPolicy)
    training: TrainingPolicy = field(default_factory=TrainingPolicy)
    release: ReleasePolicy = field(default_factory=ReleasePolicy)
    rollout: RolloutPolicy = field(default_factory=RolloutPolicy)
    decision: DecisionPolicy = field(default_factory=DecisionPolicy)
    triggers: TriggerPolicy = field(default_factory=TriggerPolicy)
    schedules: Mapping[DeployedFlow, Schedule] = field(default_factory=dict)
    purpose: str | None = None

    def __post_init__(self) -> None:
        """Refuse names that our own outputs need."""
        ours = [name for name in self.id_columns if name in SCORED_COLUMNS]
        reserved = (ROW_ID, EXPECTED_SCORE, VERDICT, FITTED)
        ours += [name for name in self.schema.names if name in reserved]
        if ours:
            raise ConfigurationError(
                f"pipeline '{self.name}': column '{ours[0]}' is named like one of our outputs",
                hint="rename it in the source, or select it under another name",
            )

    @property
    def keys(self) -> tuple[str, ...]:
        """Columns that identify a row in every output."""
        return self.id_columns or (ROW_ID,)

    @property
    def unlabelled(self) -> Pipeline:
        """The pipeline as it reads rows that are only to be scored: whatever their labels say."""
        label = self.label_column
        if label is None:
            return self
        columns = (column for column in self.schema.columns if column.name != label)
        expectations = (one for one in self.validation.expectations if not one.concerns(label))
        return replace(
            self,
            schema=Schema(tuple(columns)),
            label_column=None,
            excluded=(*self.excluded, label),
            validation=replace(self.validation, expectations=tuple(expectations)),
        )

    @property
    def features(self) -> Schema:
        """Columns a detector learns from: neither id, label, text nor constant.

        The time column counts as a feature (hour, weekday) only when its kind is datetime.
        """
        outside = {*self.id_columns, self.label_column}
        return Schema(
            tuple(
                column
                for column in self.schema.columns
                if column.name not in outside
                and column.kind in ("numeric", "categorical", "boolean", "datetime")
            )
        )
