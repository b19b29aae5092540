"""What every step needs to know: its job, the platform it acts on, and who listens."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pynomaly.bootstrap import Platform

__all__ = [
    "Event",
    "EventKind",
    "Job",
    "Listener",
    "acting_on",
    "emit",
    "platform",
    "under_flow_run",
]

EventKind = Literal["engine", "started", "progress", "finished", "reused", "failed"]


@dataclass(frozen=True, slots=True)
class Job:
    """What a step works for; the first argument of every step.

    Args:
        pipeline: Name of the pipeline.
        run_id: Of our run record.
    """

    pipeline: str
    run_id: str


@dataclass(frozen=True, slots=True)
class Event:
    """Something a person watching a run wants to see.

    Args:
        kind: ``engine`` before anything runs; ``reused`` is a step an earlier attempt finished.
        step: Name of the step, or of the engine.
        facts: Small JSON-able facts; a finished step's summary, a trial, an error.
    """

    kind: EventKind
    step: str
    facts: Mapping[str, Any] = field(default_factory=dict)


Listener = Callable[[Event], None]

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)
_platform: ContextVar[Platform | None] = ContextVar("platform", default=None)


@contextmanager
def acting_on(platform: Platform, on_event: Listener | None) -> Iterator[None]:
    """Let the steps in the block act on ``platform`` and tell ``on_event``."""
    platform_token, listener_token = _platform.set(platform), _listener.set(on_event)
    try:
        yield
    finally:
        _listener.reset(listener_token)
        _platform.reset(platform_token)


def platform() -> Platform:
    """Return the platform to act on.

    In a process that nobody prepared, such as a worker's, it is built from the settings found
    there, once.
    """
    return _platform.get() or _from_settings()


@functools.cache
def _from_settings() -> Platform:
    from pynomaly.bootstrap import build
    from pynomaly.settings import load_settings

    return build(load_settings())


def emit(event: Event) -> None:
    """Tell the listener, if there is one in this process."""
    if listener := _listener.get():
        listener(event)


def under_flow_run() -> bool:
    """Whether Prefect is running us; never imports it."""
    context = sys.modules.get("prefect.context")
    return context is not None and context.FlowRunContext.get() is not None
