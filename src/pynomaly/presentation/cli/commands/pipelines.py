"""``pynomaly pipelines``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from pynomaly.presentation.cli.options import Command, Group
from pynomaly.presentation.cli.session import Session

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["command"]


@click.group("pipelines", cls=Group, example="pynomaly pipelines list")
def command() -> None:
    """Look at configured pipelines."""


@command.command("list", cls=Command, example="pynomaly pipelines list")
@click.pass_obj
def list_pipelines(session: Session) -> None:
    """List the pipelines of this project."""
    from pynomaly.settings import pipeline_names

    settings = session.settings
    document = {
        "project": str(settings.project),
        "pipelines": [_describe(session, name) for name in pipeline_names(settings)],
    }
    session.present(document, _lines(document))


def _describe(session: Session, name: str) -> dict[str, Any]:
    """Describe one pipeline; a broken file must not hide the others."""
    from pynomaly.domain.errors import ConfigurationError
    from pynomaly.settings import load_pipeline, mask

    described: dict[str, Any] = {"name": name, "source": None, "features": None, "error": None}
    try:
        pipeline = load_pipeline(name, session.settings)
    except ConfigurationError as error:
        return {**described, "error": error.message}
    features = len(pipeline.features.columns)
    return {**described, "source": mask(pipeline.source.uri), "features": features}


def _lines(document: Mapping[str, Any]) -> Iterator[RenderableType]:
    from pynomaly.presentation.cli.render.base import clean, table

    if not document["pipelines"]:
        yield clean(f"{document['project']} has no pipeline: pynomaly init NAME --data FILE")
        return
    yield table(
        document["project"],
        ["pipeline", "source", "#features"],
        [(p["name"], p["source"] or p["error"], p["features"]) for p in document["pipelines"]],
    )
