"""``pynomaly monitor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pynomaly.presentation.cli.options import Command, engine_option, pipeline_argument
from pynomaly.presentation.cli.session import Session

if TYPE_CHECKING:
    from pynomaly_flows.launch import EngineChoice

__all__ = ["command"]


@click.command("monitor", cls=Command, example="pynomaly monitor payments")
@pipeline_argument
@engine_option
@click.pass_obj
def command(session: Session, pipeline: str, engine: EngineChoice) -> None:
    """Judge the last scored batch: alerts, drift of scores, data.

    Ends with exit code 0 whatever it finds; the level (ok, watch, drift) is in the result.
    """
    from pynomaly.presentation.cli.render.runs import run_lines

    document = session.launch("monitor", pipeline, engine)
    session.present(document, run_lines(document))
