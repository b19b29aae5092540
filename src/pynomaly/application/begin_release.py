"""Let a gated release take its first step: our table first, then the registry follows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from pynomaly.application.gate import require_passed, review_asked
from pynomaly.application.ports.records import Records
from pynomaly.application.steer import SteerReleases
from pynomaly.domain.errors import (
    ApprovalPendingError,
    ConflictError,
    ReleaseBlockedError,
    UsageError,
)
from pynomaly.domain.identifiers import new_salt
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.releases import Release
from pynomaly.domain.rollouts import Rollout, plan_rollout
from pynomaly.domain.runs import Actor
from pynomaly.domain.transitions import begin

__all__ = ["BeginRelease"]


@dataclass(frozen=True, slots=True)
class BeginRelease:
    """Take a gated release to its first step: staging, the first rows, or production."""

    records: Records
    steer: SteerReleases

    def __call__(
        self, pipeline: Pipeline, release_id: str, actor: Actor, *, accept_review: bool = False
    ) -> Release:
        """Begin and return the stored release; safe to repeat.

        Args:
            pipeline: Its rollout policy says who has to approve.
            release_id: Of a gated release.
            actor: Who asks.
            accept_review: Whether the actor approves in the same breath.

        Raises:
            ReleaseBlockedError: A gate is in the way, or somebody has rejected or aborted it.
            ApprovalPendingError: Somebody has to approve first.
            ConflictError: Another champion serves, or another release is on its way.
            UsageError: The actor may not approve it.
        """
        release = self.records.release(release_id)
        if release is None:
            raise UsageError(f"there is no release {release_id}")
        require_passed(release)
        release = self._begin(pipeline, release, actor)
        if accept_review and release.state == "pending_approval" and release.approval is None:
            self.steer.approve(pipeline, release.id, actor, "accepted as it was released")
            release = self._begin(pipeline, release, actor)
        if release.state == "pending_approval":
            raise _pending(release, self.records)
        return release

    def further(self, pipeline: Pipeline, actor: Actor) -> Release:
        """Take the release on its way further: after its approval, or from staging on.

        Args:
            pipeline: Which one.
            actor: Who asks.

        Raises:
            UsageError: None is on its way.
            ApprovalPendingError: Nobody has approved yet.
            ConflictError: Another champion serves.
        """
        release = self.records.on_its_way(pipeline.name)
        if release is None:
            raise UsageError(
                f"no release of '{pipeline.name}' is on its way",
                hint=f"begin one: pynomaly release {pipeline.name}",
            )
        plan = None
        if release.state == "staging" and release.to == "staging":
            plan = plan_rollout(
                pipeline.rollout, new_salt(), to="production", first=release.champion is None
            )
        release = self._begin(pipeline, release, actor, plan)
        if release.state == "pending_approval":
            raise _pending(release, self.records)
        return release

    def _begin(
        self, pipeline: Pipeline, release: Release, actor: Actor, further: Rollout | None = None
    ) -> Release:
        version = self.records.version(release.pipeline, release.version)
        assert version is not None  # the table refuses releases of unknown versions
        rule = partial(
            begin,
            release_id=release.id,
            actor=actor,
            at=datetime.now(UTC),
            manifest_digest=version.manifest_digest,
            approval_required=pipeline.rollout.approval == "required",
            four_eyes=pipeline.rollout.four_eyes,
            further=further,
        )
        try:
            changed = self.records.move(release.pipeline, rule)
        except ConflictError:
            self._require_wanted(release)
            raise
        stored = changed[0] if changed else self.records.release(release.id)
        assert stored is not None  # it was there before
        return stored

    def _require_wanted(self, release: Release) -> None:
        """Say who refused or gave up a release, and why; nobody may take it further."""
        ended = {"reject": "rejected", "abort": "aborted"}
        events = self.records.events(release.pipeline, release.id)
        if not events or (what := ended.get(events[-1].action)) is None:
            return
        last = events[-1]
        raise ReleaseBlockedError(
            f"version {release.version} of '{release.pipeline}' was {what} by {last.actor.name}"
            + (f": {last.reason}" if last.reason else ""),
            release_id=release.id,
            hint=f"look at it: pynomaly releases show {release.id}; "
            f"begin anew: pynomaly release {release.pipeline} --version {release.version}",
        )


def _pending(release: Release, records: Records) -> ApprovalPendingError:
    events = records.events(release.pipeline, release.id)
    void = f" ({events[-1].reason})" if events and events[-1].action == "void" else ""
    asked = review_asked(release)
    serving = (
        f"version {release.champion} keeps serving"
        if release.champion is not None
        else "nothing serves yet"
    )
    return ApprovalPendingError(
        f"version {release.version} of '{release.pipeline}' waits for approval{void}, "
        f"{serving}{': ' + asked if asked else ''}",
        release_id=release.id,
        hint=f"look at it: pynomaly releases show {release.id}; then approve or reject it: "
        f"pynomaly releases approve {release.id}; and go on: "
        f"pynomaly release {release.pipeline} --resume",
    )
