"""What was found in a table: its columns, its strangest rows, and how far to trust that."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from pynomaly.domain.datasets import ROW_ID
from pynomaly.domain.scores import NO_REASON
from pynomaly.presentation.cli.render.base import clean, detector_name, number, share, table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pynomaly.application.detect import Question
    from pynomaly.domain.detection import Detection

__all__ = ["detection_document", "detection_lines", "labelled_command"]

_NOT_PRINTED = ("model", "profile")


def labelled_command(question: Question, detection: Detection, query: str | None) -> str:
    """Return the command to run once some rows are labelled.

    Args:
        question: What was asked.
        detection: What came out; its columns tell a free name for the labels.
        query: Of a database.
    """
    names = {column.name for column in detection.columns}
    label = question.label_column or next(
        name for name in ("label", "is_anomaly", "label_1") if name not in names
    )
    parts = ["pynomaly", "detect", question.uri]
    parts += ["--query", query] if query else []
    for name in question.id_columns:
        parts += ["--id", name]
    parts += ["--time", question.time_column] if question.time_column else []
    return shlex.join([*parts, "--label", label])


def detection_document(
    detection: Detection, files: Mapping[str, str | None], again: str
) -> dict[str, Any]:
    """Return everything but the model as one document.

    Args:
        detection: The result.
        files: What was asked to be written.
        again: The command to run once some rows are labelled.
    """
    document = {
        field.name: getattr(detection, field.name)
        for field in fields(detection)
        if field.name not in _NOT_PRINTED
    }
    trust = detection.trust
    document["trust"] = {
        "inconclusive": trust.inconclusive,
        "findings": trust.findings,
        "stability": trust.stability,
        "cloud": trust.cloud,
    }
    return {**document, "files": dict(files), "next": [again]}


def detection_lines(
    detection: Detection, files: Mapping[str, str | None], again: str
) -> Iterator[RenderableType]:
    """Yield the same for people.

    Args:
        detection: The result.
        files: What was asked to be written.
        again: The command to run once some rows are labelled.
    """
    yield table(
        f"{detection.source}: columns",
        ["column", "used as", "because"],
        [(c.name, c.use, "; ".join([c.why, *c.notes])) for c in detection.columns],
    )
    yield from _learnt(detection)
    timed = any(row.time for row in detection.top)
    short = _short(detection)
    yield table(
        "strangest rows",
        [
            *detection.top[0].ids,
            *(["time"] if timed else []),
            "#severity",
            "#p-value",
            "flagged",
            "because",
        ],
        [
            (
                *short(row.ids),
                *([(row.time or "").replace("T", " ").rstrip("Z")] if timed else []),
                f"{row.severity:.0f}",
                f"{row.p_value:.2g}",
                "yes" if row.is_anomaly else "no",
                "\n".join(reason.sentence for reason in row.reasons) or NO_REASON,
            )
            for row in detection.top
        ],
    )
    yield (
        f"{number(detection.flagged)} of {number(detection.scored)} rows flagged at an alert "
        f"budget of {share(detection.alert_budget)}"
    )
    if detection.quarantined:
        yield from _refused(detection)
    yield "\nHow far to trust this:"
    yield from (f"- {finding}" for finding in detection.trust.findings)
    if detection.to_label:
        yield from _to_label(detection, again)
    written = {name: clean(place) for name, place in files.items() if place}
    if written:
        yield ""
        yield from (f"{name:<12} {place}" for name, place in written.items())


def _learnt(detection: Detection) -> Iterator[RenderableType]:
    name = detector_name({"detector": detection.detector, "certified": detection.certified})
    tuned = f", chosen by {detection.chosen_by} among {number(detection.trials)} tried"
    if detection.trials < 2:
        tuned = " (there was no time to try others)" if detection.trials else " (not tuned)"
    ranks = f"{number(detection.calibration_rows)} rows"
    yield (
        f"{name}{tuned}, fitted on {number(detection.fitted_rows)} of "
        f"{number(detection.rows)} rows; "
        + (
            f"a p-value is the rank among {ranks} of this table"
            if detection.ranked_among_own_rows
            else f"p-values from {ranks} scored by a model that had not seen them"
        )
    )
    anomalies, normal = detection.known_labels
    if anomalies or normal:
        yield f"labels known: {number(anomalies)} anomalies, {number(normal)} normal rows"
    yield ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in detection.seconds.items())


def _short(detection: Detection) -> Callable[[Mapping[str, str]], Iterable[str]]:
    """Return how to name rows: of a single file their numbers are enough."""
    named = [row.ids for row in detection.top] + [row.ids for row in detection.to_label]
    files = {ids.get(ROW_ID, "").rpartition("#")[0] for ids in named}
    if list(named[0]) != [ROW_ID] or len(files) > 1:
        return lambda ids: ids.values()
    return lambda ids: ["#" + ids[ROW_ID].rpartition("#")[2]]


def _refused(detection: Detection) -> Iterator[RenderableType]:
    yield table(
        f"{number(detection.quarantined)} of {number(detection.rows)} rows could not be read and "
        "have no score",
        ["row", "because"],
        [(refusal.row_id, refusal.reason) for refusal in detection.refusals[:5]],
    )


def _to_label(detection: Detection, again: str) -> Iterator[RenderableType]:
    column = again.rpartition(" ")[2]
    there = any(c.use == "label" for c in detection.columns)
    short = _short(detection)
    yield table(
        "label these next" if there else "label these first",
        [*detection.to_label[0].ids, "because"],
        [
            (
                *short(row.ids),
                "on top"
                if row.ranks is None
                else f"disputed: rank {row.ranks[0]:,} and {row.ranks[1]:,} in two halves",
            )
            for row in detection.to_label
        ],
    )
    what = "fill in the column" if there else "add a column"
    yield f"{what} {clean(column)} (1 = anomaly, 0 = normal, empty = unknown), then:"
    yield f"  {clean(again)}"
