"""deployment/prefect.yaml is what `prefect deploy` can read, and says what we would deploy."""

from pathlib import Path

import pytest
import yaml

from pynomaly.domain.datasets import Column, Schema
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.sources import SourceSpec
from pynomaly_flows.deployments import plan_deployments

FILE = Path(__file__).parents[2] / "deployment" / "prefect.yaml"
DEPLOYMENTS = yaml.safe_load(FILE.read_text())["deployments"]

PAYMENTS = Pipeline("payments", SourceSpec("/data/in/"), Schema((Column("a", "numeric"),)))
OURS = {f"payments-{d.flow}": d for d in plan_deployments(PAYMENTS)}


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda d: d["name"])
def test_the_flow_can_be_imported_and_takes_the_parameters(deployment):
    from prefect.flows import load_flow_from_entrypoint
    from prefect.utilities.callables import parameter_schema

    flow = load_flow_from_entrypoint(deployment["entrypoint"], use_placeholder_flow=False)
    assert set(deployment["parameters"]) <= set(parameter_schema(flow).properties)


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda d: d["name"])
def test_it_is_the_deployment_that_we_would_make(deployment):
    ours = OURS[deployment["name"]]
    assert deployment["entrypoint"] == ours.entrypoint
    assert deployment["concurrency_limit"] == {
        "limit": ours.at_once,
        "collision_strategy": "ENQUEUE",
    }
    triggers = deployment.get("triggers", [])
    assert [t["expect"] for t in triggers] == [[t.event] for t in ours.triggers]
    assert all(
        t["match"] == {"prefect.resource.id": "pynomaly.pipeline.payments"} for t in triggers
    )


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda d: d["name"])
def test_schedules_and_triggers_are_what_prefect_understands(deployment):
    from prefect.client.schemas.schedules import CronSchedule
    from prefect.events.schemas.deployment_triggers import DeploymentEventTrigger

    for schedule in deployment.get("schedules", []):
        CronSchedule(**schedule)
    for trigger in deployment.get("triggers", []):
        DeploymentEventTrigger(**trigger)
