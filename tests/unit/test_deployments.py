"""What is deployed of a pipeline: which flows, when they run, what starts them."""

import dataclasses

import pytest

from pynomaly.domain.datasets import Column, Schema
from pynomaly.domain.deployments import DEPLOYED_FLOWS, Schedule, Trigger, TriggerPolicy
from pynomaly.domain.errors import ConfigurationError, UsageError
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.sources import SourceSpec
from pynomaly_flows.deployments import plan_deployments

PAYMENTS = Pipeline("payments", SourceSpec("/data/in/"), Schema((Column("a", "numeric"),)))


def planned(pipeline=PAYMENTS, **changes):
    return {d.flow: d for d in plan_deployments(dataclasses.replace(pipeline, **changes))}


def test_every_flow_is_deployed_under_the_name_of_its_pipeline():
    assert [d.name for d in planned().values()] == [f"payments/{f}" for f in DEPLOYED_FLOWS]


def test_entry_points_can_be_imported_and_take_what_triggers_and_schedules_give():
    from prefect.flows import load_flow_from_entrypoint
    from prefect.utilities.callables import parameter_schema

    everything = TriggerPolicy(rescore_on_promotion=True)
    for deployment in planned(triggers=everything).values():
        flow = load_flow_from_entrypoint(deployment.entrypoint, use_placeholder_flow=False)
        assert flow.validate_parameters({"pipeline": "payments"})["pipeline"] == "payments"
        accepted = set(parameter_schema(flow).properties)
        for trigger in deployment.triggers:
            assert {"pipeline", *trigger.parameters, *trigger.from_payload} <= accepted


def test_training_and_release_run_one_at_a_time_and_scoring_as_the_policy_says():
    at_once = {
        d.flow: d.at_once for d in planned(triggers=TriggerPolicy(scores_at_once=4)).values()
    }
    assert at_once == {"train": 1, "release": 1, "score": 4, "monitor": 1, "lifecycle": 1}


def test_a_schedule_goes_to_its_flow_alone():
    nightly = Schedule("0 3 * * *", "Europe/Berlin")
    assert {f: d.schedule for f, d in planned(schedules={"train": nightly}).items()} == {
        "train": nightly,
        "release": None,
        "score": None,
        "monitor": None,
        "lifecycle": None,
    }


def test_a_parameter_that_the_flow_does_not_take_is_named():
    wrong = Schedule("0 3 * * *", parameters={"incrementl": True})
    with pytest.raises(
        ConfigurationError, match=r"schedules\.score\.parameters: `incrementl`"
    ) as e:
        planned(schedules={"score": wrong})
    assert "incremental" in e.value.hint


def test_a_password_does_not_get_into_prefect():
    wrong = Schedule("0 3 * * *", parameters={"data": "postgresql://me:secret@db/shop"})
    with pytest.raises(UsageError, match="password"):
        planned(schedules={"score": wrong})


def test_events_start_what_the_policy_asks_for():
    def events(**policy):
        deployments = planned(triggers=TriggerPolicy(**policy)).values()
        return {d.flow: [t.event for t in d.triggers] for d in deployments if d.triggers}

    assert events() == {
        "train": ["pynomaly.drift-detected"],
        "release": ["pynomaly.model-registered"],
        "score": ["pynomaly.data-arrived"],
    }
    assert events(rescore_on_promotion=True)["score"] == [
        "pynomaly.data-arrived",
        "pynomaly.release-promoted",
    ]
    nothing = {
        "score_on_arrival": False,
        "release_on_registration": False,
        "retrain_on_drift": False,
    }
    assert events(**nothing) == {}


@pytest.mark.parametrize(
    ("source", "incremental"),
    [
        (SourceSpec("/data/in/"), True),
        (SourceSpec("s3://lake/in/"), True),
        (SourceSpec("postgresql://db/shop", query="payments"), False),
        (SourceSpec("postgresql://db/shop", query="payments", watermark="id"), True),
    ],
)
def test_what_arrived_is_scored_alone_where_the_source_can_tell(source, incremental):
    (trigger,) = planned(source=source)["score"].triggers
    assert trigger == Trigger(
        "pynomaly.data-arrived", {"incremental": incremental}, {"data": "data", "run_id": "as_run"}
    )


def test_a_digest_changes_exactly_when_the_deployment_does():
    first, again = planned()["score"], planned()["score"]
    assert first.digest == again.digest
    assert first.digest != planned(triggers=TriggerPolicy(scores_at_once=2))["score"].digest
    assert first.digest != planned(schedules={"score": Schedule("* * * * *")})["score"].digest
    assert first.digest == planned(schedules={"train": Schedule("* * * * *")})["score"].digest
