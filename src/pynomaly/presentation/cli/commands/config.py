"""``pynomaly config``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from pynomaly.presentation.cli.options import Command, Group
from pynomaly.presentation.cli.session import Session

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pynomaly.settings import Effective

__all__ = ["command"]


@click.group("config", cls=Group, example="pynomaly config show")
def command() -> None:
    """Look at the configuration."""


@command.command(
    "show", cls=Command, example=("pynomaly config show\npynomaly config show payments")
)
@click.argument("pipeline", required=False)
@click.pass_obj
def show(session: Session, pipeline: str | None) -> None:
    """Print effective values and where each comes from.

    Of the platform, or of a pipeline: its file over conf/$PYNOMALY_ENV, conf/base and what is
    built in.  Environment variables lie over the files of the platform.
    """
    from pynomaly.settings import explain, load_pipeline
    from pynomaly_flows.deployments import plan_deployments

    settings = session.settings
    if pipeline is not None:
        plan_deployments(load_pipeline(pipeline, settings))  # refuses what no flow takes
    values = explain(settings, pipeline)
    document = {
        "project": str(settings.project),
        "environment": settings.environment,
        "pipeline": pipeline,
        "values": values,
    }
    title = f"{settings.project}, environment {settings.environment}"
    session.present(document, _lines(values, title))


def _lines(values: tuple[Effective, ...], title: str) -> Iterator[RenderableType]:
    from pynomaly.presentation.cli.render.base import table

    yield table(
        title,
        ["key", "value", "from"],
        [(v.key, json.dumps(v.value, ensure_ascii=False), v.origin) for v in values],
    )
