"""What is up, what is deployed, and what runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pynomaly.presentation.cli.render.base import clean, moment, table
from pynomaly.presentation.cli.render.runs import run_lines

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["deployment_lines", "followed_lines", "runs_lines", "up_lines"]

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


def runs_lines(document: Document) -> Iterator[RenderableType]:
    """Yield what ran, newest first, and what is to run."""
    if not document["runs"] and not document["upcoming"]:
        yield "nothing has run yet, and nothing is going to"
        return
    yield table(
        "runs",
        ["started", "pipeline", "what", "status", "in Prefect", "run"],
        [
            (
                moment(run["started_at"]),
                run["pipeline"],
                f"{run['command']} ({run['engine']})",
                run["status"],
                run["prefect"],
                run["id"],
            )
            for run in document["runs"]
        ],
    )
    if document["upcoming"]:
        yield table(
            "to come",
            ["planned", "pipeline", "what", "state", "run"],
            [
                (moment(run["planned"]), run["pipeline"], run["flow"], run["state"], run["run_id"])
                for run in document["upcoming"]
            ],
        )


def followed_lines(document: Document) -> Iterator[RenderableType]:
    """Yield what a run did, and what ended it if it failed."""
    yield from run_lines(document)
    if error := document["error"]:
        yield f"error: {clean(error['message'])}"
        if error["hint"]:
            yield f"  → {clean(error['hint'])}"
