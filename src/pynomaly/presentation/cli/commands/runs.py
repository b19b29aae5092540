"""``pynomaly runs``."""

from __future__ import annotations

import click

from pynomaly.presentation.cli.options import Command, Group
from pynomaly.presentation.cli.session import Session

__all__ = ["command"]


@click.group("runs", cls=Group, example="pynomaly runs list")
def command() -> None:
    """List runs, and follow one to its end."""


@command.command("list", cls=Command, example="pynomaly runs list payments --limit 5")
@click.argument("pipelines", nargs=-1)
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Runs to list."
)
@click.pass_obj
def list_runs(session: Session, pipelines: tuple[str, ...], limit: int) -> None:
    """List the latest runs, of all pipelines or of some, and those to come."""
    from pynomaly.presentation.cli.render.operations import runs_lines
    from pynomaly.settings import pipeline_names
    from pynomaly_flows import following

    for name in pipelines:
        session.require_known(name)
    known = {*pipeline_names(session.settings), *session.platform.records.pipelines()}
    document = following.list_runs(session.settings, pipelines or tuple(sorted(known)), limit)
    session.present(document, runs_lines(document))


@command.command(
    "watch", cls=Command, example="pynomaly runs watch 019b76da-a800-7000-8000-000000000000"
)
@click.argument("run_id")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Stop watching after this; the run goes on.",
)
@click.pass_obj
def watch(session: Session, run_id: str, timeout: float | None) -> int:
    """Follow a run to its end, and end as it did."""
    from pynomaly.presentation.cli.progress import progress
    from pynomaly.presentation.cli.render.operations import followed_lines
    from pynomaly_flows.following import exit_code, follow

    with progress(session.steps) as on_event:
        document = follow(session.settings, run_id, on_event, seconds=timeout)
    session.present(document, followed_lines(document))
    return exit_code(document)
