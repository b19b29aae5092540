"""``@step``: a Prefect task under a flow run, a plain call without one."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, cast

from pynomaly.domain.errors import (
    DataRejectedError,
    IntegrityError,
    PynomalyError,
    ReleaseBlockedError,
)
from pynomaly.domain.runs import RunStatus, StepRecord
from pynomaly_flows.context import Event, EventKind, Job, emit, platform, under_flow_run

if TYPE_CHECKING:
    from uuid import UUID

    from prefect import Task
    from prefect.client.schemas.objects import State, TaskRun
    from prefect.context import TaskRunContext

__all__ = ["Facts", "Step", "step", "transient"]

P = ParamSpec("P")
R = TypeVar("R")
Facts = Mapping[str, Any]


class Step(Generic[P, R]):
    """A function whose first argument is the :class:`Job`; called like one.

    Whichever way it runs, its outcome is recorded and the listener is told.  Under Prefect it is
    also retried after transient failures, and its result is kept under the run's id: when a run
    is tried again, finished steps are not repeated, while a new run computes everything anew.

    Args:
        fn: One line that calls a use case; returns a small frozen value.
        summary: Turns the result into facts for records and listeners.
        artifact: Publishes a Prefect artifact from the facts of a finished or failed step.
        retries: After transient failures.
        retry_seconds: First delay; doubles each time, with jitter.
    """

    def __init__(
        self,
        fn: Callable[Concatenate[Job, P], R],
        *,
        summary: Callable[[R], Facts],
        artifact: Callable[[Job, Facts], None] | None,
        retries: int,
        retry_seconds: float,
    ) -> None:
        functools.update_wrapper(self, fn)
        self.name = fn.__name__
        self._fn = fn
        self._summary = summary
        self._artifact = artifact
        self._retries = retries
        self._retry_seconds = retry_seconds

    def __call__(self, job: Job, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run as a task under a flow run, directly otherwise."""
        if not under_flow_run():
            return self._run(job, *args, **kwargs)
        if _elsewhere():
            return self._submitted(job, *args, **kwargs)
        return self._settled(cast("State[R]", self.task(job, *args, **kwargs, return_state=True)))

    def _settled(self, state: State[R]) -> R:
        if task_run_id := state.state_details.task_run_id:
            task_runs.add(task_run_id)
        if state.name == "Cached":
            emit(Event("reused", self.name))
        result: R = state.result()  # raises what the step raised
        return result

    def _submitted(self, job: Job, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run where the flow's task runner says, and tell the listener, who is in this process."""
        emit(Event("started", self.name))
        future = self.task.submit(job, *args, **kwargs)
        future.wait()
        if future.state.name != "Cached":
            mine = [s for s in platform().records.steps(job.run_id) if s.step == self.name]
            if mine:
                kind: EventKind = "failed" if mine[-1].status == "failed" else "finished"
                emit(Event(kind, self.name, mine[-1].summary))
        return self._settled(future.state)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel by name: the process that a task runner sends a step to has it as well."""
        return _named, (self._fn.__module__, self._fn.__qualname__)

    @functools.cached_property
    def task(self) -> Task[Any, R]:
        """The Prefect task."""
        from prefect import Task
        from prefect.context import TaskRunContext

        @functools.wraps(self._fn)
        def run(job: Job, *args: P.args, **kwargs: P.kwargs) -> R:
            context = TaskRunContext.get()
            assert context is not None  # Prefect is calling
            task_runs.add(context.task_run.id)  # here too, in case of an interrupt
            return self._run(job, *args, **kwargs)

        return Task(
            fn=run,
            name=self.name,
            task_run_name=f"{self.name}-{{job.pipeline}}",
            tags={"pynomaly"},
            retries=self._retries,
            retry_delay_seconds=[self._retry_seconds * 2**n for n in range(self._retries)],
            retry_jitter_factor=0.5,
            retry_condition_fn=_is_transient,
            persist_result=True,
            result_serializer="json",  # data and the names of its classes, no pickle
            cache_key_fn=_cache_key,
        )

    def _run(self, job: Job, *args: P.args, **kwargs: P.kwargs) -> R:
        emit(Event("started", self.name))
        started = datetime.now(UTC)
        try:
            result = self._fn(job, *args, **kwargs)
        except BaseException as error:  # an interrupted step is recorded as well
            try:
                self._conclude(job, started, "failed", _facts_of(error))
            except Exception as second:  # noqa: BLE001  what went wrong first matters more
                error.add_note(f"and the failure could not be recorded: {second}")
            raise
        self._conclude(job, started, "completed", self._summary(result))
        return result

    def _conclude(self, job: Job, started: datetime, status: RunStatus, facts: Facts) -> None:
        platform().records.add_step(
            StepRecord(job.run_id, self.name, status, started, datetime.now(UTC), facts)
        )
        if self._artifact and under_flow_run():
            self._publish(job, facts)
        emit(Event("failed" if status == "failed" else "finished", self.name, facts))

    def _publish(self, job: Job, facts: Facts) -> None:
        """Publish the artifact; a page that cannot be shown fails no step that succeeded."""
        assert self._artifact is not None  # the caller asked
        try:
            self._artifact(job, facts)
        except Exception:  # noqa: BLE001  whatever ails Prefect's API
            from prefect.logging import get_run_logger

            get_run_logger().warning(
                "the artifact of %s was not published", self.name, exc_info=True
            )


def _named(module: str, name: str) -> Step[Any, Any]:
    found: Step[Any, Any] = getattr(import_module(module), name)
    return found


def _elsewhere() -> bool:
    """Whether the flow has a task runner of its own, such as ``DaskTaskRunner``.

    Prefect's default would only run a step in another thread; steps follow one another.
    """
    from prefect.context import FlowRunContext
    from prefect.task_runners import ThreadPoolTaskRunner

    context = FlowRunContext.get()
    return context is not None and not isinstance(context.task_runner, ThreadPoolTaskRunner)


def step(
    *,
    summary: Callable[[R], Facts],
    artifact: Callable[[Job, Facts], None] | None = None,
    retries: int = 2,
    retry_seconds: float = 2.0,
) -> Callable[[Callable[Concatenate[Job, P], R]], Step[P, R]]:
    """Make a function a :class:`Step`; the arguments are explained there."""

    def decorate(fn: Callable[Concatenate[Job, P], R]) -> Step[P, R]:
        return Step(
            fn, summary=summary, artifact=artifact, retries=retries, retry_seconds=retry_seconds
        )

    return decorate


# Of the operating system's errors these describe what is asked for, not the moment.
_LASTING = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
# Named rather than imported: whoever raises them has imported their module.
_PASSING = (
    ("botocore.exceptions", ("HTTPClientError", "EndpointConnectionError")),
    ("sqlalchemy.exc", ("OperationalError", "InterfaceError", "TimeoutError")),
)


def transient(error: BaseException) -> bool:
    """Whether trying again may help: input, output and connections, never a verdict of ours."""
    if isinstance(error, DataRejectedError | ReleaseBlockedError | IntegrityError):
        return False
    if isinstance(error, PynomalyError):
        # Adapters translate what happened to them; whether it passes is told by the cause.
        return error.__cause__ is not None and transient(error.__cause__)
    if isinstance(error, OSError):
        return not isinstance(error, _LASTING)
    return any(
        isinstance(error, getattr(sys.modules[module], name))
        for module, names in _PASSING
        if module in sys.modules
        for name in names
    )


def _facts_of(error: BaseException) -> Facts:
    message = error.message if isinstance(error, PynomalyError) else str(error)
    attributes = {k: v for k, v in vars(error).items() if k.endswith("_id")}
    return {"error": message or type(error).__name__, "type": type(error).__name__, **attributes}


def _cache_key(context: TaskRunContext, parameters: Mapping[str, Any]) -> str:
    job: Job = parameters["job"]
    # A step that a flow repeats on purpose is another one.
    return f"{job.run_id}-{context.task.name}-{parameters.get('attempt', 1)}"


def _is_transient(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    return isinstance(state.data, BaseException) and transient(state.data)


task_runs: set[UUID] = set()
"""Task runs this process started; the API must hear how they ended before its server stops."""
