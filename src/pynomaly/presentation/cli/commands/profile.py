"""``pynomaly profile``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pynomaly.presentation.cli.options import Command, data_option, engine_option
from pynomaly.presentation.cli.session import Session

if TYPE_CHECKING:
    from pynomaly_flows.launch import EngineChoice

__all__ = ["command"]


@click.command(
    "profile",
    cls=Command,
    example=("pynomaly profile payments\npynomaly profile --data payments.csv"),
)
@click.argument("pipeline", required=False)
@data_option
@engine_option
@click.pass_obj
def command(session: Session, pipeline: str | None, data: str | None, engine: EngineChoice) -> None:
    """Describe a pipeline's data, or any data, column by column."""
    if pipeline is None:
        if data is None:
            raise click.UsageError("name a pipeline, or give --data")
        _profile_source(session, data)
        return
    from pynomaly.presentation.cli.render.profiles import profile_lines

    document = session.launch("profile", pipeline, engine, data=data)
    session.present(document, profile_lines(document["profile"], pipeline))


def _profile_source(session: Session, data: str) -> None:
    from pynomaly.domain.sources import SourceSpec
    from pynomaly.presentation.cli.render.profiles import profile_lines
    from pynomaly.settings import mask, resolve_uri

    profile = session.platform.profile_source(SourceSpec.named(resolve_uri(data, Path.cwd())))
    document = {"data": mask(data), "profile": profile}
    session.present(document, profile_lines(profile, mask(data)))
