"""``pynomaly models``."""

from __future__ import annotations

import click

from pynomaly.presentation.cli.options import Command, Group, pipeline_argument
from pynomaly.presentation.cli.session import Session

__all__ = ["command"]


@click.group("models", cls=Group, example="pynomaly models list payments")
def command() -> None:
    """Look at registered versions."""


@command.command("list", cls=Command, example="pynomaly models list payments")
@pipeline_argument
@click.pass_obj
def list_models(session: Session, pipeline: str) -> None:
    """List a pipeline's versions and what became of each, newest first."""
    from pynomaly.presentation.cli.render.records import models_lines

    session.require_known(pipeline)
    document = session.platform.queries.models(pipeline)
    session.present(document, models_lines(document))
