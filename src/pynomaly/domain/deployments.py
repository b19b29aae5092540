"""When a pipeline's flows run (on schedules, on events, how many at once) and how that goes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

__all__ = [
    "DEPLOYED_FLOWS",
    "DeployedFlow",
    "Deployment",
    "EventName",
    "OrchestratedRun",
    "Schedule",
    "Trigger",
    "TriggerPolicy",
]

DeployedFlow = Literal["train", "release", "score", "monitor", "lifecycle"]
DEPLOYED_FLOWS: tuple[DeployedFlow, ...] = ("train", "release", "score", "monitor", "lifecycle")

EventName = Literal[
    "pynomaly.data-arrived",
    "pynomaly.model-registered",
    "pynomaly.release-promoted",
    "pynomaly.drift-detected",
]


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a flow runs by itself.

    Args:
        cron: Five fields: minute, hour, day of month, month, day of week.
        timezone: IANA name the fields are meant in, e.g. ``Europe/Berlin``.
        parameters: Of the flow for these runs, e.g. ``{"incremental": True}``.
    """

    cron: str
    timezone: str = "UTC"
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TriggerPolicy:
    """What happens by itself when something has happened.

    Args:
        watch: ``pynomaly up`` looks whether the source has changed and says so.
        watch_seconds: Between two looks.
        score_on_arrival: Data that arrived are scored: what was named, else what is new.
        release_on_registration: A version that training registered goes before the gates.
        rescore_on_promotion: The whole source is scored again with the new model.
        retrain_on_drift: Drift starts training.
        scores_at_once: Score runs at a time; further ones wait.
    """

    watch: bool = False
    watch_seconds: float = 60.0
    score_on_arrival: bool = True
    release_on_registration: bool = True
    rescore_on_promotion: bool = False
    retrain_on_drift: bool = True
    scores_at_once: int = 1


@dataclass(frozen=True, slots=True)
class Trigger:
    """An event about the pipeline that starts a run.

    Args:
        event: Its name.
        parameters: Of the run; a value is taken as it is.
        from_payload: Parameters of the run that the event's payload may hold, by key there.
    """

    event: EventName
    parameters: Mapping[str, Any] = field(default_factory=dict)
    from_payload: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Deployment:
    """A flow of a pipeline, ready to be run by whoever is asked to.

    Args:
        pipeline: Whose.
        flow: Which of its flows.
        entrypoint: Where the flow's code is, as a dotted path.
        description: What it does, for people.
        at_once: Runs at a time; further ones wait.
        schedule: When it runs by itself, if ever.
        triggers: Events that start it.
    """

    pipeline: str
    flow: DeployedFlow
    entrypoint: str
    description: str
    at_once: int
    schedule: Schedule | None = None
    triggers: tuple[Trigger, ...] = ()

    @property
    def name(self) -> str:
        """How people call it: ``payments/train``."""
        return f"{self.pipeline}/{self.flow}"

    @property
    def digest(self) -> str:
        """Sixteen hex digits that change exactly when anything about it does."""
        text = json.dumps(asdict(self), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class OrchestratedRun:
    """A run as the orchestrator sees it.

    Args:
        id: The orchestrator's.
        run_id: Ours; the same unless one was asked for when it was triggered.
        pipeline: It works for.
        flow: ``train``, ``score``…, or the name of the flow where no deployment started it.
        state: For people, e.g. ``Late``.
        kind: Of the state, e.g. ``SCHEDULED``.
        message: Why it is in that state, if anybody said.
        planned: When it was or is to start.
        attempts: How often it has started.
        deployed: Whether a deployment started it, so that a worker can start it again.
    """

    id: str
    run_id: str
    pipeline: str
    flow: str
    state: str
    kind: str
    message: str | None
    planned: datetime | None
    attempts: int
    deployed: bool
