"""``pynomaly rollback``."""

from __future__ import annotations

import click

from pynomaly.presentation.cli.options import Command, pipeline_argument
from pynomaly.presentation.cli.session import Session

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
@click.option("--reason", required=True, help="Kept with the release.")
@click.pass_obj
def command(session: Session, pipeline: str, to: int | None, reason: str) -> None:
    """Restore what served before: model and decision policy.

    A rollout that is under way is stopped with it.
    """
    from pynomaly.presentation.cli.render.releases import registry_lines, release_lines

    session.require_known(pipeline)
    platform = session.platform
    restored = platform.steer.roll_back(pipeline, to, platform.actor, reason)
    followed = platform.reconcile(pipeline)
    document = platform.queries.release(restored.id)
    session.present(
        {**document, "registry": followed},
        [*release_lines(document), *registry_lines(followed)],
    )
