"""What pipelines tell the world: Prefect events that automations can be triggered by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pynomaly_flows.context import Job, under_flow_run

__all__ = ["announce", "resource_id"]


def resource_id(pipeline: str) -> str:
    """Return the id by which events and triggers name a pipeline.

    >>> resource_id("payments")
    'pynomaly.pipeline.payments'
    """
    return f"pynomaly.pipeline.{pipeline}"


def announce(job: Job, what: str, payload: Mapping[str, Any]) -> None:
    """Emit the Prefect event ``pynomaly.<what>`` about a pipeline; nothing without a flow run.

    Prefect adds the flow run, its deployment and its tags as related resources.  Events travel in
    a thread of their own and never fail the run they tell about.

    Args:
        job: Whose pipeline; also names our run in the payload, as ``run_id``.
        what: Lower-case words with dashes, e.g. ``drift-detected``.
        payload: Small JSON-able facts.
    """
    if not under_flow_run():
        return
    from prefect.events import emit_event

    emit_event(
        f"pynomaly.{what}",
        resource={
            "prefect.resource.id": resource_id(job.pipeline),
            "prefect.resource.name": job.pipeline,
        },
        payload={"pipeline": job.pipeline, "run_id": job.run_id, **payload},
    )
