"""Detectors as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pynomaly.domain.detectors import Choice, Space
from pynomaly.presentation.cli.render.base import number, table

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["list_lines", "show_lines"]

Document = Mapping[str, Any]


def list_lines(document: Document) -> Iterator[RenderableType]:
    """Yield certified detectors with their costs, then uncertified ones, then broken packages."""
    broken = [entry for entry in document["detectors"] if entry["error"]]
    found = [entry for entry in document["detectors"] if not entry["error"]]
    yield table(
        "certified",
        ["detector", "finds", "fit", "score", "from"],
        [
            (e["name"], e["finds"], _short(e["fit_cost"]), _short(e["score_cost"]), e["from"])
            for e in found
            if e["certified"]
        ],
    )
    yield table(
        "uncertified: to try in experiments; the release gate refuses them",
        ["detector", "finds", "from"],
        [(e["name"], e["finds"], e["from"]) for e in found if not e["certified"]],
    )
    if broken:
        yield table("broken", ["detector", "why"], [(e["name"], e["error"]) for e in broken])


def show_lines(document: Document) -> Iterator[RenderableType]:
    """Yield everything about one detector."""
    yield table(
        f"{document['name']}: {document['title']}",
        ["", ""],
        [
            ("finds", document["finds"]),
            ("certified", _certified(document)),
            ("cost to fit", document["fit_cost"]),
            ("cost to score", document["score_cost"]),
            ("reference", document["reference"]),
            ("agreement", _agreement(document)),
            ("use", _use(document)),
            ("from", document["from"]),
        ],
    )
    if not document["parameters"]:
        yield document["needs"] or "it takes no parameters"
        return
    yield table(
        "parameters",
        ["parameter", "default", "search space"],
        [(p["name"], p["default"], _space(p["search"])) for p in document["parameters"]],
    )


def _short(cost: str) -> str:
    return cost.partition(";")[0]


def _certified(document: Document) -> str:
    if document["certified"]:
        return "yes: frozen to arrays, held to the contract (pynomaly.testing.check_detector)"
    return "no: to try in experiments only; the release gate refuses it"


def _agreement(document: Document) -> str:
    if not document["certified"]:
        return str(document["equals"])
    return f"to {document['tolerance']:.0e} with {document['equals']}"


def _use(document: Document) -> str:
    if not document["family"]:
        return "inside the self-cleaning ensemble only"
    if document["searched"] and document["from"] == "built in":
        return "tuning tries it by default"
    return f"name it: training.detectors: [{document['name']}]"


def _space(space: Space | None) -> str:
    """Return a search space in words; a parameter without one is not tuned."""
    if space is None:
        return ""
    if isinstance(space, Choice):
        return ", ".join(str(value) for value in space.values)
    return f"{number(space.low)} to {number(space.high)}{', log' if space.log else ''}"
