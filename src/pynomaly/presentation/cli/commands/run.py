"""``pynomaly run``."""

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


@click.command("run", cls=Command, example="pynomaly run payments")
@pipeline_argument
@data_option
@engine_option
@click.pass_obj
def command(session: Session, pipeline: str, data: str | None, engine: EngineChoice) -> None:
    """Do everything, from validating to scoring.

    Validate, profile, tune, train, register, gate, promote, score.
    """
    from pynomaly.presentation.cli.render.runs import run_lines

    document = session.launch("run", pipeline, engine, data=data)
    session.present(document, run_lines(document))
