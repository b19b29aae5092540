"""``pynomaly validate``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pynomaly.presentation.cli.options import (
    Command,
    data_option,
    engine_option,
    pipeline_argument,
)
from pynomaly.presentation.cli.session import Session

if TYPE_CHECKING:
    from pynomaly_flows.launch import EngineChoice

__all__ = ["command"]


@click.command("validate", cls=Command, example="pynomaly validate payments --data new.csv")
@pipeline_argument
@data_option
@engine_option
@click.pass_obj
def command(session: Session, pipeline: str, data: str | None, engine: EngineChoice) -> None:
    """Check data, quarantine bad rows and stage the rest."""
    from pynomaly.presentation.cli.render.runs import run_lines

    document = session.launch("validate", pipeline, engine, data=data)
    session.present(document, run_lines(document, data))
