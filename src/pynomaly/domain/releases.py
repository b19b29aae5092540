"""A release: one model version on its way to serving, and how it got there."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

from pynomaly.domain.gates import GateResult, Verdict
from pynomaly.domain.pipelines import DecisionPolicy
from pynomaly.domain.rollouts import Rollout, Stage
from pynomaly.domain.runs import Actor

__all__ = [
    "ACTIVE",
    "Approval",
    "ModelVersion",
    "Release",
    "ReleaseEvent",
    "ReleaseState",
    "gates_digest",
]

ReleaseState = Literal[
    "candidate",  # gated, may go on
    "blocked",  # by a gate, for good
    "pending_approval",  # waits for a person
    "staging",  # scores silently
    "canary",  # answers part of the rows
    "production",  # serves
    "superseded",  # served until a newer one did
    "rejected",  # by a person
    "aborted",  # by a person, on its way
    "rolled_back",  # served or answered rows, and was taken back
]

ACTIVE: frozenset[ReleaseState] = frozenset({"pending_approval", "staging", "canary"})
"""States of a release on its way; a pipeline has one such release at most."""


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A registered model version.

    Args:
        pipeline: Registered model name.
        version: Number given by the registry.
        uri: Where its folder can be fetched from the registry.
        manifest_digest: sha256 of its MANIFEST.sha256, hex; checked before anything is loaded.
        run_id: Our run that trained it.
        tracking_run_id: The registry's run.
        training_fingerprint: Content digest of the training snapshot.
        holdout_uri: Staged rows of its training snapshot that it was not fitted on, for gates.
        created_at: UTC.
    """

    pipeline: str
    version: int
    uri: str
    manifest_digest: str
    run_id: str
    tracking_run_id: str
    training_fingerprint: str
    holdout_uri: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's consent to one release as it was then.

    Args:
        actor: Who.
        at: UTC.
        expires_at: UTC; void from then on.
        manifest_digest: Of the model that was approved.
        gates_digest: Of the gate report that was approved.
        own: Whether the approver trained or proposed it himself, which the pipeline's policy then
            allowed.
        reason: What the approver said; may be empty.
    """

    actor: Actor
    at: datetime
    expires_at: datetime
    manifest_digest: str
    gates_digest: str
    own: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Release:
    """One attempt to bring a version, with a decision policy, into production.

    Args:
        id: Unique.
        run_id: Which run of ours asked for it.
        pipeline: Which job.
        version: Challenger.
        champion: Version that served when the gates ran; None for a first release.
        state: Where it stands.
        verdict: Of all gates together.
        gates: Every gate's result.
        created_at: UTC.
        promoted_at: UTC; None unless it reached production.
        fence: Of its last transition; grows with every transition of the pipeline.
        decision: The policy that flags rows while it serves; None for releases of old, which serve
            with the configured one.
        rollout: Its steps; None for releases of old.
        to: Where it is to get.
        step: Of its rollout; None before it began and once it serves.
        paused: Whether it neither advances nor rolls back by itself.
        needs_approval: Whether a person has to consent before it answers rows.
        approval: The consent.
        proposer: Who asked for it.
        replaced: Id of the release that served before it.
    """

    id: str
    run_id: str
    pipeline: str
    version: int
    champion: int | None
    state: ReleaseState
    verdict: Verdict
    gates: tuple[GateResult, ...]
    created_at: datetime
    promoted_at: datetime | None = None
    fence: int = 0
    decision: DecisionPolicy | None = None
    rollout: Rollout | None = None
    to: Stage = "production"
    step: int | None = None
    paused: bool = False
    needs_approval: bool = False
    approval: Approval | None = None
    proposer: Actor | None = None
    replaced: str | None = None

    @property
    def share(self) -> float:
        """Share of units this release answers, 0–1."""
        if self.state == "production":
            return 1.0
        if self.rollout is None or self.step is None or self.state != "canary":
            return 0.0
        return self.rollout.shares[self.step]


@dataclass(frozen=True, slots=True)
class ReleaseEvent:
    """One transition of a release, as it was recorded in the transaction that made it.

    Args:
        release_id: Of which release.
        pipeline: Which job.
        version: Of the model.
        fence: Unique and growing within the pipeline.
        action: ``submit approve void reject begin advance promote supersede pause resume abort
            fail roll_back restore``.
        before: State before.
        after: State after.
        step: Of the rollout, after.
        actor: Who did it; a flow acts for whoever started it.
        at: UTC.
        reason: What the actor said, or what was seen; may be empty.
    """

    release_id: str
    pipeline: str
    version: int
    fence: int
    action: str
    before: ReleaseState
    after: ReleaseState
    step: int | None
    actor: Actor
    at: datetime
    reason: str


def gates_digest(release: Release) -> str:
    """Return the sha256 (hex) of what the gates said, with every number."""
    said = [asdict(gate) for gate in release.gates]
    text = json.dumps([said, release.verdict], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
