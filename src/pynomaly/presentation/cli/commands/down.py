"""``pynomaly down``."""

from __future__ import annotations

import click

from pynomaly.presentation.cli.options import Command
from pynomaly.presentation.cli.session import Session

__all__ = ["command"]


@click.command("down", cls=Command, example="pynomaly down")
@click.pass_obj
def command(session: Session) -> None:
    """Stop what `pynomaly up` started here, from another terminal."""
    from pynomaly.operations import take_down

    there = take_down(session.settings)
    document = {"home": str(session.settings.home), "stopped": there}
    line = f"stopped {there.prefect}" if there else "pynomaly up is not at work here"
    session.present(document, [line])
