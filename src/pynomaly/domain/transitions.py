"""The rules by which releases of a pipeline move; pure, so that every store applies the same.

```
candidate ─┬─► pending_approval ─► staging ─► canary ─► production ─► superseded
           │          │               │          │           │            │
           │          ▼               ▼          ▼           ▼            ▼
           │       rejected        aborted   rolled_back  rolled_back  production (roll back to it)
           └────────────────────────(without approval or steps)──► production
```

A rule takes all releases of the pipeline and returns what changes; nothing where it was carried
out already, so that a decision whose answer was lost can be repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pynomaly.domain.errors import ConflictError, ReleaseBlockedError
from pynomaly.domain.release_book import one, require, require_champion, serving_in
from pynomaly.domain.releases import (
    ACTIVE,
    Approval,
    Release,
    ReleaseEvent,
    ReleaseState,
    gates_digest,
)
from pynomaly.domain.rollouts import Rollout
from pynomaly.domain.runs import Actor

__all__ = [
    "Rule",
    "Transition",
    "abort",
    "advance",
    "begin",
    "event_of",
    "fail",
    "pause",
    "resume",
    "stopped",
]


@dataclass(frozen=True, slots=True)
class Transition:
    """One release as it is to be, and why.

    Args:
        release: Afterwards; its fence is given by the store.
        action: See :class:`~pynomaly.domain.releases.ReleaseEvent`.
        actor: Who.
        at: UTC.
        reason: For people; may be empty.
    """

    release: Release
    action: str
    actor: Actor
    at: datetime
    reason: str = ""


def event_of(transition: Transition, before: ReleaseState, fence: int) -> ReleaseEvent:
    """Return the record of a transition.

    Args:
        transition: That is carried out.
        before: State of the release before it.
        fence: Given by the store.
    """
    release = transition.release
    return ReleaseEvent(
        release_id=release.id,
        pipeline=release.pipeline,
        version=release.version,
        fence=fence,
        action=transition.action,
        before=before,
        after=release.state,
        step=release.step,
        actor=transition.actor,
        at=transition.at,
        reason=transition.reason,
    )


Rule = Callable[[Sequence[Release]], tuple[Transition, ...]]


def begin(
    book: Sequence[Release],
    release_id: str,
    actor: Actor,
    at: datetime,
    *,
    manifest_digest: str,
    approval_required: bool = False,
    four_eyes: bool = False,
    further: Rollout | None = None,
    reason: str = "",
) -> tuple[Transition, ...]:
    """Take the first step of a gated release, or have it wait for approval.

    Args:
        book: All releases of the pipeline.
        release_id: Which one.
        actor: Who.
        at: UTC.
        manifest_digest: Of the model as registered; an approval of another one is void.
        approval_required: Whether a release that was only to be staged needs consent from here on.
        four_eyes: Whether an approval by who trained or proposed it is void.
        further: Steps to production of a release that was only to be staged.
        reason: For people.

    Raises:
        ReleaseBlockedError: A gate had blocked it.
        ConflictError: It has left that stage, another champion serves, or another release is on
            its way.
    """
    release = one(book, release_id)
    if release.state == "production" or (release.state in ("staging", "canary") and not further):
        return ()  # carried out already
    if release.state == "blocked":
        raise ReleaseBlockedError(
            f"release {release.id} of '{release.pipeline}' was blocked by its gates",
            release_id=release.id,
            hint="train again, or change the pipeline's release policy",
        )
    continues = release.state == "staging" and release.to == "staging"
    if not continues:
        require(release, "candidate", "pending_approval")
    require_champion(book, release)
    make_room = _make_room(book, release, actor, at)
    if further and continues:
        steps = further.after(release.rollout) if release.rollout else further
        release = replace(
            release,
            to="production",
            rollout=steps,
            step=None,
            needs_approval=release.needs_approval or approval_required,
        )
    if release.needs_approval and release.to == "production":
        if release.approval is None:
            waiting = replace(release, state="pending_approval", step=None)
            # Waiting already: said once.
            changed = waiting != one(book, release_id)
            submitted = Transition(waiting, "submit", actor, at, reason)
            return (submitted, *make_room) if changed else ()
        if why := _why_void(release, release.approval, at, manifest_digest, four_eyes):
            waiting = replace(release, state="pending_approval", approval=None, step=None)
            return (Transition(waiting, "void", actor, at, why),)
    first = release.rollout.first if release.rollout else 0
    return (*_enter(book, release, first, "begin", actor, at, reason), *make_room)


def advance(
    book: Sequence[Release], release_id: str, actor: Actor, at: datetime, *, step: int, reason: str
) -> tuple[Transition, ...]:
    """Take the next step of a rollout.

    Args:
        book: All releases of the pipeline.
        release_id: Which one.
        actor: Who.
        at: UTC.
        step: That was judged; if it has left that one, nothing is done.
        reason: What was seen.

    Raises:
        ConflictError: Another champion serves.
    """
    release = one(book, release_id)
    if not _judged(release, step) or release.to == "staging":
        return ()
    require_champion(book, release)
    return _enter(book, release, step + 1, "advance", actor, at, reason)


def fail(
    book: Sequence[Release], release_id: str, actor: Actor, at: datetime, *, step: int, reason: str
) -> tuple[Transition, ...]:
    """Take a rollout back because of what was seen; the arguments are those of :func:`advance`."""
    release = one(book, release_id)
    if not _judged(release, step):
        return ()
    return (Transition(stopped(release, "rolled_back"), "fail", actor, at, reason),)


def pause(
    book: Sequence[Release], release_id: str, actor: Actor, at: datetime, *, reason: str = ""
) -> tuple[Transition, ...]:
    """Keep a rollout where it is: it neither advances nor rolls back until resumed.

    Raises:
        ConflictError: It is not on its way.
    """
    return _paused(book, release_id, actor, at, reason, to=True)


def resume(
    book: Sequence[Release], release_id: str, actor: Actor, at: datetime, *, reason: str = ""
) -> tuple[Transition, ...]:
    """Let a paused rollout go on.

    Raises:
        ConflictError: It is not on its way.
    """
    return _paused(book, release_id, actor, at, reason, to=False)


def abort(
    book: Sequence[Release], release_id: str, actor: Actor, at: datetime, *, reason: str
) -> tuple[Transition, ...]:
    """Give a release up before it serves; the champion answers everything again.

    Raises:
        ConflictError: It serves, or has ended.
    """
    release = one(book, release_id)
    if release.state == "aborted":
        return ()
    require(release, "candidate", *ACTIVE)
    return (Transition(stopped(release, "aborted"), "abort", actor, at, reason),)


def _enter(
    book: Sequence[Release],
    release: Release,
    step: int,
    action: str,
    actor: Actor,
    at: datetime,
    reason: str,
) -> tuple[Transition, ...]:
    shares = release.rollout.shares if release.rollout else ()
    if step < len(shares):
        state: ReleaseState = "canary" if shares[step] else "staging"
        return (Transition(replace(release, state=state, step=step), action, actor, at, reason),)
    serving = serving_in(book)
    promoted = replace(
        release,
        state="production",
        step=None,
        promoted_at=at,
        replaced=serving.id if serving else None,
    )
    transitions = [Transition(promoted, "promote", actor, at, reason)]
    if serving:
        after = f"version {release.version} serves"
        transitions.append(
            Transition(replace(serving, state="superseded"), "supersede", actor, at, after)
        )
    return tuple(transitions)


def _paused(
    book: Sequence[Release], release_id: str, actor: Actor, at: datetime, reason: str, *, to: bool
) -> tuple[Transition, ...]:
    release = one(book, release_id)
    require(release, "staging", "canary")
    if release.paused == to:
        return ()
    action = "pause" if to else "resume"
    return (Transition(replace(release, paused=to), action, actor, at, reason),)


def stopped(release: Release, state: ReleaseState) -> Release:
    """Return a release that has ended on its way."""
    return replace(release, state=state, step=None, paused=False)


def _judged(release: Release, step: int) -> bool:
    """Whether a release is still where it was judged, and may move by itself."""
    return release.state in ("staging", "canary") and release.step == step and not release.paused


def _make_room(
    book: Sequence[Release], release: Release, actor: Actor, at: datetime
) -> tuple[Transition, ...]:
    """Let a newer release take the place of one that waits for a person; not of one at work."""
    room = []
    for other in (it for it in book if it.state in ACTIVE and it.id != release.id):
        if other.state != "pending_approval" or other.created_at > release.created_at:
            raise ConflictError(
                f"version {other.version} of '{other.pipeline}' is on its way already "
                f"({other.state.replace('_', ' ')})",
                hint=f"wait for it, or give it up: pynomaly releases abort {other.id} --reason …",
            )
        why = f"a newer release of version {release.version} took its place before anybody approved it"
        room.append(Transition(stopped(other, "aborted"), "abort", actor, at, why))
    return tuple(room)


def _why_void(
    release: Release, approval: Approval, at: datetime, manifest_digest: str, four_eyes: bool
) -> str | None:
    """Return why an approval does not hold, or None."""
    if at >= approval.expires_at:
        return f"the approval by {approval.actor.name} expired at {approval.expires_at:%F %R} UTC"
    if approval.manifest_digest != manifest_digest:
        return "the model is not the one that was approved"
    if approval.gates_digest != gates_digest(release):
        return "the gate report is not the one that was approved"
    if four_eyes and approval.own:
        return f"{approval.actor.name}, who approved it, trained or proposed it"
    return None
