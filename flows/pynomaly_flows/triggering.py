"""Telling the platform that something has happened outside of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from pynomaly.domain.deployments import EventName
from pynomaly.domain.errors import UsageError
from pynomaly.domain.identifiers import new_id
from pynomaly_flows.launch import refuse_password
from pynomaly_flows.runs import Document

if TYPE_CHECKING:
    from pynomaly.domain.pipelines import Pipeline
    from pynomaly.settings import Settings

__all__ = ["OutsideEvent", "trigger"]

OutsideEvent = Literal["data-arrived", "drift-detected"]

_NAMES: Mapping[OutsideEvent, EventName] = {
    "data-arrived": "pynomaly.data-arrived",
    "drift-detected": "pynomaly.drift-detected",
}


def trigger(
    event: OutsideEvent, pipeline_name: str, settings: Settings, *, data: str | None = None
) -> Document:
    """Announce an event and return the id of the run it starts.

    Args:
        event: What happened.
        pipeline_name: Of a configured and deployed pipeline.
        settings: Of the project.
        data: What arrived; None for whatever is new in the pipeline's source.

    Raises:
        UsageError: The pipeline's policy has nothing start on this event, or ``data`` is a URL
            with a password.
        ConfigurationError: No Prefect API that starts runs.
    """
    from pynomaly import operations
    from pynomaly.settings import load_pipeline

    _require_effect(event, load_pipeline(pipeline_name, settings))
    refuse_password(data)
    run_id = new_id(datetime.now(UTC))
    payload = {"as_run": run_id, **({"data": data} if data else {})}
    api = operations.announce(settings, _NAMES[event], pipeline_name, payload)
    return {"run_id": run_id, "pipeline": pipeline_name, "event": _NAMES[event], "api": api}


def _require_effect(event: OutsideEvent, pipeline: Pipeline) -> None:
    key = "score_on_arrival" if event == "data-arrived" else "retrain_on_drift"
    if not getattr(pipeline.triggers, key):
        raise UsageError(
            f"nothing of {pipeline.name} starts on {event}: triggers.{key} is false",
            hint=f"set it in conf/pipelines/{pipeline.name}.yaml and deploy: pynomaly deploy",
        )
