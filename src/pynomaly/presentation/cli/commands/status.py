"""``pynomaly status``."""

from __future__ import annotations

import click

from pynomaly.presentation.cli.options import Command, pipeline_argument
from pynomaly.presentation.cli.session import Session

__all__ = ["command"]


@click.command("status", cls=Command, example="pynomaly status payments")
@pipeline_argument
@click.pass_obj
def command(session: Session, pipeline: str) -> None:
    """Tell what serves, what ran last and what was scored last."""
    from pynomaly.presentation.cli.render.records import status_lines

    session.require_known(pipeline)
    document = session.platform.queries.status(pipeline)
    session.present(document, status_lines(document))
