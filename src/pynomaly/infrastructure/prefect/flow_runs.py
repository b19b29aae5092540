"""What a Prefect API knows about the runs of our flows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pynomaly.domain.deployments import OrchestratedRun
from pynomaly.domain.errors import PynomalyError
from pynomaly.infrastructure.prefect.client import api_client

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.client.schemas.objects import FlowRun, State, StateType

__all__ = [
    "answer_flow_run",
    "latest_flow_runs",
    "mark_crashed",
    "start_again",
    "upcoming_flow_runs",
]


def latest_flow_runs(api: str, limit: int = 200) -> tuple[OrchestratedRun, ...]:
    """Return the runs that have begun, or ended without, newest first.

    Raises:
        ConfigurationError: The API does not answer.
    """
    with api_client(api) as client:
        from prefect.client.schemas.objects import StateType
        from prefect.client.schemas.sorting import FlowRunSort

        begun = [kind for kind in StateType if kind is not StateType.SCHEDULED]
        found = client.read_flow_runs(
            flow_run_filter=_in_state(begun),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            limit=limit,
        )
        return tuple(_facts(client, found))


def upcoming_flow_runs(api: str, limit: int = 50) -> tuple[OrchestratedRun, ...]:
    """Return the runs that are to begin, or to go on, the next first.

    Raises:
        ConfigurationError: The API does not answer.
    """
    with api_client(api) as client:
        from prefect.client.schemas.objects import StateType
        from prefect.client.schemas.sorting import FlowRunSort

        found = client.read_flow_runs(
            flow_run_filter=_in_state([StateType.SCHEDULED]),
            sort=FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC,
            limit=limit,
        )
        return tuple(_facts(client, found))


def answer_flow_run(api: str, flow_run_id: str, answer: Mapping[str, object]) -> bool:
    """Let a suspended run go on with the input it waits for.

    Returns:
        Whether it goes on, also if somebody else was quicker to let it; a run that has ended does not.

    Raises:
        ConfigurationError: The API does not answer.
    """
    with api_client(api) as client:
        from prefect.client.schemas.objects import StateType

        run = client.read_flow_run(UUID(flow_run_id))
        if run.state is not None and run.state.type is StateType.PAUSED:
            client.resume_flow_run(run.id, dict(answer))  # refused where it is let go on meanwhile
            run = client.read_flow_run(run.id)
        goes_on = (StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING)
        return run.state is not None and run.state.type in goes_on


def _in_state(kinds: Sequence[StateType]) -> FlowRunFilter:
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )

    return FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(kinds))))


def _facts(client: SyncPrefectClient, found: Iterable[FlowRun]) -> Iterator[OrchestratedRun]:
    flows: dict[str, tuple[str, bool]] = {}
    for run in found:
        pipeline = run.parameters.get("pipeline")
        if not isinstance(pipeline, str) or run.state is None:
            continue  # somebody else's
        key = str(run.deployment_id or run.flow_id)
        if key not in flows:
            flows[key] = _flow_of(client, run)
        flow, deployed = flows[key]
        yield OrchestratedRun(
            id=str(run.id),
            run_id=str(run.parameters.get("run_id") or run.id),
            pipeline=pipeline,
            flow=flow,
            state=run.state.name or str(run.state.type.value),
            kind=run.state.type.value,
            message=run.state.message,
            planned=run.expected_start_time,
            attempts=run.run_count,
            deployed=deployed,
        )


def _flow_of(client: SyncPrefectClient, run: FlowRun) -> tuple[str, bool]:
    """Return what the flow is called, and whether there is a deployment of it (still)."""
    from prefect.exceptions import ObjectNotFound

    if run.deployment_id is not None:
        with suppress(ObjectNotFound):
            return client.read_deployment(run.deployment_id).name, True
    return client.read_flow(run.flow_id).name, False


def mark_crashed(api: str, flow_run: str, why: str) -> None:
    """Tell the API that the process of a run is gone.

    Raises:
        ConfigurationError: The API does not answer.
        PynomalyError: It refuses.
    """
    with api_client(api) as client:
        from prefect.states import Crashed

        _set_state(client, flow_run, Crashed(message=why))


def start_again(api: str, flow_run: str) -> None:
    """Have a worker start a deployment's run once more, under the same id.

    Raises:
        ConfigurationError: The API does not answer.
        PynomalyError: It refuses.
    """
    with api_client(api) as client:
        from prefect.states import AwaitingRetry

        now = datetime.now(UTC)
        again: State[Any] = AwaitingRetry(scheduled_time=now, message="its process had died")
        _set_state(client, flow_run, again)


def _set_state(client: SyncPrefectClient, flow_run: str, state: State[Any]) -> None:
    from prefect.exceptions import PrefectHTTPStatusError

    try:
        client.set_flow_run_state(UUID(flow_run), state, force=True)
    except PrefectHTTPStatusError as error:
        raise PynomalyError(
            f"Prefect refused to set run {flow_run} to {state.name}: {error.response.text[:200]}",
            hint="look at the run in Prefect's pages and into its server's log",
        ) from error
