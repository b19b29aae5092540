"""The seam between commands and flows: choose the engine, run the flow, return its document."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from pynomaly.domain.errors import UsageError
from pynomaly.domain.identifiers import new_id
from pynomaly_flows import steps
from pynomaly_flows.context import Event, Listener, acting_on, emit
from pynomaly_flows.runs import Document

if TYPE_CHECKING:
    from pynomaly.settings import Settings

__all__ = ["Engine", "EngineChoice", "FlowName", "launch", "orchestrated", "refuse_password"]

FlowName = Literal["run", "validate", "profile", "train", "release", "score", "monitor"]
Engine = Literal["direct", "prefect"]
EngineChoice = Literal["auto", "direct", "prefect"]

_FLOWS: Mapping[FlowName, tuple[str, str]] = {
    "run": ("lifecycle", "lifecycle"),
    "validate": ("training", "validation"),
    "profile": ("training", "profiling"),
    "train": ("training", "training"),
    "release": ("release", "release"),
    "score": ("scoring", "scoring"),
    "monitor": ("monitoring", "monitoring"),
}
_DRAIN_SECONDS = 60.0
_DRAIN_SECONDS_AFTER_INTERRUPT = 5.0

_engine: ContextVar[Engine | None] = ContextVar("engine", default=None)


def launch(
    flow: FlowName,
    pipeline_name: str,
    settings: Settings,
    *,
    engine: EngineChoice = "auto",
    params: Mapping[str, object] | None = None,
    on_event: Listener | None = None,
) -> Document:
    """Run a flow on a pipeline and return what it did, JSON-able.

    Args:
        flow: Which one.
        pipeline_name: Of a configured pipeline.
        settings: To build the platform from.
        engine: ``auto`` takes Prefect where an API is configured or up.
        params: Of the flow function besides the pipeline; ``run_id`` takes up an earlier run.
        on_event: Told of every step, from the thread that runs it.

    Raises:
        PynomalyError: Whatever a step raised, as it was raised.
        UsageError: Under Prefect, ``data`` is a URL with a password.
    """
    module, name = _FLOWS[flow]
    with orchestrated(settings, engine, on_event) as chosen:
        fn: Callable[..., Document]
        if chosen == "direct":
            fn = getattr(importlib.import_module(f"pynomaly_flows.{module}"), name)
        else:
            refuse_password((params or {}).get("data"))
            fn = _tagged(getattr(importlib.import_module("pynomaly_flows.deployable"), name))
        return fn(pipeline_name, **{"run_id": new_id(datetime.now(UTC)), **(params or {})})


@contextmanager
def orchestrated(
    settings: Settings, engine: EngineChoice, on_event: Listener | None
) -> Iterator[Engine]:
    """Prepare the platform and the engine for the launches in the block, once for all of them.

    Args:
        settings: To build the platform from.
        engine: ``auto`` takes Prefect where an API is configured or up.
        on_event: Told of every step.
    """
    if prepared := _engine.get():
        yield prepared
        return
    from pynomaly import bootstrap

    chosen: Engine
    if engine == "auto":
        chosen = "prefect" if bootstrap.available_prefect_api(settings) else "direct"
    else:
        chosen = engine
    token = _engine.set(chosen)
    try:
        with acting_on(bootstrap.build(settings), on_event):
            if chosen == "direct":
                yield chosen
            else:
                with _under_prefect(bootstrap.prefect_session(settings)):
                    yield chosen
    finally:
        _engine.reset(token)


@contextmanager
def _under_prefect(session: AbstractContextManager[str]) -> Iterator[None]:
    emit(Event("engine", "prefect", {"state": "starting"}))
    with session as api:
        emit(Event("engine", "prefect", {"state": "ready", "api": api}))
        from pynomaly_flows.history import drain

        seconds = _DRAIN_SECONDS
        try:
            yield
        except KeyboardInterrupt:
            seconds = _DRAIN_SECONDS_AFTER_INTERRUPT
            raise
        finally:
            drain(steps.task_runs, seconds=seconds)
            steps.task_runs.clear()


def refuse_password(data: object) -> None:
    """Keep passwords out of Prefect, which stores and shows the parameters of a run.

    Raises:
        UsageError: ``data`` holds one.
    """
    if isinstance(data, str) and "://" in data and urlsplit(data).password:
        raise UsageError(
            "a database URL with a password would be kept in Prefect's records",
            hint="put it into the pipeline's source, or run with --engine direct",
        )


def _tagged(fn: Callable[..., Document]) -> Callable[..., Document]:
    """Tag the flow run and its task runs with the pipeline's name."""

    @functools.wraps(fn)
    def run(pipeline: str, **params: object) -> Document:
        from prefect import tags

        with tags(pipeline):
            return fn(pipeline, **params)

    return run
