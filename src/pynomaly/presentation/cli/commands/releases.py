"""``pynomaly releases``: look at releases, and steer the one on its way."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from pynomaly.presentation.cli.options import Command, Group, pipeline_argument, reason_option
from pynomaly.presentation.cli.session import Session

if TYPE_CHECKING:
    from pynomaly.domain.releases import Release

__all__ = ["answer_run", "command"]

_release = click.argument("release_id", metavar="RELEASE")


@click.group(
    "releases",
    cls=Group,
    example="pynomaly releases list payments\n"
    "pynomaly releases show 019b76da-a800-7000-8000-000000000000",
)
def command() -> None:
    """Look at releases, and steer the one on its way."""


@command.command("list", cls=Command, example="pynomaly releases list payments")
@pipeline_argument
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Releases to list."
)
@click.pass_obj
def list_releases(session: Session, pipeline: str, limit: int) -> None:
    """List a pipeline's releases and where each stands, newest first."""
    from pynomaly.presentation.cli.render.releases import releases_lines

    session.require_known(pipeline)
    document = session.platform.queries.releases(pipeline, limit)
    session.present(document, releases_lines(document))


@command.command(
    "show", cls=Command, example="pynomaly releases show 019b76da-a800-7000-8000-000000000000"
)
@_release
@click.pass_obj
def show(session: Session, release_id: str) -> None:
    """Show a release: gates, approval, history, and what its rollout saw so far."""
    from pynomaly.presentation.cli.render.releases import release_lines

    document = session.platform.queries.release(release_id)
    session.present(document, release_lines(document))


@command.command(
    "watch", cls=Command, example="pynomaly releases watch 019b76da-a800-7000-8000-000000000000"
)
@_release
@click.option(
    "--seconds", type=click.FloatRange(min=0), help="Stop watching after so long; by default never."
)
@click.pass_obj
def watch(session: Session, release_id: str, seconds: float | None) -> int:
    """Follow a release until it serves (exit 0), has ended otherwise (4), or time is up (5)."""
    from pynomaly.presentation.cli.render.releases import event_line, release_lines

    queries = session.platform.queries
    document = _follow(
        lambda: queries.release(release_id),
        seconds,
        lambda event: click.echo(event_line(event), err=True),
    )
    session.present(document, release_lines(document))
    state = document["state"]
    if state in ("production", "superseded"):
        return 0
    return 5 if state in _UNDER_WAY else 4


_UNDER_WAY = ("candidate", "pending_approval", "staging", "canary")
_POLL_SECONDS = 1.0


def _follow(
    look: Callable[[], dict[str, object]],
    seconds: float | None,
    tell: Callable[[dict[str, object]], None],
) -> dict[str, object]:
    import time

    until = None if seconds is None else time.monotonic() + seconds
    told = 0
    while True:
        document = look()
        events = document["events"]
        assert isinstance(events, list)
        for event in events[told:]:
            tell(event)
        told = len(events)
        over = until is not None and time.monotonic() >= until
        if document["state"] not in _UNDER_WAY or over:
            return document
        time.sleep(_POLL_SECONDS)


def answer_run(session: Session, release: Release, approve: bool, reason: str) -> bool:
    """Let the run that waits for a person's answer go on, if there is one."""
    from pynomaly import operations
    from pynomaly.domain.errors import ConfigurationError

    said = {"approve": approve, "name": session.platform.actor.name, "reason": reason}
    try:
        return operations.answer_run(session.settings, release.run_id, said)
    except ConfigurationError:  # the answer is on record, and holds without Prefect
        return False


def _steering(
    name: str, verb: str, example: str, *, required: bool, answer: bool | None = None
) -> Callable[..., click.Command]:
    """Make a command out of something that is done to one release, with a reason."""

    def decorate(act: Callable[[Session, str, str], Release]) -> click.Command:
        @command.command(name, cls=Command, help=act.__doc__, example=example)
        @_release
        @reason_option(f"Why {verb}; kept with it.", required=required)
        @click.pass_obj
        def run(session: Session, release_id: str, reason: str) -> None:
            from pynomaly.presentation.cli.render.releases import registry_lines, steered_lines

            before = session.platform.steer.release(release_id)
            release = act(session, release_id, reason)
            followed = session.platform.reconcile(release.pipeline)
            document = session.platform.queries.release(release.id)
            taken_up = answer is not None and answer_run(session, release, answer, reason)
            changed = release.fence != before.fence
            lines = [*registry_lines(followed), *steered_lines(document, changed)]
            if taken_up:
                goes = "goes on" if answer else "ends"
                lines.insert(0, f"run {release.run_id}, which waited for an answer, {goes}")
            session.present({**document, "registry": followed, "run_goes_on": taken_up}, lines)

        return run

    return decorate


_EXAMPLE = "019b76da-a800-7000-8000-000000000000"


@_steering(
    "approve",
    "you approve",
    f'pynomaly releases approve {_EXAMPLE} --reason "seen"',
    required=False,
    answer=True,
)
def approve(session: Session, release_id: str, reason: str) -> Release:
    """Approve a release that waits; `pynomaly release PIPELINE --resume` then goes on."""
    platform = session.platform
    pipeline = platform.pipeline(platform.steer.release(release_id).pipeline)
    return platform.steer.approve(pipeline, release_id, platform.actor, reason)


@_steering(
    "reject",
    "you reject",
    f'pynomaly releases reject {_EXAMPLE} --reason "too few rows"',
    required=True,
    answer=False,
)
def reject(session: Session, release_id: str, reason: str) -> Release:
    """Reject a release that waits for approval; the champion keeps serving."""
    return session.platform.steer.reject(release_id, session.platform.actor, reason)


@_steering("pause", "you pause it", f"pynomaly releases pause {_EXAMPLE}", required=False)
def pause(session: Session, release_id: str, reason: str) -> Release:
    """Keep a rollout where it is; it neither advances nor rolls back by itself."""
    return session.platform.steer.pause(release_id, session.platform.actor, reason)


@_steering("resume", "it may go on", f"pynomaly releases resume {_EXAMPLE}", required=False)
def resume(session: Session, release_id: str, reason: str) -> Release:
    """Let a paused rollout go on."""
    return session.platform.steer.resume(release_id, session.platform.actor, reason)


@_steering(
    "abort",
    "you abort it",
    f'pynomaly releases abort {_EXAMPLE} --reason "wrong data"',
    required=True,
    answer=False,
)
def abort(session: Session, release_id: str, reason: str) -> Release:
    """Give up a release on its way; the champion answers every row again."""
    return session.platform.steer.abort(release_id, session.platform.actor, reason)


@command.command("reconcile", cls=Command, example="pynomaly releases reconcile payments")
@pipeline_argument
@click.pass_obj
def reconcile(session: Session, pipeline: str) -> None:
    """Make the registry's aliases and tags say what our records decided, and report what is lost."""
    from pynomaly.domain.errors import IntegrityError, PynomalyError
    from pynomaly.presentation.cli.render.releases import registry_lines

    session.require_known(pipeline)
    found = session.platform.reconcile(pipeline)
    if found.problem:
        raise PynomalyError(
            f"the registry could not be brought into line: {found.problem}",
            hint="what serves is decided by our records and goes on; try again",
        )
    if found.missing:
        lost = ", ".join(map(str, found.missing))
        raise IntegrityError(
            f"the registry has lost version {lost} of '{pipeline}', which our records need",
            hint="restore it from a backup of the registry, or release another version; "
            "a rollback to a lost version is refused",
        )
    session.present({"pipeline": pipeline, "registry": found}, registry_lines(found))
