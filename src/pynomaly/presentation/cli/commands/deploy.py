"""``pynomaly deploy``."""

from __future__ import annotations

from pathlib import Path

import click

from pynomaly.presentation.cli.options import Command
from pynomaly.presentation.cli.session import Session

__all__ = ["command"]


@click.command(
    "deploy",
    cls=Command,
    example="pynomaly deploy\npynomaly deploy payments --work-pool team-pool",
)
@click.argument("pipelines", nargs=-1)
@click.option(
    "--work-pool", metavar="NAME", help="Whose workers run it; by default that of `pynomaly up`."
)
@click.option(
    "--working-folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where its workers find the project; by default where it is here.",
)
@click.pass_obj
def command(
    session: Session,
    pipelines: tuple[str, ...],
    work_pool: str | None,
    working_folder: Path | None,
) -> None:
    """Tell Prefect which flows there are and when they run."""
    from pynomaly.presentation.cli.render.operations import deployment_lines
    from pynomaly_flows.deployments import deploy

    document = deploy(
        session.settings, pipelines, work_pool=work_pool, working_folder=working_folder
    )
    session.present(document, deployment_lines(document))
