"""``pynomaly rollback``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pynomaly.presentation.cli.options import Command, pipeline_argument, reason_option
from pynomaly.presentation.cli.session import Session

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["command"]


@click.command(
    "rollback",
    cls=Command,
    example='pynomaly rollback payments --reason "alerts doubled since Monday"',
)
@pipeline_argument
@click.option(
    "--to", type=click.IntRange(min=1), metavar="VERSION", help="By default what served before."
)
@reason_option("Kept with the release.", required=True)
@click.pass_obj
def command(session: Session, pipeline: str, to: int | None, reason: str) -> None:
    """Restore what served before: model and decision policy.

    A rollout that is under way is stopped with it; where nothing served before, that is all.
    """
    from pynomaly.presentation.cli.commands.releases import answer_run
    from pynomaly.presentation.cli.render.releases import registry_lines, steered_lines

    session.require_known(pipeline)
    platform = session.platform
    left = [platform.records.production(pipeline), platform.records.on_its_way(pipeline)]
    restored = platform.steer.roll_back(pipeline, to, platform.actor, reason)
    followed = platform.reconcile(pipeline)
    document = platform.queries.release(restored.id)
    lines: list[RenderableType] = []
    for release in filter(None, left):
        now = platform.steer.release(release.id)
        lines.append(f"version {now.version} is {now.state.replace('_', ' ')}")
        if release.state == "pending_approval":
            answer_run(session, release, False, reason)
    session.present(
        {**document, "registry": followed},
        [*lines, *registry_lines(followed), *steered_lines(document, changed=True)],
    )
