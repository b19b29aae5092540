"""Waiting for a person without a process: a deployed run suspends and is taken up when answered."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pynomaly.domain.errors import ReleaseBlockedError, UsageError
from pynomaly.domain.runs import Actor
from pynomaly_flows.context import Job, platform, under_flow_run

if TYPE_CHECKING:
    from pynomaly.domain.releases import Release

__all__ = ["can_suspend", "settle", "suspended"]


def can_suspend() -> bool:
    """Whether a worker would take this run up again: only runs of deployments."""
    if not under_flow_run():
        return False
    from prefect.runtime import deployment

    return deployment.id is not None


def suspended(error: BaseException) -> bool:
    """Whether an exception says that Prefect suspends the run, so that nothing went wrong."""
    exceptions = sys.modules.get("prefect.exceptions")
    return exceptions is not None and isinstance(error, exceptions.Pause)


def settle(job: Job, release_id: str) -> None:
    """Suspend the run until a release is approved or rejected, in Prefect's pages or elsewhere.

    The run ends here; once answered it begins anew, finds the steps it has done, and comes back
    with the answer.

    Args:
        job: Of the run.
        release_id: That waits for approval.

    Raises:
        ReleaseBlockedError: It was rejected.
        UsageError: Who answered may not approve it, or did not say who it was.
    """
    from prefect.flow_runs import suspend_flow_run
    from prefect.input import RunInput

    class Answer(RunInput):
        """Approve this release?"""

        approve: bool
        name: str
        reason: str = ""

    steer = platform().steer
    release = steer.release(release_id)
    pipeline = platform().pipeline(job.pipeline)
    answer = suspend_flow_run(
        wait_for_input=Answer.with_initial_data(
            description=_question(release), approve=False, name="", reason=""
        ),
        timeout=int(pipeline.rollout.approval_hours * 3600),
        key=f"approval-{release_id}",
    )
    assert isinstance(answer, Answer)  # the flow is not async
    who = Actor(answer.name.strip() or "somebody in Prefect's pages", "user")
    release = steer.release(release_id)  # as it is by now
    if release.state == "pending_approval" and release.approval is None:
        if answer.approve:
            if pipeline.rollout.four_eyes and not answer.name.strip():
                raise UsageError(
                    f"somebody approved version {release.version} of '{release.pipeline}' without "
                    "a name, and four eyes are asked for",
                    hint=f"approve it by name: pynomaly releases approve {release_id}; and go on: "
                    f"pynomaly release {release.pipeline} --resume",
                )
            release = steer.approve(pipeline, release_id, who, answer.reason)
        else:
            release = steer.reject(release_id, who, answer.reason)
    if release.state == "rejected":
        raise ReleaseBlockedError(
            f"version {release.version} of '{release.pipeline}' was rejected"
            + (f": {answer.reason}" if answer.reason else ""),
            release_id=release_id,
            hint=f"see who and why: pynomaly releases show {release_id}",
        )


def _question(release: Release) -> str:
    gates = "\n".join(f"- **{g.gate}** {g.verdict}: {g.sentence}" for g in release.gates)
    against = f"version {release.champion}" if release.champion is not None else "nothing"
    return (
        f"Version **{release.version}** of **{release.pipeline}** waits for approval; {against} "
        f"serves.\n\nTogether the gates say {release.verdict}:\n\n{gates}\n\n"
        f"Release `{release.id}`. Give your name: it is kept with the release."
    )
