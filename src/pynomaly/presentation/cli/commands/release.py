"""``pynomaly release``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pynomaly.presentation.cli.options import Command, engine_option, pipeline_argument
from pynomaly.presentation.cli.session import Session

if TYPE_CHECKING:
    from pynomaly_flows.launch import EngineChoice

__all__ = ["command"]


@click.command(
    "release",
    cls=Command,
    example="pynomaly release payments --version 3\n"
    "pynomaly release payments --to staging\n"
    "pynomaly release payments --resume",
)
@pipeline_argument
@click.option("--version", type=click.IntRange(min=1), help="Of the model; by default the newest.")
@click.option(
    "--strategy",
    type=click.Choice(["canary", "blue_green", "rolling", "direct"]),
    help="How it takes over; by default as configured under rollout.",
)
@click.option(
    "--to",
    type=click.Choice(["staging", "production"]),
    default="production",
    show_default=True,
    help="Staging: it scores silently beside the champion.",
)
@click.option(
    "--resume", is_flag=True, help="Go on with the release on its way: approved, or staged."
)
@click.option(
    "--accept-review",
    is_flag=True,
    help="You looked at the gates that ask for review, and approve.",
)
@click.option(
    "--override",
    metavar="GATE",
    multiple=True,
    help="Let a gate that blocks or is inconclusive not be in the way; takes --reason.",
)
@click.option("--reason", default="", help="Why a gate is overridden; kept with the release.")
@engine_option
@click.pass_obj
def command(
    session: Session,
    pipeline: str,
    version: int | None,
    strategy: str | None,
    to: str,
    resume: bool,
    accept_review: bool,
    override: tuple[str, ...],
    reason: str,
    engine: EngineChoice,
) -> None:
    """Put a version before the gates and begin to release it."""
    from pynomaly.domain.errors import UsageError
    from pynomaly.presentation.cli.render.runs import run_lines

    if resume and (version or strategy or to != "production" or accept_review or override):
        raise UsageError(
            "--resume goes on with a release as it was begun",
            hint="leave out every other option",
        )
    document = session.launch(
        "release",
        pipeline,
        engine,
        version=version,
        strategy=strategy,
        to=to,
        accept_review=accept_review,
        override=list(override),
        reason=reason,
        resume=resume,
    )
    session.present(document, run_lines(document))
