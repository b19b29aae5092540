"""Which of a pipeline's flows can be run on request, on schedule and on events."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pynomaly.domain.deployments import (
    DEPLOYED_FLOWS,
    DeployedFlow,
    Deployment,
    Trigger,
    TriggerPolicy,
)
from pynomaly.domain.errors import ConfigurationError
from pynomaly.domain.pipelines import Pipeline
from pynomaly_flows.launch import refuse_password
from pynomaly_flows.lifecycle import lifecycle
from pynomaly_flows.monitoring import monitoring
from pynomaly_flows.release import release
from pynomaly_flows.runs import Document
from pynomaly_flows.scoring import scoring
from pynomaly_flows.training import training

if TYPE_CHECKING:
    from pynomaly.settings import Settings

__all__ = ["deploy", "plan_deployments"]

_FLOWS: Mapping[DeployedFlow, Callable[..., Document]] = {
    "train": training,
    "release": release,
    "score": scoring,
    "monitor": monitoring,
    "lifecycle": lifecycle,
}


def deploy(
    settings: Settings,
    names: Sequence[str] = (),
    *,
    work_pool: str | None = None,
    working_folder: Path | None = None,
) -> Document:
    """Make a Prefect API agree with the configuration.

    Args:
        settings: Where the pipelines are configured.
        names: Pipelines to deploy; all where empty, and then deployments of pipelines that are
            configured no longer are removed.
        work_pool: Whose workers are to run them; by default the one of ``pynomaly up``.
        working_folder: Where its workers find the project; this project's folder where None.
            Meant for pools of type ``process``, images know theirs.

    Returns:
        ``api``, ``work_pool`` and ``deployments``, each with what was done to it.

    Raises:
        ConfigurationError: No Prefect API, no such work pool, or a pipeline's file is wrong.
        ConflictError: Another project has deployed a pipeline of that name there.
    """
    from pynomaly import operations
    from pynomaly.settings import load_pipeline, pipeline_names

    chosen = names or pipeline_names(settings)
    wanted = [
        deployment
        for name in chosen
        for deployment in plan_deployments(load_pipeline(name, settings))
    ]
    target = operations.deployment_target(settings, work_pool, working_folder)
    applied = target.apply(wanted)
    if not names:
        applied += target.remove_others({deployment.name for deployment in wanted})
    return {"api": target.api, "work_pool": target.work_pool, "deployments": list(applied)}


def plan_deployments(pipeline: Pipeline) -> tuple[Deployment, ...]:
    """Return the pipeline's deployments: each flow, with its schedule and its triggers.

    Raises:
        ConfigurationError: A schedule has parameters that its flow does not take.
        UsageError: A schedule's data is a URL with a password, which Prefect would keep.
    """
    _check_parameters(pipeline)
    triggers = _triggers(pipeline)
    return tuple(
        Deployment(
            pipeline=pipeline.name,
            flow=flow,
            entrypoint=f"pynomaly_flows.deployable.{_FLOWS[flow].__name__}",
            description=inspect.getdoc(_FLOWS[flow]) or "",
            # Two trainings or two releases of one pipeline would compete for the same version.
            at_once=pipeline.triggers.scores_at_once if flow == "score" else 1,
            schedule=pipeline.schedules.get(flow),
            triggers=triggers[flow],
        )
        for flow in DEPLOYED_FLOWS
    )


def _check_parameters(pipeline: Pipeline) -> None:
    for flow, schedule in pipeline.schedules.items():
        accepted = set(inspect.signature(_FLOWS[flow]).parameters) - {"pipeline", "run_id"}
        if unknown := sorted(set(schedule.parameters) - accepted):
            raise ConfigurationError(
                f"conf/pipelines/{pipeline.name}.yaml: schedules.{flow}.parameters: "
                f"`{unknown[0]}` is no parameter of {flow}",
                hint=f"it takes {', '.join(sorted(accepted))}",
            )
        refuse_password(schedule.parameters.get("data"))


def _triggers(pipeline: Pipeline) -> Mapping[DeployedFlow, tuple[Trigger, ...]]:
    policy: TriggerPolicy = pipeline.triggers
    chosen: dict[DeployedFlow, list[Trigger]] = {flow: [] for flow in DEPLOYED_FLOWS}
    if policy.score_on_arrival:
        chosen["score"].append(
            Trigger(
                "pynomaly.data-arrived",
                {"incremental": _tells_what_is_new(pipeline)},
                {"data": "data", "run_id": "as_run"},
            )
        )
    if policy.rescore_on_promotion:
        everything: dict[str, Any] = {"incremental": False}
        chosen["score"].append(Trigger("pynomaly.release-promoted", everything))
    if policy.release_on_registration:
        version = {"version": "version"}
        chosen["release"].append(Trigger("pynomaly.model-registered", {}, version))
    if policy.retrain_on_drift:
        chosen["train"].append(Trigger("pynomaly.drift-detected", {}, {"run_id": "as_run"}))
    return {flow: tuple(triggers) for flow, triggers in chosen.items()}


def _tells_what_is_new(pipeline: Pipeline) -> bool:
    """Whether rows that were scored already can be left out: files tell, tables need a column."""
    source = pipeline.source
    database = "://" in source.uri and not source.uri.startswith("s3://")
    return not database or source.watermark is not None
