"""``pynomaly train``."""

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


@click.command("train", cls=Command, example="pynomaly train payments --trials 40 --timeout 300")
@pipeline_argument
@data_option
@click.option("--trials", type=click.IntRange(min=1), help="Tuning trials, the first included.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True, max=10**9),
    metavar="SECONDS",
    help="Start no further trial after this.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Of everything random.")
@engine_option
@click.pass_obj
def command(
    session: Session,
    pipeline: str,
    data: str | None,
    trials: int | None,
    timeout: float | None,
    seed: int | None,
    engine: EngineChoice,
) -> None:
    """Tune, train and register a new version; release nothing."""
    from pynomaly.presentation.cli.render.runs import run_lines

    asked = {"trials": trials, "timeout_seconds": timeout, "seed": seed}
    given = {key: value for key, value in asked.items() if value is not None}
    session.settings = session.settings.overriding({"training": given}, "command line")
    document = session.launch("train", pipeline, engine, data=data)
    session.present(document, run_lines(document))
