"""Looking at data and learning from it, short of releasing anything."""

from __future__ import annotations

from pynomaly_flows import tasks
from pynomaly_flows.events import announce
from pynomaly_flows.runs import Document, recorded_run

__all__ = ["profiling", "training", "validation"]


def validation(pipeline: str, data: str | None = None, run_id: str | None = None) -> Document:
    """Validate a snapshot and stage its good rows.

    Args:
        pipeline: Name of a configured pipeline.
        data: The pipeline's source where None.
        run_id: A failed run to take up again.
    """
    with recorded_run("validate", pipeline, run_id) as run:
        tasks.validate(run.job, data, tasks.plan(run.job, data))
    return run.document


def profiling(pipeline: str, data: str | None = None, run_id: str | None = None) -> Document:
    """Validate a snapshot and describe its good rows column by column.

    Args:
        pipeline: Name of a configured pipeline.
        data: The pipeline's source where None.
        run_id: A failed run to take up again.
    """
    with recorded_run("profile", pipeline, run_id) as run:
        validated = tasks.validate(run.job, data, tasks.plan(run.job, data))
        run.profile = tasks.profile(run.job, validated.dataset)
    return {**run.document, "profile": run.profile}


def training(pipeline: str, data: str | None = None, run_id: str | None = None) -> Document:
    """Validate, profile, tune, train and register a new version, and announce it.

    Args:
        pipeline: Name of a configured pipeline.
        data: To train on; the pipeline's source where None.
        run_id: A failed run to take up again.
    """
    with recorded_run("train", pipeline, run_id) as run:
        validated = tasks.validate(run.job, data, tasks.plan(run.job, data))
        run.profile = tasks.profile(run.job, validated.dataset)
        choice = tasks.tune(run.job, validated.dataset)
        trained = tasks.train(run.job, validated.dataset, choice)
        version = tasks.register(run.job, validated, run.profile, choice, trained)
        announce(run.job, "model-registered", {"version": version.version})
    return run.document
