"""What people do to releases on their way, and to the one that serves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from pynomaly.application.champion import ModelLoader
from pynomaly.application.ports.records import Records
from pynomaly.application.queries import known_release
from pynomaly.domain.approvals import approve, reject
from pynomaly.domain.errors import IntegrityError, NoChampionError
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.releases import Release
from pynomaly.domain.rollbacks import restorable, roll_back
from pynomaly.domain.runs import Actor
from pynomaly.domain.transitions import Transition, abort, pause, resume

__all__ = ["SteerReleases"]


@dataclass(frozen=True, slots=True)
class SteerReleases:
    """Approve, reject, pause, resume, abort and roll back; each is one transaction."""

    records: Records
    loader: ModelLoader

    def release(self, release_id: str) -> Release:
        """Return a release.

        Raises:
            UsageError: There is no such release.
        """
        return known_release(self.records, release_id)

    def approve(self, pipeline: Pipeline, release_id: str, actor: Actor, reason: str) -> Release:
        """Consent to a release that waits; it goes on when it is resumed.

        Args:
            pipeline: Its rollout policy says who may and for how long.
            release_id: Which release.
            actor: Who consents.
            reason: What the actor says; may be empty.

        Raises:
            ConflictError: It does not wait for approval.
            UsageError: The actor trained or proposed it, and somebody else has to approve.
        """
        release = self.release(release_id)
        version = self.loader.version(release.pipeline, release.version)
        trained = self.records.run(version.run_id)
        return self._move(
            release,
            partial(
                approve,
                trainer=trained.actor if trained else None,
                manifest_digest=version.manifest_digest,
                four_eyes=pipeline.rollout.four_eyes,
                hours=pipeline.rollout.approval_hours,
            ),
            actor,
            reason,
        )

    def reject(self, release_id: str, actor: Actor, reason: str) -> Release:
        """Refuse a release that waits; raises ConflictError if it does not."""
        return self._move(self.release(release_id), reject, actor, reason)

    def pause(self, release_id: str, actor: Actor, reason: str) -> Release:
        """Keep a rollout where it is; raises ConflictError if it is not on its way."""
        return self._move(self.release(release_id), pause, actor, reason)

    def resume(self, release_id: str, actor: Actor, reason: str) -> Release:
        """Let a paused rollout go on; raises ConflictError if it is not on its way."""
        return self._move(self.release(release_id), resume, actor, reason)

    def abort(self, release_id: str, actor: Actor, reason: str) -> Release:
        """Give up a release on its way; raises ConflictError if it serves or has ended."""
        return self._move(self.release(release_id), abort, actor, reason)

    def roll_back(self, pipeline: str, to: int | None, actor: Actor, reason: str) -> Release:
        """Restore an earlier release, its model and its decision policy; a rollout is stopped.

        Where nothing is left to go back to, a rollout is all there is to take back.

        Args:
            pipeline: Which one.
            to: Model version to restore; what served before where None.
            actor: Who.
            reason: Why.

        Returns:
            The release that serves now.

        Raises:
            NoChampionError: Nothing serves.
            UsageError: Nothing to go back to, or that version never served.
            IntegrityError: The model to restore cannot be loaded; nothing was changed.
            ConflictError: Somebody else changed what serves meanwhile.
        """
        serving = self.records.production(pipeline)
        if serving is None:
            raise NoChampionError(
                f"'{pipeline}' has nothing to roll back: no release serves",
                hint=f"release a version: pynomaly release {pipeline}",
            )
        book = self.records.releases(pipeline, 1_000_000)
        target = restorable(book, pipeline, serving, to)
        if target is not None:
            self._require_sound(target, serving)
        rule = partial(
            roll_back,
            pipeline=pipeline,
            actor=actor,
            at=datetime.now(UTC),
            to=to,
            from_=serving.id,
            reason=reason,
        )
        changed, *_ = self.records.move(pipeline, rule)
        return changed if target is not None else serving

    def _require_sound(self, target: Release, serving: Release) -> None:
        try:
            self.loader.load(self.loader.version(target.pipeline, target.version))
        except IntegrityError as error:
            raise IntegrityError(
                f"version {target.version} cannot be restored, version {serving.version} keeps "
                f"serving: {error.message}",
                hint="choose another one with --to, or mend the registry",
            ) from error

    def _move(
        self,
        release: Release,
        rule: Callable[..., tuple[Transition, ...]],
        actor: Actor,
        reason: str,
    ) -> Release:
        given = {"release_id": release.id, "actor": actor, "at": datetime.now(UTC)}
        self.records.move(release.pipeline, partial(rule, **given, reason=reason))
        return self.release(release.id)
