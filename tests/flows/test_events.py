"""What happens to a pipeline can be heard, and acted upon, in Prefect."""

from uuid import uuid4

import pytest

from prefect_events import heard
from pynomaly_flows.context import Job
from pynomaly_flows.events import announce
from pynomaly_flows.runs import recorded_run


def telling(pipeline: str, what: str):
    with recorded_run("run", pipeline, None) as run:
        announce(run.job, what, {"share": 0.25})
    return run.document


@pytest.mark.prefect
def test_an_announcement_under_a_flow_run_is_an_event_about_the_pipeline(prefect_api, events):
    from pynomaly_flows.deployable import as_flow

    what = f"heard-{uuid4().hex[:8]}"
    document = as_flow(telling)("payments", what)

    (event,) = heard(f"pynomaly.{what}")
    assert event["resource"] == {
        "prefect.resource.id": "pynomaly.pipeline.payments",
        "prefect.resource.name": "payments",
    }
    assert event["payload"] == {
        "pipeline": "payments", "run_id": document["run_id"], "share": 0.25,
    }  # fmt: skip
    related = {resource["prefect.resource.role"] for resource in event["related"]}
    assert "flow-run" in related


def test_without_a_flow_run_nobody_is_told_and_nothing_fails():
    announce(Job("payments", "r-1"), "anything", {})
