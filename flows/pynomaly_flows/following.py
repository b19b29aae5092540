"""Runs as a person outside their process sees them: listed, and followed to their end."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pynomaly.domain.errors import ConflictError, PynomalyError, UsageError
from pynomaly_flows.context import Event, Listener
from pynomaly_flows.repair import MOST_ATTEMPTS
from pynomaly_flows.runs import Document

if TYPE_CHECKING:
    from pynomaly.domain.deployments import OrchestratedRun
    from pynomaly.domain.runs import Run, StepRecord
    from pynomaly.settings import Settings

__all__ = ["exit_code", "follow", "list_runs"]

_LOOK_SECONDS = 1.0
_LOOKS_PER_QUESTION = 5
"""Our records are looked at every time, Prefect is asked less often."""
_ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def list_runs(settings: Settings, pipelines: tuple[str, ...], limit: int) -> Document:
    """Return the latest runs of our records with Prefect's view of each, and what is to come.

    Args:
        settings: Of the project.
        pipelines: Whose runs.
        limit: As many runs, and as many to come.
    """
    from pynomaly import operations
    from pynomaly.bootstrap import build

    queries = build(settings).queries
    runs = [run for name in pipelines for run in queries.runs(name, limit)]
    latest = sorted(runs, key=lambda run: run.started_at, reverse=True)[:limit]
    seen = {facts.run_id: facts for facts in operations.flow_runs(settings)}
    waiting = operations.upcoming_runs(settings, limit=200)
    return {
        "runs": [{**asdict(run), "prefect": _state(seen.get(run.id))} for run in latest],
        "upcoming": [
            {"run_id": f.run_id, "pipeline": f.pipeline, "flow": f.flow, "planned": f.planned}
            | {"state": f.state}
            for f in waiting
            if f.pipeline in pipelines
        ][:limit],
    }


def follow(
    settings: Settings, run_id: str, on_event: Listener, *, seconds: float | None = None
) -> Document:
    """Wait until a run has ended and return what it did; ``status`` says how it ended.

    Args:
        settings: Of the project.
        run_id: Ours; it may not have started yet.
        on_event: Told of every step as it ends.
        seconds: Give up after this long.

    Raises:
        UsageError: Neither our records nor Prefect know such a run, nor do so within a minute.
        ConflictError: It has not ended in time.
        PynomalyError: Prefect ended it before it could begin, or it was cancelled or lost.
    """
    from pynomaly.bootstrap import build

    records = build(settings).records
    told: set[tuple[str, Any]] = set()
    began = time.monotonic()
    for looks in itertools.count(1):
        run = records.run(run_id)
        steps = records.steps(run_id) if run else ()
        for step in steps:
            if (key := (step.step, step.finished_at)) not in told:
                told.add(key)
                failed = step.status == "failed"
                on_event(Event("failed" if failed else "finished", step.step, step.summary))
        waited = time.monotonic() - began
        if run is not None and run.status != "running" and not _may_go_on(settings, run):
            return _document(run, steps)
        if looks % _LOOKS_PER_QUESTION == 1:
            _require_hope(settings, run, run_id, waited)
        if seconds is not None and waited > seconds:
            raise ConflictError(
                f"run {run_id} has not ended within {seconds:.0f} s",
                hint=f"it goes on; look again: pynomaly runs watch {run_id}",
            )
        time.sleep(_LOOK_SECONDS)
    raise AssertionError("itertools.count ends never")


def exit_code(document: Document) -> int:
    """Return what the command of a followed run would have returned.

    >>> exit_code({"status": "completed", "steps": {}})
    0
    >>> exit_code({"status": "failed", "steps": {"gate": {"type": "ReleaseBlockedError"}}})
    4
    """
    if document["status"] == "completed":
        return 0
    codes = {error.__name__: error.exit_code for error in _errors(PynomalyError)}
    return codes.get(_failure(document) or "", 1)


def _failure(document: Document) -> str | None:
    """Return the type of the error that the last failed step ended with."""
    failed = [str(facts["type"]) for facts in document["steps"].values() if "type" in facts]
    return failed[-1] if failed else None


def _errors(base: type[PynomalyError]) -> Iterator[type[PynomalyError]]:
    yield base
    for error in base.__subclasses__():
        yield from _errors(error)


_UNKNOWN_SECONDS = 60.0
"""An event takes a few seconds to become a run."""

_REPAIR_SECONDS = 120.0
"""A run whose process died is taken up again within this, if anybody does."""


def _may_go_on(settings: Settings, run: Run) -> bool:
    """Whether a run that stopped is to be taken up again, or Prefect has yet to hear of its end."""
    if run.status != "failed" or run.engine != "prefect" or run.finished_at is None:
        return False
    if (seen := _orchestrated(settings, run.id)) is None or not seen.deployed:
        return False
    if seen.kind == "CRASHED":
        since = (datetime.now(UTC) - run.finished_at).total_seconds()
        return seen.attempts < MOST_ATTEMPTS and since < _REPAIR_SECONDS
    return seen.kind not in _ENDED


def _orchestrated(settings: Settings, run_id: str) -> OrchestratedRun | None:
    from pynomaly import operations

    # Between two questions a run may move from the one list to the other, and be in neither.
    for look in (operations.flow_runs, operations.upcoming_runs) * 2:
        for seen in look(settings):
            if seen.run_id == run_id:
                return seen
    return None


def _require_hope(settings: Settings, run: Run | None, run_id: str, waited: float) -> None:
    """Refuse to wait for a run that will not go on."""
    from pynomaly.bootstrap import available_prefect_api

    facts = _orchestrated(settings, run_id)
    nobody_starts_it = available_prefect_api(settings) is None
    if facts is None and run is None and (nobody_starts_it or waited > _UNKNOWN_SECONDS):
        raise UsageError(
            f"nobody knows a run {run_id}",
            hint="see which there are: pynomaly runs list; was the pipeline deployed?",
        )
    if facts is not None and run is None and facts.kind in _ENDED:
        reason = f": {facts.message}" if facts.message else ""
        raise PynomalyError(
            f"run {run_id} ended as {facts.state} before it began{reason}",
            hint="look at it in Prefect's pages, and into prefect/worker.log of PYNOMALY_HOME",
        )
    if facts is not None and run is not None and facts.kind == "CANCELLED":
        raise PynomalyError(f"run {run_id} was cancelled", hint="start it again if need be")


def _state(facts: OrchestratedRun | None) -> str | None:
    return facts.state if facts else None


def _document(run: Run, steps: tuple[StepRecord, ...]) -> Document:
    document: Document = {
        "run_id": run.id,
        "pipeline": run.pipeline,
        "command": run.command,
        "engine": run.engine,
        "status": run.status,
        "error": None,
        "seconds": (run.finished_at - run.started_at).total_seconds() if run.finished_at else None,
        "steps": {step.step: dict(step.summary) for step in steps},
    }
    if run.error is not None:
        message, _, hint = run.error.partition("\n  → ")  # as PynomalyError puts them together
        document["error"] = {
            "type": _failure(document) or PynomalyError.__name__,
            "message": message,
            "hint": hint or None,
            "exit_code": exit_code(document),
        }
    return document
