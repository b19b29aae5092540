"""Watching what was scored."""

from __future__ import annotations

from pynomaly_flows.context import Job, platform
from pynomaly_flows.events import announce
from pynomaly_flows.runs import Document, recorded_run
from pynomaly_flows.tasks import monitor

__all__ = ["monitoring"]

_LOOKED_AT = 100


def monitoring(pipeline: str, run_id: str | None = None) -> Document:
    """Judge the last scored batch; drift is announced as ``pynomaly.drift-detected``.

    Each batch is announced once, however often it is looked at: one drift means one training.

    Args:
        pipeline: Name of a configured pipeline.
        run_id: A failed run to take up again.
    """
    with recorded_run("monitor", pipeline, run_id) as run:
        found = monitor(run.job)
        if found.level == "drift" and not _announced(run.job, found.batch_id):
            announce(
                run.job,
                "drift-detected",
                {
                    "batch_id": found.batch_id,
                    "model_version": found.model_version,
                    "findings": {f.check: f.sentence for f in found.findings if f.level == "drift"},
                },
            )
    return run.document


def _announced(job: Job, batch_id: str) -> bool:
    """Whether an earlier run under Prefect found the same batch to have drifted."""
    records = platform().records
    return any(
        (step.summary.get("batch_id"), step.summary.get("level")) == (batch_id, "drift")
        for run in records.runs(job.pipeline, _LOOKED_AT)
        if (run.command, run.engine) == ("monitor", "prefect") and run.id != job.run_id
        for step in records.steps(run.id)
    )
