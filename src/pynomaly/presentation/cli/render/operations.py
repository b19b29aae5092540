"""What is up, and what is deployed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pynomaly.presentation.cli.render.base import clean, table

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["deployment_lines", "up_lines"]

Document = Mapping[str, Any]


def up_lines(document: Document) -> Iterator[RenderableType]:
    """Yield where everything is."""
    yield table(
        "Pynomaly is up",
        ["", ""],
        [
            ("runs, schedules, triggers", document["prefect"]),
            ("models, experiments", document["mlflow"]),
            ("state", document["home"]),
        ],
    )
    yield "Commands find it by themselves.  Stop it: Ctrl-C, or pynomaly down"


def deployment_lines(document: Document) -> Iterator[RenderableType]:
    """Yield every deployment with what was done to it."""
    if not document["deployments"]:
        yield "no pipeline is configured yet: pynomaly init NAME --data FILE"
        return
    yield table(
        f"{clean(document['api'])}, work pool {clean(document['work_pool'])}",
        ["deployment", "", "schedule", "triggered by", "#at once"],
        [
            (
                deployed["deployment"],
                deployed["done"],
                deployed["schedule"],
                ", ".join(event.removeprefix("pynomaly.") for event in deployed["triggers"]),
                deployed["at_once"],
            )
            for deployed in document["deployments"]
        ],
    )
