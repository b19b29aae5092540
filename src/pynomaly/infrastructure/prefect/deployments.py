"""Deployments of our flows in a Prefect API, with their schedules, triggers and limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pynomaly.domain.deployments import Deployment, Trigger
from pynomaly.domain.errors import ConfigurationError, ConflictError
from pynomaly.infrastructure.prefect.client import api_client

if TYPE_CHECKING:
    from uuid import UUID

    from prefect import Flow
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.events.schemas.automations import AutomationCore

__all__ = ["OURS", "DeploymentTarget"]

OURS = "pynomaly"
"""Tag of everything we deploy."""

SILENT_SECONDS = 90.0
"""A run sends heartbeats every 30 seconds; without any for this long its process is dead."""

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DeploymentTarget:
    """Where deployments go.

    Args:
        api: URL of the Prefect API.
        work_pool: Whose workers run them.
        project: Tells our deployments from those of other projects on the same API.
        job_variables: For the workers: working folder, command.
        owns_pool: Create the work pool where it is missing, of type ``process``.
    """

    api: str
    work_pool: str
    project: str
    job_variables: Mapping[str, Any]
    owns_pool: bool = False

    def apply(self, wanted: Sequence[Deployment]) -> list[Document]:
        """Create or update what is wanted; what is so already is left alone.

        Schedules that were switched off in Prefect's UI stay so as long as nothing changes here.

        Raises:
            ConfigurationError: The API does not answer, or there is no such work pool.
            ConflictError: Another project has deployed a pipeline of that name there.
        """
        with api_client(self.api) as client:
            self._require_pool(client)
            self._watch_for_silence(client)
            return [self._apply(client, deployment) for deployment in wanted]

    def remove_others(self, names: Set[str]) -> list[Document]:
        """Remove this project's deployments but for those called ``names``."""
        with api_client(self.api) as client:
            removed = []
            for deployed in self._deployed(client):
                pipeline, flow = str(deployed.parameters["pipeline"]), deployed.name
                if f"{pipeline}/{flow}" not in names:
                    client.delete_resource_owned_automations(f"prefect.deployment.{deployed.id}")
                    client.delete_deployment(deployed.id)
                    removed.append(_document(pipeline, flow, deployed.id, "removed"))
            return removed

    def _deployed(self, client: SyncPrefectClient) -> list[DeploymentResponse]:
        from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

        ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[OURS, self._tag]))
        found: list[DeploymentResponse] = []
        while page := client.read_deployments(deployment_filter=ours, offset=len(found)):
            found += page
        return found

    @property
    def _tag(self) -> str:
        return f"{OURS}:{self.project}"

    def _require_pool(self, client: SyncPrefectClient) -> None:
        from prefect.client.schemas.actions import WorkPoolCreate
        from prefect.exceptions import ObjectNotFound

        try:
            client.read_work_pool(self.work_pool)
        except ObjectNotFound:
            if not self.owns_pool:
                raise ConfigurationError(
                    f"there is no work pool `{self.work_pool}` at {self.api}",
                    hint="create it: prefect work-pool create NAME --type process "
                    "(or docker, kubernetes…), or name another one with --work-pool",
                ) from None
            client.create_work_pool(WorkPoolCreate(name=self.work_pool, type="process"))

    def _apply(self, client: SyncPrefectClient, wanted: Deployment) -> Document:
        from prefect.exceptions import ObjectNotFound

        before: DeploymentResponse | None
        try:
            before = client.read_deployment_by_name(wanted.name)
        except ObjectNotFound:
            before = None
        if before is not None and self._tag not in before.tags:
            raise ConflictError(
                f"{wanted.name} at {self.api} belongs to another project",
                hint="rename the pipeline here or there, or remove that deployment: "
                f"prefect deployment delete {wanted.name}",
            )
        if before is not None and self._is_as(client, before, wanted):
            done, deployment_id = "unchanged", before.id
        else:
            done = "created" if before is None else "updated"
            deployment_id = self._put(client, wanted)
        document = _document(wanted.pipeline, wanted.flow, deployment_id, done)
        if wanted.schedule:
            document["schedule"] = f"{wanted.schedule.cron} {wanted.schedule.timezone}"
        document["triggers"] = [trigger.event for trigger in wanted.triggers]
        document["at_once"] = wanted.at_once
        return document

    def _is_as(
        self, client: SyncPrefectClient, deployed: DeploymentResponse, wanted: Deployment
    ) -> bool:
        automations = client.read_resource_related_automations(f"prefect.deployment.{deployed.id}")
        return (
            deployed.version == wanted.digest
            and deployed.work_pool_name == self.work_pool
            and dict(deployed.job_variables or {}) == dict(self.job_variables)
            and len(automations) == len(wanted.triggers)
        )

    def _put(self, client: SyncPrefectClient, wanted: Deployment) -> UUID:
        from prefect.client.schemas.actions import DeploymentScheduleCreate
        from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
        from prefect.client.schemas.schedules import CronSchedule
        from prefect.flows import load_flow_from_entrypoint
        from prefect.utilities.callables import parameter_schema

        # Prefect adds no placeholder for code that cannot be imported: it would fail when it runs.
        flow: Flow[..., Any] = load_flow_from_entrypoint(
            wanted.entrypoint, use_placeholder_flow=False
        )
        schedules = [
            DeploymentScheduleCreate(
                schedule=CronSchedule(cron=when.cron, timezone=when.timezone),
                parameters=dict(when.parameters),
                active=True,
            )
            for when in (wanted.schedule,)
            if when is not None
        ]
        deployment_id = client.create_deployment(
            flow_id=client.create_flow_from_name(wanted.pipeline),
            name=wanted.flow,
            version=wanted.digest,
            description=wanted.description,
            entrypoint=wanted.entrypoint,
            parameters={"pipeline": wanted.pipeline},
            parameter_openapi_schema=parameter_schema(flow).model_dump(exclude_unset=True),
            enforce_parameter_schema=True,
            schedules=schedules,
            concurrency_limit=wanted.at_once,
            concurrency_options=ConcurrencyOptions(
                collision_strategy=ConcurrencyLimitStrategy.ENQUEUE
            ),
            tags=[OURS, wanted.pipeline, self._tag],
            work_pool_name=self.work_pool,
            job_variables=dict(self.job_variables),
            pull_steps=[],  # the code is installed where the workers are
        )
        client.delete_resource_owned_automations(f"prefect.deployment.{deployment_id}")
        for trigger in wanted.triggers:
            client.create_automation(_automation(wanted, trigger, deployment_id))
        return deployment_id

    def _watch_for_silence(self, client: SyncPrefectClient) -> None:
        """Have runs whose process died without a word marked as crashed, once per project."""
        wanted = _crash_of_silent_runs(self._tag)
        if not client.read_automations_by_name(wanted.name):
            client.create_automation(wanted)


def _document(pipeline: str, flow: str, deployment_id: UUID, done: str) -> Document:
    return {
        "deployment": f"{pipeline}/{flow}",
        "pipeline": pipeline,
        "flow": flow,
        "id": str(deployment_id),
        "done": done,
        "schedule": None,
        "triggers": [],
        "at_once": None,
    }


def _automation(wanted: Deployment, trigger: Trigger, deployment_id: UUID) -> AutomationCore:
    from prefect.events.schemas.deployment_triggers import DeploymentEventTrigger

    result = DeploymentEventTrigger(
        name=f"{trigger.event.removeprefix('pynomaly.')} → {wanted.name}",
        expect={trigger.event},
        match={"prefect.resource.id": f"pynomaly.pipeline.{wanted.pipeline}"},
        parameters={
            "pipeline": wanted.pipeline,
            **trigger.parameters,
            **{name: _from_payload(key) for name, key in trigger.from_payload.items()},
        },
    )
    result.set_deployment_id(deployment_id)
    return result.as_automation()


def _from_payload(key: str) -> Mapping[str, Any]:
    """Return Prefect's notation for a value of the event's payload, null where it has none."""
    template = f"{{{{ event.payload['{key}'] | default(none) | tojson }}}}"
    return {
        "__prefect_kind": "json",
        "value": {"__prefect_kind": "jinja", "template": template},
    }


def _crash_of_silent_runs(tag: str) -> AutomationCore:
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    ended = ("Completed", "Failed", "Crashed", "Cancelled", "Suspended", "Paused", "AwaitingRetry")
    return AutomationCore(
        name=f"silent runs have crashed ({tag})",
        description="Marks a run as crashed when its process has given no sign of life for "
        f"{SILENT_SECONDS:.0f} seconds.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{s}" for s in ended)},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related={"prefect.resource.id": f"prefect.tag.{tag}"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=SILENT_SECONDS),
        ),
        actions=[
            ChangeFlowRunState(
                name="Crashed",
                state=StateType.CRASHED,
                message="no heartbeat: its process died",
                force=False,
            )
        ],
    )
