"""``pynomaly trigger``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pynomaly.presentation.cli.options import Command, pipeline_argument
from pynomaly.presentation.cli.session import Session

if TYPE_CHECKING:
    from pynomaly_flows.triggering import OutsideEvent

__all__ = ["command"]


@click.command(
    "trigger",
    cls=Command,
    example="pynomaly trigger data-arrived payments --data s3://lake/payments/2026-11-25.parquet",
)
@click.argument("event", type=click.Choice(["data-arrived", "drift-detected"]))
@pipeline_argument
@click.option(
    "--data", metavar="URI", help="What arrived; by default whatever is new in the source."
)
@click.pass_obj
def command(session: Session, event: OutsideEvent, pipeline: str, data: str | None) -> None:
    """Tell that something happened; prints the run it starts."""
    from pynomaly.domain.errors import UsageError
    from pynomaly.settings import resolve_uri
    from pynomaly_flows.triggering import trigger

    if data is not None and event != "data-arrived":
        raise UsageError(f"{event} is about no data", hint="leave out --data")
    uri = resolve_uri(data, Path.cwd()) if data else None
    document = trigger(event, pipeline, session.settings, data=uri)
    session.present(
        document,
        [f"run {document['run_id']}", f"Follow it: pynomaly runs watch {document['run_id']}"],
    )
