"""What the demo showed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pynomaly.presentation.cli.render.base import clean, number, table
from pynomaly.presentation.cli.render.runs import evidence, sentence

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["demo_lines"]


def demo_lines(document: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Yield the training run, every scored batch against the truth, and what to try next."""
    training = document["training"]
    yield table(
        "training",
        ["step", "result"],
        [(step, sentence(step, facts)) for step, facts in training["steps"].items()],
    )
    yield from evidence(training["steps"])
    yield table(
        "batches scored later; the labels were held back from training",
        ["batch", "#rows", "#quarantined", "#scored", "#flagged", "#anomalies", "#caught", "#AUC"],
        [
            (
                batch["name"],
                number(batch["rows_in"]),
                number(batch["rows_quarantined"]),
                number(batch["rows_scored"]),
                number(batch["rows_flagged"]),
                number(batch["anomalies"]),
                number(batch["caught"]),
                number(batch["roc_auc"]),
            )
            for batch in document["batches"]
        ],
    )
    yield f"report: {clean(document['report'])}"
    yield "\nNext:"
    for command in document["next"]:
        yield f"  {clean(command)}"
