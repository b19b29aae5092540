"""After a drain, Prefect's own records tell the whole story of a run."""

from uuid import uuid4

import pytest

from pynomaly.domain.errors import IntegrityError
from pynomaly_flows import steps
from pynomaly_flows.history import drain
from pynomaly_flows.runs import recorded_run
from pynomaly_flows.steps import step

pytestmark = pytest.mark.prefect


@step(summary=lambda n: {"n": n}, retries=0)
def count(job, n):
    if n < 0:
        raise IntegrityError("cannot count below zero")
    return n


@step(summary=lambda n: {"n": n}, retries=0)
def check(job, n):
    return count._fn(job, n)


def counting(pipeline: str, n: int):
    with recorded_run("run", pipeline, None) as run:
        check(run.job, n=count(run.job, 1) * n)
    return run.document


@pytest.fixture
def finished(prefect_api, events):
    """Flow runs of one good and one bad run, with their task runs as the API has them."""
    from prefect import tags
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags

    from pynomaly_flows.deployable import as_flow

    steps.task_runs.clear()
    flow = as_flow(counting)
    tag = f"history-test-{uuid4()}"
    with tags(tag):
        flow("payments", n=2)
        with pytest.raises(IntegrityError):
            flow("payments", n=-1)
    drain(steps.task_runs, seconds=60)
    assert not [e for e in events if e.kind == "engine"]  # nothing stayed unrecorded
    with get_client(sync_client=True) as client:
        tagged = FlowRunFilter(tags=FlowRunFilterTags(all_=[tag]))
        runs = client.read_flow_runs(flow_run_filter=tagged)
        tasks = client.read_task_runs(flow_run_filter=tagged)
    return runs, tasks


def test_every_task_run_has_ended_in_the_api(finished):
    runs, tasks = finished

    assert sorted(run.state.type for run in runs) == ["COMPLETED", "FAILED"]
    assert all(run.name.startswith("payments-counting-2") for run in runs)
    assert sorted((t.name.split("-")[0], t.state.type.value) for t in tasks) == [
        ("check", "COMPLETED"), ("check", "FAILED"), ("count", "COMPLETED"), ("count", "COMPLETED"),
    ]  # fmt: skip
    assert all({"pynomaly", *runs[0].tags} == set(t.tags) for t in tasks)


def test_our_run_and_prefect_s_have_the_same_id(finished, tiny_platform):
    runs, _ = finished

    assert {str(run.id) for run in runs} == {r.id for r in tiny_platform.records.runs("payments")}


def test_the_report_is_linked_beside_the_run(finished):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    runs, _ = finished
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(
                flow_run_id=ArtifactFilterFlowRunId(any_=[run.id for run in runs])
            )
        )
    linked = [artifact.data for artifact in found if artifact.key == "payments-report"]
    assert len(linked) == 2
    assert all("](file:///" in link for link in linked)
