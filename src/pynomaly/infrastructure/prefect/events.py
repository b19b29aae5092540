"""Telling a Prefect API what happened to a pipeline, from outside any flow run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pynomaly.domain.deployments import EventName
from pynomaly.infrastructure.prefect.client import api_client

__all__ = ["emit_event"]


def emit_event(api: str, event: EventName, pipeline: str, payload: Mapping[str, Any]) -> None:
    """Send an event about a pipeline; the API has it when this returns.

    Raises:
        ConfigurationError: The API does not answer.
    """
    with api_client(api) as client:
        from prefect.events.schemas.events import Event, Resource

        happened = Event(
            event=event,
            resource=Resource(
                {
                    "prefect.resource.id": f"pynomaly.pipeline.{pipeline}",
                    "prefect.resource.name": pipeline,
                }
            ),
            payload={"pipeline": pipeline, **payload},
        )
        client.request("POST", "/events", json=[happened.model_dump(mode="json")])
