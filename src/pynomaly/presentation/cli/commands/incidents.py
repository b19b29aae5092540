"""``pynomaly incidents``: alerts that belong together, and what people said about them."""

from __future__ import annotations

import click

from pynomaly.presentation.cli.options import Command, Group, pipeline_argument
from pynomaly.presentation.cli.session import Session

__all__ = ["command"]


@click.group(
    "incidents",
    cls=Group,
    example="pynomaly incidents list payments\npynomaly incidents show payments 3f2a9c01d4e7",
)
def command() -> None:
    """Look at flagged rows that wait for a verdict."""


@command.command("list", cls=Command, example="pynomaly incidents list payments --all")
@pipeline_argument
@click.option(
    "--all", "everything", is_flag=True, help="Those with a verdict on every row as well."
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Incidents to list."
)
@click.pass_obj
def list_incidents(session: Session, pipeline: str, everything: bool, limit: int) -> None:
    """List open incidents, those scored last first.

    Alerts of one scored file or table belong together if fewer than five rows lie between them.
    """
    from pynomaly.presentation.cli.render.verdicts import incident_document, incidents_lines

    found = session.platform.incidents(session.platform.pipeline(pipeline))
    wanted = [one for one in found.incidents if everything or one.state == "open"]
    document = {
        "pipeline": pipeline,
        "open": sum(incident.state == "open" for incident in found.incidents),
        "total": len(found.incidents),
        "unreadable": found.unreadable,
        "incidents": [incident_document(incident) for incident in wanted[:limit]],
        "left_out": max(0, len(wanted) - limit),
    }
    session.present(document, incidents_lines(document))


@command.command("show", cls=Command, example="pynomaly incidents show payments 3f2a9c01d4e7")
@pipeline_argument
@click.argument("incident")
@click.pass_obj
def show(session: Session, pipeline: str, incident: str) -> None:
    """Show the rows of an incident with their reasons."""
    from pynomaly.presentation.cli.render.verdicts import incident_document, incident_lines

    found = session.platform.incidents.one(session.platform.pipeline(pipeline), incident)
    document = {"pipeline": pipeline, **incident_document(found)}
    session.present(document, incident_lines(document))
