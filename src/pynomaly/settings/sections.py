"""The keys of settings and pipeline files, with types and ranges.

These models stand at the edge only: a checked document is turned into frozen dataclasses at once.
Defaults are not here: those of settings are shipped as YAML, those of policies are the domain's.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat

from pynomaly.domain.datasets import ColumnKind
from pynomaly.domain.deployments import DeployedFlow
from pynomaly.domain.pipelines import DecisionKind
from pynomaly.domain.rollouts import Strategy
from pynomaly.domain.sources import SourceFormat
from pynomaly.settings.documents import parse

__all__ = ["EnvironmentText", "PipelineDocument", "Section", "SettingsDocument"]


class EnvironmentText(str):
    """Text of an environment variable, read as YAML only where a key does not take text."""

    __slots__ = ()


def _read(value: Any) -> Any:
    if isinstance(value, EnvironmentText):
        return parse(value, "environment variable").plain()
    return value


_Read = BeforeValidator(_read)
Flag = Annotated[bool, _Read]
Natural = Annotated[int, Field(ge=0), _Read]
Count = Annotated[int, Field(ge=1), _Read]
OptionalCount = Annotated[Annotated[int, Field(ge=1)] | None, _Read]
Positive = Annotated[FiniteFloat, Field(gt=0), _Read]
OptionalPositive = Annotated[Annotated[FiniteFloat, Field(gt=0)] | None, _Read]
Share = Annotated[FiniteFloat, Field(ge=0, le=1), _Read]
InnerShare = Annotated[FiniteFloat, Field(gt=0, lt=1), _Read]
Difference = Annotated[FiniteFloat, Field(ge=-1, le=1), _Read]


class Section(BaseModel):
    """A mapping whose keys are all known and whose types are meant literally."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ValidationDefaults(Section):
    """Validation policy without expectations, which belong to one pipeline's columns."""

    max_quarantine_share: Share
    max_age_hours: OptionalPositive
    min_rows: Natural
    max_rows: OptionalCount


class ValidationSection(ValidationDefaults):
    """Validation policy of a pipeline; its expectations are checked by ``rules``."""

    expectations: list[dict[str, Any]]


class TrainingSection(Section):
    """Training policy."""

    detectors: Annotated[list[str], Field(min_length=1), _Read]
    trials: Count
    timeout_seconds: OptionalPositive
    seed: Annotated[int, Field(ge=0, le=2**32 - 1), _Read]
    max_rows: Count
    calibration_share: InnerShare


class ReleaseSection(Section):
    """Release policy."""

    recall_block: Difference
    recall_review: Difference
    min_champion_recall: Share
    min_gate_rows: Count
    min_first_recall: Share
    min_distinct_scores: Share
    alert_rate_review: Annotated[FiniteFloat, Field(ge=1), _Read]
    alert_rate_block_high: Annotated[FiniteFloat, Field(ge=1), _Read]
    alert_rate_block_low: Share
    max_alerts_per_day: OptionalPositive
    min_rank_agreement: Difference
    training_share_block: Share
    training_share_review: Share
    max_scale_change: Annotated[FiniteFloat, Field(ge=1), _Read]
    max_precision_drop: Share
    max_recall_drop: Share
    min_positives: Natural
    max_call_millis: Positive
    max_row_micros: Positive
    max_model_mib: Positive
    replay_batches: Natural
    replay_kept_review: Share
    allow_inconclusive: Flag


class RolloutSection(Section):
    """How releases take over."""

    strategy: Strategy
    shadow: Flag
    canary_shares: Annotated[list[Annotated[FiniteFloat, Field(gt=0, lt=1)]], _Read]
    rolling_groups: Annotated[int, Field(ge=2), _Read]
    split_by: str | None
    max_ratio: Annotated[FiniteFloat, Field(gt=1), _Read]
    alpha: InnerShare
    approval: Literal["none", "required"]
    four_eyes: Flag
    approval_hours: Annotated[FiniteFloat, Field(gt=0), _Read]


class DecisionSection(Section):
    """Decision policy; ``policy`` is the domain's ``kind``."""

    policy: DecisionKind
    budget: InnerShare
    threshold: Annotated[FiniteFloat | None, _Read]
    q: InnerShare
    k: OptionalCount


class TriggersSection(Section):
    """What happens by itself."""

    watch: Flag
    watch_seconds: Annotated[FiniteFloat, Field(ge=1), _Read]
    score_on_arrival: Flag
    release_on_registration: Flag
    rescore_on_promotion: Flag
    retrain_on_drift: Flag
    scores_at_once: Count


class ScheduleSection(Section):
    """When a flow runs by itself."""

    cron: str
    timezone: str = "UTC"
    parameters: dict[str, Any] = Field(default_factory=dict)


class PipelineDefaults(Section):
    """Policies of pipelines whose own files do not say otherwise."""

    validation: ValidationDefaults
    training: TrainingSection
    release: ReleaseSection
    rollout: RolloutSection
    decision: DecisionSection
    triggers: TriggersSection


class RecordsSection(Section):
    """Our own database."""

    url: str | None


class MlflowSection(Section):
    """Experiment tracking and model registry."""

    tracking_uri: str | None


class ScoringSection(Section):
    """Streaming of data."""

    batch_rows: Count
    threads: Count | None
    workers: Count
    partition_rows: Count
    lease_seconds: Positive
    memory_mib: Count | None
    compute: Literal["threads", "dask"]
    scheduler: str | None


class S3Section(Section):
    """Objects we write."""

    sse: Literal["AES256", "aws:kms"] | None
    kms_key: str | None


class ProfilingSection(Section):
    """Profiling of large sources."""

    sample_rows: Count


class EvidenceSection(Section):
    """What vouches for bundles of evidence."""

    signing_key: str | None
    revision: str | None


class SettingsDocument(Section):
    """Everything outside ``conf/pipelines``."""

    home: Annotated[str, Field(min_length=1)]
    records: RecordsSection
    mlflow: MlflowSection
    scoring: ScoringSection
    s3: S3Section
    profiling: ProfilingSection
    evidence: EvidenceSection
    pipeline_defaults: PipelineDefaults


class SourceSection(Section):
    """Where rows come from."""

    uri: Annotated[str, Field(min_length=1)]
    format: SourceFormat | None
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None
    encoding: str | None
    query: str | None
    watermark: str | None


class ColumnSection(Section):
    """A declared column."""

    kind: ColumnKind
    nullable: bool = True


class PipelineDocument(Section):
    """A file of ``conf/pipelines`` on top of the defaults."""

    purpose: Annotated[str, Field(min_length=1)] | None
    source: SourceSection
    id: list[str]
    time: str | None
    label: str | None
    exclude: list[str]
    columns: Annotated[dict[str, ColumnSection], Field(min_length=1)]
    validation: ValidationSection
    training: TrainingSection
    release: ReleaseSection
    rollout: RolloutSection
    decision: DecisionSection
    triggers: TriggersSection
    schedules: dict[DeployedFlow, ScheduleSection]
