"""Incidents and verdicts, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pynomaly.presentation.cli.render.base import clean, moment, number, table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pynomaly.domain.incidents import Incident
    from pynomaly.domain.verdicts import Verdict

__all__ = [
    "incident_document",
    "incident_lines",
    "incidents_lines",
    "recorded_lines",
    "verdict_document",
    "verdicts_lines",
]

Document = Mapping[str, Any]


def incident_document(incident: Incident) -> dict[str, Any]:
    """Return an incident as JSON has it."""
    return {
        "id": incident.id,
        "state": incident.state,
        "source": incident.source,
        "severity": incident.strangest.severity,
        "scored_at": incident.alerts[0].scored_at,
        "alerts": [_with_verdict(asdict(alert)) for alert in incident.alerts],
    }


def verdict_document(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as JSON has it."""
    return _with_verdict(asdict(verdict))


def _with_verdict(document: dict[str, Any]) -> dict[str, Any]:
    """Call what somebody said as commands and files call it."""
    document["verdict"] = document.pop("said")
    return document


def incidents_lines(document: Document) -> Iterator[RenderableType]:
    """Yield incidents, one a line, and what to do with them."""
    pipeline = clean(document["pipeline"])
    if document["unreadable"]:
        yield (
            f"{number(document['unreadable'])} flagged rows are not among these, their scores are gone "
            f"or damaged: pynomaly scores verify {pipeline}"
        )
    if not document["incidents"]:
        if document["total"]:
            yield f"{pipeline} has no open incident; with a verdict on every row: {document['total']}"
        elif not document["unreadable"]:
            yield f"no row of {pipeline} is flagged: pynomaly score {pipeline} --data FILE"
        return
    yield table(
        f"{pipeline}: {number(document['open'])} of {number(document['total'])} incidents open",
        ["incident", "state", "#rows", "#severity", "first row", "because", "in"],
        [
            (
                incident["id"],
                incident["state"],
                number(len(incident["alerts"])),
                f"{incident['severity']:.0f}",
                _called(incident["alerts"][0]),
                next(iter(_strangest(incident)["reasons"]), ""),
                incident["source"].rpartition("/")[2],
            )
            for incident in document["incidents"]
        ],
    )
    if document["left_out"]:
        yield f"… and {number(document['left_out'])} more: --limit N"
    first = document["incidents"][0]["id"]
    yield "\nNext:"
    yield f"  pynomaly incidents show {pipeline} {first}"
    yield f"  pynomaly verdicts record {pipeline} --incident {first} --verdict anomaly"


def incident_lines(document: Document) -> Iterator[RenderableType]:
    """Yield an incident row by row."""
    yield table(
        f"incident {document['id']}: {document['state']}",
        ["row", "verdict", "#severity", "because"],
        [
            (
                _called(alert),
                alert["verdict"] or ("" if alert["row"] else "cannot be judged"),
                f"{alert['severity']:.0f}",
                "\n".join(alert["reasons"]),
            )
            for alert in document["alerts"]
        ],
    )
    yield f"scored from {clean(document['source'])}, {moment(document['scored_at'])}"
    if any(alert["row"] is None for alert in document["alerts"]):
        yield "rows without an id can be judged only while their source is as it was scored"
    if document["state"] == "open":
        pipeline = clean(document["pipeline"])
        yield (
            f"\nNext:\n  pynomaly verdicts record {pipeline} --incident {document['id']} "
            "--verdict anomaly"
        )


def recorded_lines(document: Document) -> Iterator[RenderableType]:
    """Yield what was recorded."""
    given = document["recorded"]
    for verdict in given[:20]:
        yield f"{_called(verdict)}: {verdict['verdict']}"
    if len(given) > 20:
        yield f"… and {number(len(given) - 20)} more"
    who = clean(given[0]["actor"]["name"])
    yield f"{number(len(given))} recorded for {clean(document['pipeline'])} by {who}"
    yield f"\nNext:\n  pynomaly train {clean(document['pipeline'])}"


def verdicts_lines(document: Document) -> Iterator[RenderableType]:
    """Yield verdicts, one a line."""
    pipeline = clean(document["pipeline"])
    if not document["verdicts"]:
        yield f"nobody has judged a row of {pipeline}: pynomaly incidents list {pipeline}"
        return
    yield table(
        f"{pipeline}: judged anomalies {number(document['anomalies'])}, "
        f"judged normal {number(document['normal'])}",
        ["row", "verdict", "by", "at", "reason"],
        [
            (
                _called(verdict),
                verdict["verdict"],
                verdict["actor"]["name"],
                moment(verdict["at"]),
                verdict["reason"],
            )
            for verdict in document["verdicts"]
        ],
    )
    if document["left_out"]:
        yield f"… and {number(document['left_out'])} more: --limit N"


def _strangest(incident: Document) -> Mapping[str, Any]:
    found: Mapping[str, Any] = min(incident["alerts"], key=lambda alert: alert["p_value"])
    return found


def _called(row: Document) -> str:
    return clean(", ".join(str(value) for value in row["ids"].values()))
