"""Records of what was done: runs, their steps, and scored batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

__all__ = ["Actor", "Run", "RunLease", "RunStatus", "ScoredBatch", "StepRecord", "exclusive"]

RunStatus = Literal["running", "suspended", "completed", "failed"]
"""Suspended runs have no process; they go on when a person has answered."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks for something.

    Args:
        name: Login name.
        kind: ``local`` is the operating-system user of the embedded CLI.
    """

    name: str
    kind: Literal["local", "user", "service"] = "local"


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a command or flow on a pipeline.

    Args:
        id: Unique, sortable by time.
        pipeline: Which job.
        command: ``run``, ``train``, ``score``…
        engine: ``direct`` or ``prefect``.
        actor: Who started it.
        status: Where it stands.
        started_at: UTC.
        finished_at: UTC; None while running.
        error: Message of what ended it; None unless failed.
    """

    id: str
    pipeline: str
    command: str
    engine: str
    actor: Actor
    status: RunStatus
    started_at: datetime
    finished_at: datetime | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class RunLease:
    """The right of one process to carry out a run, for as long as it gives signs of life.

    Args:
        run_id: Of the run.
        pipeline: Which job.
        command: Of the run.
        owner: ``host:process number:random``; the last part is never used twice.
        expires_at: UTC; a lease that was not renewed by then is anybody's.
    """

    run_id: str
    pipeline: str
    command: str
    owner: str
    expires_at: datetime


_EXCLUSIVE: Mapping[str, frozenset[str]] = {
    "train": frozenset({"train"}),
    "release": frozenset({"release"}),
    "run": frozenset({"train", "release"}),
}


def exclusive(command: str) -> frozenset[str]:
    """Return what at most one run of a pipeline may do at a time, of what ``command`` does.

    >>> sorted(exclusive("run")), sorted(exclusive("score"))
    (['release', 'train'], [])
    """
    return _EXCLUSIVE.get(command, frozenset())


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step of a run.

    Args:
        run_id: Of the run.
        step: ``validate``, ``profile``, ``train``, ``register``, ``gate``, ``promote``, ``score``.
        status: Where it stands.
        started_at: UTC.
        finished_at: UTC.
        summary: Small JSON-able facts for people and queries.
    """

    run_id: str
    step: str
    status: RunStatus
    started_at: datetime
    finished_at: datetime
    summary: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ScoredBatch:
    """One snapshot scored by one model under one policy.

    Args:
        id: Unique.
        run_id: Which run did it.
        pipeline: Which job.
        snapshot_uri: What was scored.
        fingerprint: Content digest of it.
        model_version: Registry version.
        policy_version: Of the decision policy.
        rows_in: Rows of the snapshot.
        rows_scored: Rows in the output.
        rows_quarantined: ``rows_in == rows_scored + rows_quarantined``.
        rows_flagged: Alerts.
        output_uri: Scored rows.
        output_digest: sha256 of the output's bytes, hex.
        quarantine_uri: Refused rows, if any.
        scored_at: UTC.
    """

    id: str
    run_id: str
    pipeline: str
    snapshot_uri: str
    fingerprint: str
    model_version: int
    policy_version: str
    rows_in: int
    rows_scored: int
    rows_quarantined: int
    rows_flagged: int
    output_uri: str
    output_digest: str
    quarantine_uri: str | None
    scored_at: datetime
