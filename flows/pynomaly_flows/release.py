"""Bringing a registered version into production."""

from __future__ import annotations

from collections.abc import Sequence

from pynomaly.domain.errors import ApprovalPendingError
from pynomaly.domain.rollouts import Stage, Strategy  # Prefect reads the signature
from pynomaly_flows.approval import can_suspend, settle
from pynomaly_flows.events import announce
from pynomaly_flows.runs import Document, recorded_run
from pynomaly_flows.tasks import gate, promote

__all__ = ["release"]


def release(
    pipeline: str,
    version: int | None = None,
    strategy: Strategy | None = None,
    to: Stage = "production",
    accept_review: bool = False,
    override: Sequence[str] = (),
    reason: str = "",
    resume: bool = False,
    run_id: str | None = None,
) -> Document:
    """Gate a version and begin to release it if every gate lets it.

    Args:
        pipeline: Name of a configured pipeline.
        version: To release; the newest where None.
        strategy: How it takes over; the pipeline's where None.
        to: ``staging`` lets it score silently and stops there.
        accept_review: Approve it in the same breath, if this person may.
        override: Gates that block or are inconclusive and shall not be in the way.
        reason: Why they shall not.
        resume: Go on with the release on its way instead: after its approval, or from staging.
        run_id: A failed run to take up again.
    """
    with recorded_run("release", pipeline, run_id) as run:
        release_id = None if resume else gate(run.job, version, strategy, to, override, reason).id
        try:
            released = promote(run.job, release_id, accept_review)
        except ApprovalPendingError as pending:
            if not can_suspend():
                raise
            settle(run.job, pending.release_id)
            # This one: by now another one may be on its way.
            released = promote(run.job, pending.release_id, attempt=2)
        if released.state == "production":
            announce(run.job, "release-promoted", {"version": released.version})
    return run.document
