"""Bringing a registered version into production."""

from __future__ import annotations

from pynomaly_flows.events import announce
from pynomaly_flows.runs import Document, recorded_run
from pynomaly_flows.tasks import gate, promote

__all__ = ["release"]


def release(
    pipeline: str,
    version: int | None = None,
    accept_review: bool = False,
    run_id: str | None = None,
) -> Document:
    """Gate a version and promote it if every gate lets it.

    Args:
        pipeline: Name of a configured pipeline.
        version: To release; the newest where None.
        accept_review: Promote even where a gate asks a person to look, because one did.
        run_id: A failed run to take up again.
    """
    with recorded_run("release", pipeline, run_id) as run:
        gated = gate(run.job, version)
        released = promote(run.job, gated.id, accept_review)
        if released.state == "production":
            announce(run.job, "release-promoted", {"version": released.version})
    return run.document
