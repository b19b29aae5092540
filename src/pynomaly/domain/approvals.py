"""A person's consent to a release: who may give it, and how long it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from pynomaly.domain.errors import UsageError
from pynomaly.domain.release_book import one, require
from pynomaly.domain.releases import Approval, Release, gates_digest
from pynomaly.domain.runs import Actor
from pynomaly.domain.transitions import Transition, stopped

__all__ = ["approve", "reject"]


def approve(
    book: Sequence[Release],
    release_id: str,
    actor: Actor,
    at: datetime,
    *,
    trainer: Actor | None,
    manifest_digest: str,
    four_eyes: bool,
    hours: float,
    reason: str = "",
) -> tuple[Transition, ...]:
    """Consent to a waiting release as it is now.

    Args:
        book: All releases of the pipeline.
        release_id: Which one.
        actor: Who consents.
        at: UTC.
        trainer: Who trained the version, if that is on record.
        manifest_digest: Of the model as registered.
        four_eyes: Whether the approver must be somebody else than trainer and proposer.
        hours: How long the consent holds.
        reason: What the approver says.

    Raises:
        ConflictError: It does not wait for approval.
        UsageError: The approver trained or proposed it himself.
    """
    release = one(book, release_id)
    require(release, "pending_approval")
    # By name alone: the same person may come through the command line or through Prefect's pages.
    trained = trainer is not None and actor.name == trainer.name
    own = trained or (release.proposer is not None and actor.name == release.proposer.name)
    if own and four_eyes:
        did = "trained" if trained else "proposed"
        raise UsageError(
            f"{actor.name} {did} version {release.version} of '{release.pipeline}' and cannot "
            "approve it",
            hint="somebody else has to; where one person does everything, set "
            "`rollout: {four_eyes: false}`, which is recorded with the approval",
        )
    until = at + timedelta(hours=hours)
    approval = Approval(actor, at, until, manifest_digest, gates_digest(release), own, reason)
    return (Transition(replace(release, approval=approval), "approve", actor, at, reason),)


def reject(
    book: Sequence[Release], release_id: str, actor: Actor, at: datetime, *, reason: str
) -> tuple[Transition, ...]:
    """Refuse a release that waits for approval.

    Raises:
        ConflictError: It does not wait for approval.
    """
    release = one(book, release_id)
    if release.state == "rejected":
        return ()
    require(release, "pending_approval")
    return (Transition(stopped(release, "rejected"), "reject", actor, at, reason),)
