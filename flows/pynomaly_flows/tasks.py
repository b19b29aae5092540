"""The steps all flows are made of: each is one use case of the platform."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from pynomaly.domain.detectors import detector
from pynomaly.domain.gates import Override
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.sources import SourceSpec
from pynomaly_flows import artifacts, facts
from pynomaly_flows.context import Event, Job, emit, platform, under_flow_run
from pynomaly_flows.steps import step

if TYPE_CHECKING:
    from pynomaly.application.judge_rollout import Judged
    from pynomaly.application.ports.learning import Trial
    from pynomaly.application.score import Scored
    from pynomaly.application.train import TrainedModel
    from pynomaly.application.tune import Choice
    from pynomaly.application.validate import Validated
    from pynomaly.domain.datasets import Dataset
    from pynomaly.domain.errors import ConflictError
    from pynomaly.domain.ledger import Output
    from pynomaly.domain.monitoring import Monitoring
    from pynomaly.domain.partitions import Plan
    from pynomaly.domain.profiles import Profile
    from pynomaly.domain.releases import ModelVersion, Release
    from pynomaly.domain.rollouts import Stage, Strategy

__all__ = [
    "conflicting_release",
    "gate",
    "monitor",
    "plan",
    "profile",
    "promote",
    "register",
    "rolling_out",
    "rollout",
    "score",
    "serves",
    "train",
    "tune",
    "validate",
]

_PROGRESS_SECONDS = 2.0
"""Between two updates of a progress bar in Prefect's UI; each is a request."""


@step(summary=facts.planned)
def plan(
    job: Job,
    data: str | None,
    incremental: bool = False,
    output: Output | None = None,
    attempt: int = 1,
) -> Plan:
    """Divide the source into partitions, all of them or only what is new to the output."""
    pipeline = _pipeline(job)
    return platform().plan_scoring(
        pipeline,
        _source(pipeline, data),
        incremental=incremental,
        output=output,
        run_id=job.run_id,
    )


@step(summary=facts.validated, artifact=artifacts.validation_page)
def validate(
    job: Job, data: str | None, plan: Plan, to_score: bool = False, attempt: int = 1
) -> Validated:
    """Refuse bad data, quarantine bad rows, stage the rest for training."""
    pipeline = _pipeline(job)
    spec = _source(pipeline, data)
    return platform().validate(pipeline, spec, job.run_id, plan, to_score=to_score)


@step(summary=facts.profiled)
def profile(job: Job, dataset: Dataset) -> Profile:
    """Describe the staged rows column by column."""
    return platform().profile(_pipeline(job), dataset)


@step(summary=facts.tuned)
def tune(job: Job, dataset: Dataset) -> Choice:
    """Choose a detector and its parameters."""
    pipeline = _pipeline(job)
    return platform().tune(pipeline, dataset, job.run_id, _trial_listener(job, pipeline))


def _trial_listener(job: Job, pipeline: Pipeline) -> Callable[[Trial], None]:
    progress = artifacts.Progress(job, "trials") if under_flow_run() else None
    planned = pipeline.training.trials

    def on_trial(trial: Trial) -> None:
        certified = detector(trial.detector).certified
        emit(Event("progress", "tune", {**asdict(trial), "certified": certified, "of": planned}))
        if progress:
            done = trial.number + 1
            progress.at(done / planned, f"{done} of {planned}")

    return on_trial


@step(summary=facts.trained)
def train(job: Job, dataset: Dataset, choice: Choice) -> TrainedModel:
    """Fit, freeze and calibrate the model."""
    return platform().train(_pipeline(job), dataset, choice, job.run_id)


@step(summary=facts.registered, artifact=artifacts.model_link)
def register(
    job: Job, validated: Validated, profile: Profile, choice: Choice, trained: TrainedModel
) -> ModelVersion:
    """Put the model and its evidence into the registry."""
    return platform().register(_pipeline(job), validated, profile, choice, trained, job.run_id)


@step(summary=facts.released, artifact=artifacts.gates_pages)
def gate(
    job: Job,
    version: int | None,
    strategy: Strategy | None = None,
    to: Stage = "production",
    override: Sequence[str] = (),
    reason: str = "",
) -> Release:
    """Put a version before the gates; the newest where None."""
    pipeline, actor = _pipeline(job), platform().actor
    # Who works embedded has every role.
    overrides = [Override(name, actor, "admin", reason) for name in override]
    if strategy is not None:
        pipeline = replace(pipeline, rollout=replace(pipeline.rollout, strategy=strategy))
    return platform().gate(pipeline, version, job.run_id, actor, to=to, overrides=overrides)


@step(summary=facts.promoted)
def promote(
    job: Job, release_id: str | None, accept_review: bool = False, attempt: int = 1
) -> Release:
    """Take a gated release to its first step, or the one on its way further."""
    pipeline, actor = _pipeline(job), platform().actor
    if release_id is None:
        release = platform().begin_release.further(pipeline, actor)
    else:
        release = platform().begin_release(pipeline, release_id, actor, accept_review=accept_review)
    platform().reconcile(job.pipeline)
    return release


@step(summary=facts.scored)
def score(
    job: Job, data: str | None, validated: Validated, output: Output, attempt: int = 1
) -> Scored:
    """Score the validated rows with what serves, each exactly once."""
    pipeline = _pipeline(job)
    return platform().score(
        pipeline,
        _source(pipeline, data),
        validated,
        job.run_id,
        output,
        _row_listener(job, validated.dataset.snapshot.rows),
    )


@step(summary=facts.judged, artifact=artifacts.rollout_page)
def rollout(job: Job) -> Judged | None:
    """Advance, hold or roll back what is rolled out, by what was seen since its last step."""
    judged = platform().judge_rollout(job.pipeline)
    platform().reconcile(job.pipeline)
    return judged


def conflicting_release(job: Job, done: str) -> ConflictError | None:
    """Return the error that another release is staged or rolled out, if one is."""
    from pynomaly.application.gate import conflicting_release as conflict

    return conflict(platform().records, job.pipeline, done)


def serves(job: Job) -> bool:
    """Whether the pipeline has a champion."""
    return platform().records.production(job.pipeline) is not None


def rolling_out(job: Job) -> bool:
    """Whether a challenger scores beside the champion."""
    release = platform().records.on_its_way(job.pipeline)
    return release is not None and release.step is not None


def _row_listener(job: Job, of: int) -> Callable[[int], None]:
    """Tell how many rows are done, how fast, and how long the rest will take."""
    progress = artifacts.Progress(job, "rows") if under_flow_run() else None
    shown = 0.0
    first: tuple[float, int] | None = None

    def on_rows(rows: int) -> None:
        nonlocal shown, first
        now = time.monotonic()
        first = first or (now, rows)
        started, before = first
        elapsed = now - started
        speed = (rows - before) / elapsed if elapsed > 0 else 0.0
        left = (of - rows) / speed if speed else None
        done: dict[str, Any] = {
            "rows": rows,
            "of": of,
            "rows_per_second": speed,
            "seconds_left": left,
        }
        emit(Event("progress", "score", done))
        if progress and (rows >= of or now - shown > _PROGRESS_SECONDS):
            shown = now
            progress.at(rows / of if of else 1.0, facts.rows_done(**done))

    return on_rows


@step(summary=facts.monitored, artifact=artifacts.findings_table)
def monitor(job: Job) -> Monitoring:
    """Compare the last scored batch with its calibration and with earlier batches."""
    return platform().monitor(_pipeline(job))


def _source(pipeline: Pipeline, data: str | None) -> SourceSpec:
    return pipeline.source.at(data) if data else pipeline.source


def _pipeline(job: Job) -> Pipeline:
    return platform().pipeline(job.pipeline)
