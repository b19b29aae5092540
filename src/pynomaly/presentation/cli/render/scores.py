"""Committed scores, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pynomaly.presentation.cli.render.base import clean, number, table

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["read_lines", "removed_lines", "verify_lines"]

Facts = Mapping[str, Any]

_SHOWN = 20


def read_lines(document: Facts) -> Iterator[RenderableType]:
    """Yield what is in force, partition by partition, and where it was copied to."""
    partitions = document["partitions"]
    yield table(
        f"scores of {document['pipeline']} by version {document['model_version']}, "
        f"policy {document['policy_version']}",
        ["input", "rows", "flagged", "quarantined"],
        [
            (
                clean(f"{p['source']} {p['extent']}".strip()),
                number(p["rows_scored"]),
                number(p["rows_flagged"]),
                number(p["rows_quarantined"]),
            )
            for p in partitions[:_SHOWN]
        ],
    )
    if len(partitions) > _SHOWN:
        yield f"… and {number(len(partitions) - _SHOWN)} more partitions"
    told = f"{number(document['rows'])} rows, {number(document['flagged'])} flagged"
    if others := document["rows_by_challengers"]:
        told += (
            f"; {number(others)} were answered by versions rolled out beside it: see model_version"
        )
    yield told
    if left_out := document["inputs_left_out"]:
        yield (
            f"{number(left_out)} more inputs have scores by other versions or policies only: "
            "--model-version, --policy-version"
        )
    if document["serving"] not in (None, document["model_version"]):
        yield f"version {document['serving']} serves now"
    if document["out"]:
        yield f"written to {clean(document['out'])}"


def verify_lines(pipeline: str, found: Facts) -> Iterator[RenderableType]:
    """Yield what a verification without damage found and did."""
    yield (
        f"{number(found['partitions'])} committed partitions of {pipeline}, "
        f"{number(found['rows'])} rows: all as committed"
    )
    done = "removed" if found["repaired"] else "not referred to"
    for uri in found["orphans"]:
        yield f"  {done}: {clean(uri)}"
    if found["orphans"] and not found["repaired"]:
        yield f"\nRemove them: pynomaly scores verify {pipeline} --repair"


def removed_lines(done: str, pipeline: str, removed: Facts) -> Iterator[RenderableType]:
    """Yield how much was removed."""
    yield (
        f"{done} {number(removed['partitions'])} partitions of {pipeline} "
        f"({number(removed['rows'])} rows)"
    )
