"""``pynomaly detectors``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from pynomaly.presentation.cli.options import Command, Group
from pynomaly.presentation.cli.session import Session

__all__ = ["command"]


@click.group("detectors", cls=Group, example="pynomaly detectors list")
def command() -> None:
    """Look at the detectors there are."""


@command.command("list", cls=Command, example="pynomaly detectors list")
@click.pass_obj
def list_detectors(session: Session) -> None:
    """List every detector: ours, those of installed packages, and PyOD's uncertified ones."""
    from pynomaly.domain.detectors import CATALOGUE, families
    from pynomaly.presentation.cli.render.detectors import list_lines

    names = dict.fromkeys((*families(), *CATALOGUE))
    document = {"detectors": [_described(name) for name in names]}
    session.present(document, list_lines(document))


@command.command(
    "show", cls=Command, example="pynomaly detectors show knn\npynomaly detectors show pyod:ABOD"
)
@click.argument("name")
@click.pass_obj
def show(session: Session, name: str) -> None:
    """Tell what a detector finds, what it costs, its parameters and where it comes from."""
    from pynomaly.adapters import uncertified_parameters
    from pynomaly.domain.detectors import detector
    from pynomaly.domain.errors import MissingExtraError
    from pynomaly.domain.uncertified import PREFIX
    from pynomaly.presentation.cli.render.detectors import show_lines

    entry = detector(name)
    defaults: Mapping[str, object] = entry.defaults
    needs = None
    if name.startswith(PREFIX):
        try:
            defaults = uncertified_parameters(name)
        except MissingExtraError as error:
            needs = error.message
    document = {
        **_described(name),
        "reference": entry.reference,
        "tolerance": entry.tolerance,
        "equals": entry.equals,
        "parameters": [
            {"name": key, "default": value, "search": entry.space.get(key)}
            for key, value in defaults.items()
        ],
        "needs": needs,
    }
    session.present(document, show_lines(document))


def _described(name: str) -> dict[str, Any]:
    """Describe one detector; a broken package must not hide the others."""
    from pynomaly.domain.detectors import detector, origin
    from pynomaly.domain.errors import ConfigurationError

    try:
        entry = detector(name)
    except ConfigurationError as error:
        return {"name": name, "error": error.message}
    return {
        "name": name,
        "title": entry.title,
        "finds": entry.finds,
        "fit_cost": entry.fit_cost,
        "score_cost": entry.score_cost,
        "family": entry.family,
        "searched": entry.searched and entry.certified,
        "certified": entry.certified,
        "from": origin(name),
        "error": None,
    }
