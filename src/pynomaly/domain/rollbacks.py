"""Going back to a release that served before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from pynomaly.domain.errors import ConflictError, UsageError
from pynomaly.domain.release_book import serving_in
from pynomaly.domain.releases import ACTIVE, Release
from pynomaly.domain.runs import Actor
from pynomaly.domain.transitions import Transition, stopped

__all__ = ["restorable", "roll_back"]


def roll_back(
    book: Sequence[Release],
    pipeline: str,
    actor: Actor,
    at: datetime,
    *,
    to: int | None,
    from_: str,
    reason: str,
) -> tuple[Transition, ...]:
    """Restore an earlier release, model and decision policy alike, and stop a running rollout.

    Where nothing is left to go back to, and no version is named, the rollout alone is stopped.

    Args:
        book: All releases of the pipeline.
        pipeline: Which one.
        actor: Who.
        at: UTC.
        to: Model version to restore; what served before where None.
        from_: Id of the release that serves in the eyes of who asks.
        reason: Why.

    Raises:
        ConflictError: Another release serves by now.
        UsageError: Nothing to go back to, or that version never served.
    """
    serving = serving_in(book)
    if serving is None or serving.id != from_:
        now = f"version {serving.version}" if serving else "nothing"
        raise ConflictError(
            f"'{pipeline}' was to be rolled back, but meanwhile {now} serves",
            hint=f"look again: pynomaly releases list {pipeline}",
        )
    target = restorable(book, pipeline, serving, to)
    meanwhile = "rolled back meanwhile: " if target else ""
    given_up = tuple(
        Transition(stopped(active, "aborted"), "abort", actor, at, f"{meanwhile}{reason}")
        for active in book
        if active.state in ACTIVE
    )
    if target is None:
        return given_up
    return (
        Transition(
            replace(target, state="production", promoted_at=at), "restore", actor, at, reason
        ),
        Transition(replace(serving, state="rolled_back"), "roll_back", actor, at, reason),
        *given_up,
    )


def restorable(
    book: Sequence[Release], pipeline: str, serving: Release, to: int | None
) -> Release | None:
    """Return the release that a rollback restores; None where it can only stop a rollout.

    Args:
        book: All releases of the pipeline.
        pipeline: Its name.
        serving: What serves.
        to: Model version; what served before where None.

    Raises:
        UsageError: Nothing to go back to, or that version never served, or was rolled back.
    """
    served = [release for release in book if release.state == "superseded"]
    if to is None:
        before = [release for release in served if release.id == serving.replaced]
    else:
        before = [release for release in served if release.version == to]
    if before:
        return max(before, key=lambda release: release.fence)
    if to is not None and to == serving.version:
        raise UsageError(f"version {to} of '{pipeline}' serves already")
    if any(one.version == to and one.state == "rolled_back" and one.promoted_at for one in book):
        raise UsageError(
            f"version {to} of '{pipeline}' was rolled back; nothing was changed",
            hint=f"it has to pass the gates again: pynomaly release {pipeline} --version {to}",
        )
    active = next((release for release in book if release.state in ACTIVE), None)
    if to is None and active:
        return None
    versions = ", ".join(str(v) for v in sorted({release.version for release in served}))
    what = (
        f"version {to} of '{pipeline}' never served"
        if to
        else f"'{pipeline}' has no release before"
    )
    hint = (
        f"these can be restored: --to {versions}"
        if versions
        else f"no other version ever served: train a better one: pynomaly train {pipeline}"
    )
    if active:
        hint += (
            f"; to stop version {active.version}: pynomaly releases abort {active.id} --reason …"
        )
    raise UsageError(f"{what}; nothing was changed", hint=hint)
