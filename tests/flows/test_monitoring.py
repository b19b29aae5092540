"""Drift found under Prefect is an event that automations can act upon, and a table to look at."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from prefect_events import heard
from pynomaly.domain.monitoring import Finding, Monitoring
from pynomaly_flows.monitoring import monitoring

MOVED = Finding("scores_earlier", "drift", 0.9, 0.0, 1e-9, 500, "scores moved")
USUAL = Finding("quarantine", "ok", 0.0, None, None, 500, "nothing was refused")
FOUND = Monitoring(
    "b-1", "new.csv", datetime(2026, 11, 25, tzinfo=UTC), 3, "alert_budget-1", 500, 60, 2,
    (("amount", 40),),
    (MOVED, USUAL), ("a note",),
)  # fmt: skip


@pytest.fixture
def finding(tiny_platform):
    """Let monitoring find something."""

    def find(found):
        tiny_platform.monitor = lambda pipeline: found

    return find


def test_what_was_found_is_recorded_with_the_run(run_flow, finding, tiny_platform, events):
    finding(replace(FOUND, findings=(USUAL,)))

    document = run_flow(monitoring, "payments")

    (step,) = tiny_platform.records.steps(document["run_id"])
    assert (step.step, step.summary["level"], step.summary["batch_id"]) == ("monitor", "ok", "b-1")
    assert step.summary["findings"][0]["sentence"] == "nothing was refused"
    assert document["command"] == "monitor"


@pytest.mark.prefect
def test_drift_is_announced_once_per_batch_and_shown(prefect_api, finding, events):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    from pynomaly_flows.deployable import monitoring as flow

    name = f"b-{uuid4()}"
    finding(replace(FOUND, batch_id=name))
    monitoring("payments")  # without Prefect nobody is told, so it must be told later
    document = flow("payments")
    flow("payments")
    finding(replace(FOUND, batch_id=f"{name}-next"))
    flow("payments")

    batches = {name: [], f"{name}-next": []}
    for event in heard("pynomaly.drift-detected", f"{name}-next"):
        batches.get(event["payload"]["batch_id"], []).append(event)
    (event,) = batches[name]
    assert event["payload"]["run_id"] == document["run_id"]
    assert event["resource"]["prefect.resource.id"] == "pynomaly.pipeline.payments"
    assert event["payload"]["findings"] == {"scores_earlier": "scores moved"}
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["payments-monitoring"]))
        )
    assert any("scores moved" in artifact.data for artifact in found)
