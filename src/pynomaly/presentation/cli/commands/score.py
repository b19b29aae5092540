"""``pynomaly score``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pynomaly.presentation.cli.options import (
    Command,
    data_option,
    engine_option,
    out_option,
    overwrite_option,
    pipeline_argument,
)
from pynomaly.presentation.cli.session import Session

if TYPE_CHECKING:
    from pynomaly_flows.launch import EngineChoice

__all__ = ["command"]


@click.command(
    "score", cls=Command, example="pynomaly score payments --data new.parquet --out scored.parquet"
)
@pipeline_argument
@data_option
@out_option("File or s3:// URL ending in .parquet, .csv or .jsonl; by default in PYNOMALY_HOME.")
@overwrite_option
@engine_option
@click.pass_obj
def command(
    session: Session,
    pipeline: str,
    data: str | None,
    out: str | None,
    overwrite: bool,
    engine: EngineChoice,
) -> None:
    """Score rows with the model that serves."""
    from pynomaly.presentation.cli.render.runs import run_lines

    document = session.launch("score", pipeline, engine, data=data, out=out, overwrite=overwrite)
    session.present(document, run_lines(document))
