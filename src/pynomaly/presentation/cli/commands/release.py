"""``pynomaly release``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pynomaly.presentation.cli.options import Command, engine_option, pipeline_argument
from pynomaly.presentation.cli.session import Session

if TYPE_CHECKING:
    from pynomaly_flows.launch import EngineChoice

__all__ = ["command"]


@click.command("release", cls=Command, example="pynomaly release payments --version 3")
@pipeline_argument
@click.option("--version", type=click.IntRange(min=1), help="Of the model; by default the newest.")
@click.option(
    "--accept-review", is_flag=True, help="You looked at the gates that ask for review, and accept."
)
@engine_option
@click.pass_obj
def command(
    session: Session,
    pipeline: str,
    version: int | None,
    accept_review: bool,
    engine: EngineChoice,
) -> None:
    """Put a version before the gates and promote it if they let it."""
    from pynomaly.presentation.cli.render.runs import run_lines

    document = session.launch(
        "release", pipeline, engine, version=version, accept_review=accept_review
    )
    session.present(document, run_lines(document))
