"""``pynomaly demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pynomaly.presentation.cli.options import Command
from pynomaly.presentation.cli.session import Session

if TYPE_CHECKING:
    from pynomaly_flows.launch import EngineChoice

__all__ = ["command"]


@click.command("demo", cls=Command, example="pynomaly demo")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("pynomaly-demo"),
    show_default=True,
    help="Where the demo's project goes; a number is added where one has run already.",
)
@click.option(
    "--engine",
    type=click.Choice(["auto", "direct", "prefect"]),
    default="prefect",
    show_default=True,
    help="Run in this process, under Prefect, or under Prefect where an API is up.",
)
@click.pass_obj
def command(session: Session, folder: Path, engine: EngineChoice) -> None:
    """Run the whole lifecycle on data of scikit-learn."""
    from pynomaly.presentation.cli.progress import progress
    from pynomaly.presentation.cli.render.demo import demo_lines
    from pynomaly_flows.demo import demo

    with progress(session.steps) as on_event:
        document = demo(Path.cwd() / folder, engine=engine, on_event=on_event)
    session.present(document, demo_lines(document))
