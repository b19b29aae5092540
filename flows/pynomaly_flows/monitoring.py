"""Watching what was scored."""

from __future__ import annotations

from pynomaly_flows.events import announce
from pynomaly_flows.runs import Document, recorded_run
from pynomaly_flows.tasks import monitor

__all__ = ["monitoring"]


def monitoring(pipeline: str, run_id: str | None = None) -> Document:
    """Judge the last scored batch; drift is announced as ``pynomaly.drift-detected``.

    Args:
        pipeline: Name of a configured pipeline.
        run_id: A failed run to take up again.
    """
    with recorded_run("monitor", pipeline, run_id) as run:
        found = monitor(run.job)
        if found.level == "drift":
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
