"""The record of a run around a flow's body, the same whichever engine runs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pynomaly.domain.errors import PynomalyError
from pynomaly.domain.identifiers import new_id
from pynomaly.domain.runs import Run, StepRecord
from pynomaly_flows import artifacts
from pynomaly_flows.approval import suspended
from pynomaly_flows.context import Event, Job, emit, platform, under_flow_run

if TYPE_CHECKING:
    from pynomaly.domain.profiles import Profile

__all__ = ["Document", "LiveRun", "recorded_run"]

Document = dict[str, Any]

SHOWN_ALERTS = 5
"""The strongest alerts that a run's document carries; the report shows more."""


@dataclass(slots=True)
class LiveRun:
    """A run while its flow is at work.

    Args:
        job: For the steps.
        profile: Set by flows that make one; the report shows it.
        document: What happened, JSON-able; complete once the run has ended.
    """

    job: Job
    profile: Profile | None = None
    document: Document = field(default_factory=dict)


_WITHOUT_MODELS = ("validate", "profile")
"""Commands that ask no registry; loading it would take a fifth of the memory they need."""


@contextmanager
def recorded_run(command: str, pipeline: str, run_id: str | None) -> Iterator[LiveRun]:
    """Keep a run record of the block and write the run's report at its end, good or bad.

    Args:
        command: What was asked for.
        pipeline: Name of the pipeline; must be configured.
        run_id: An earlier run to take up again; a new one where None.

    Raises:
        UnknownPipelineError: No such pipeline; nothing is recorded.
        ConflictError: Another process carries out this run, or another run of the pipeline is at
            work on what only one may do at a time; nothing is recorded.
    """
    platform().pipeline(pipeline)
    job = Job(pipeline, run_id or _new_run_id())
    live = LiveRun(job)
    records = platform().records
    run = Run(
        id=job.run_id,
        pipeline=pipeline,
        command=command,
        engine="prefect" if under_flow_run() else "direct",
        actor=platform().actor,
        status="running",
        started_at=datetime.now(UTC),
    )
    with platform().hold_run(run.id, pipeline, command) as conclude:
        if records.run(run.id) is None:
            records.start_run(run)
        else:
            records.finish_run(run)  # taken up again
        try:
            if command not in _WITHOUT_MODELS:
                _reconcile(job)
            yield live
        except BaseException as error:
            if suspended(error):
                conclude(replace(run, status="suspended"))
                raise
            message = str(error) if isinstance(error, PynomalyError) else repr(error)
            if isinstance(error, KeyboardInterrupt):
                message = "interrupted"
            failed = replace(run, status="failed", finished_at=datetime.now(UTC), error=message)
            try:
                conclude(failed)
            except PynomalyError as second:
                error.add_note(f"and the end of the run could not be recorded: {second}")
            # What went wrong matters more than a report about it that cannot be written.
            with suppress(PynomalyError, OSError):
                _report(live)
            raise
        conclude(replace(run, status="completed", finished_at=datetime.now(UTC)))
    live.document = _document(job, _report(live))


def _reconcile(job: Job) -> None:
    """Mend what a crash, or somebody, left behind in the registry; on record if there was any."""
    started = datetime.now(UTC)
    found = platform().reconcile(job.pipeline)
    if not found.in_line:
        facts = {
            "moved": dict(found.moved),
            "missing": list(found.missing),
            "problem": found.problem,
        }
        platform().records.add_step(
            StepRecord(job.run_id, "reconcile", "completed", started, datetime.now(UTC), facts)
        )
        emit(Event("finished", "reconcile", facts))


def _new_run_id() -> str:
    if under_flow_run():
        # A flow run that Prefect tries again must find its own steps.
        from prefect.runtime import flow_run

        return str(flow_run.id)
    return new_id(datetime.now(UTC))


def _report(live: LiveRun) -> str:
    path = str(platform().write_report(live.job.run_id, profile=live.profile))
    if under_flow_run():
        artifacts.report_link(live.job, path)
    return path


def _document(job: Job, report: str) -> Document:
    run = platform().records.run(job.run_id)
    assert run is not None  # stored above
    return {
        "run_id": run.id,
        "pipeline": run.pipeline,
        "command": run.command,
        "engine": run.engine,
        "status": run.status,
        "seconds": (run.finished_at - run.started_at).total_seconds() if run.finished_at else None,
        "steps": {s.step: dict(s.summary) for s in platform().records.steps(run.id)},
        "alerts": platform().top_alerts(run.id, SHOWN_ALERTS),
        "report": report,
    }
