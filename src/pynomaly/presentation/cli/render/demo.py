"""What the demo showed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
    batches, overall = document["batches"], document["overall"]
    yield table(
        "batches scored later; the model never saw their labels",
        [
            "batch", "#rows", "#quarantined", "#flagged", "#anomalies", "#caught",
            "#false alarms", "#AUC", "what is in it",
        ],
        [
            *(_row(batch["name"], batch, batch["story"]) for batch in batches),
            _row("together", {**_sums(batches), **overall}, ""),
        ],
    )  # fmt: skip
    yield (
        f"{number(overall['caught'])} of {number(overall['anomalies'])} anomalies caught, "
        f"{number(overall['false_alarms'])} false alarms; ROC-AUC {number(overall['roc_auc'])}, "
        f"average precision {number(overall['average_precision'])}"
    )
    yield f"report: {clean(document['report'])}"
    yield "\nNext:"
    for command in document["next"]:
        yield f"  {clean(command)}"


_COUNTS = ("rows_in", "rows_quarantined", "rows_flagged")


def _sums(batches: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return {key: sum(batch[key] for batch in batches) for key in _COUNTS}


def _row(name: str, facts: Mapping[str, Any], story: str) -> tuple[str, ...]:
    keys = (*_COUNTS, "anomalies", "caught", "false_alarms", "roc_auc")
    return (name, *(number(facts[key]) for key in keys), story)
