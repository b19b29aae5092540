"""``pynomaly history``."""

from __future__ import annotations

import click

from pynomaly.presentation.cli.options import Command, pipeline_argument
from pynomaly.presentation.cli.session import Session

__all__ = ["command"]


@click.command("history", cls=Command, example="pynomaly history payments --limit 5")
@pipeline_argument
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Runs to list."
)
@click.pass_obj
def command(session: Session, pipeline: str, limit: int) -> None:
    """List the latest runs and what each step did, newest first."""
    from pynomaly.presentation.cli.render.records import history_lines

    session.require_known(pipeline)
    document = session.platform.queries.history(pipeline, limit)
    session.present(document, history_lines(document))
